"""PyTorch's half of `impls.own`: its users' networks, and what is computed of them beside a method's kernel."""
