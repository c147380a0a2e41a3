"""JAX's half of `impls.programs`."""
