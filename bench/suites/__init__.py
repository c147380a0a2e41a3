"""The cells of the benchmark under airspeed velocity (`kernels`) and pytest-benchmark (`microbench`)."""
