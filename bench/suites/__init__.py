"""The cells of the benchmark under airspeed velocity (`kernels`) and pytest-benchmark (`microbench`).

airspeed velocity runs today's suites on any commit, and imports each module here for it: they import `impls` and
`reference` where they use them, and nothing else of the project.
"""
