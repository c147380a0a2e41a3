"""A mutation run with mutmut over the comparison, the gate and the closed form: `python -m tests.mutation`."""
