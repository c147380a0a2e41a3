"""PyTorch as the methods need it: precision, device, a module as a function of its parameters, right derivatives."""
