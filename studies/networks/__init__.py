"""Coordinate networks (implicit neural representations) in JAX: activations, encodings, initialisations.

`coordinates` puts them together: a point in, a few numbers out. The layer types, encodings and their names follow
INR_BEP; where it departs from the paper that it takes a layer from, the layer's description says so.
"""
