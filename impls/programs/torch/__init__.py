"""PyTorch's half of `impls.programs`."""
