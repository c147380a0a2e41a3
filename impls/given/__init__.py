"""What a user gives and asks, in any framework: a network, structures of arrays, batches, which items, outputs and
parameters. May import `reference`, `impls.protocol` and `impls.registry`; no framework.
"""
