"""Mutants: every method of the project with one mistake in it, at a time. The gate has to fail on each.

`python -m tests.mutants` (`nox -s mutants`) holds all of them against the gate and writes the table docs/mutants.md.
"""
