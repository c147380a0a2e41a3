"""Which devices of PyTorch's compute tiles, each in a process of its own."""
