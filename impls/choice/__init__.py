"""Which method is done first: what each costs, how fast this machine is, and the choice. Methods are known by name.

May import `impls.methods`, `impls.frameworks` and `impls.structured`.
"""
