"""JAX as the methods need it: precision, device, a function of its parameters, and how it is compiled."""
