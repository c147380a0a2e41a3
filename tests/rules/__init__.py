"""The rule books of the two engines side by side: docs/rules.md, by `python -m tests.rules`."""
