"""What is true: the kernel's definition (DEFINITION.md), the shared cases, the proved values, the one comparison.

Needs numpy, and python-flint only to prove values anew; no framework.
"""

from reference.case import Case, InputError, Request, draw_params, random_case, round_to_float32, seed_of
from reference.networks import MLP, Conv, ConvNet, Network

__all__ = [
    "MLP", "Case", "Conv", "ConvNet", "InputError", "Network", "Request",
    "draw_params", "random_case", "round_to_float32", "seed_of",
]
