"""JAX's half of `impls.structured`: the rules, the passes and the contraction, by the names that PyTorch's half has.
"""
