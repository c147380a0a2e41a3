"""Every operation of a framework in a small network, by the structured engine, against Jacobians in float64."""
