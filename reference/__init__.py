"""What is true: the kernel's definition (DEFINITION.md), the shared cases, the proved values, the one comparison.

Needs numpy, and python-flint only to prove values anew and for infinite widths; no framework.
"""

from reference.arithmetic import KinkError
from reference.case import (
    Case,
    InputError,
    Quantity,
    Request,
    draw_params,
    initialisation,
    random_case,
    round_to_float32,
    seed_of,
)
from reference.cases import case, cases
from reference.compare import Comparison, check_form, compare, normalised
from reference.conjugate import conjugate
from reference.expected import Expected, select_outputs
from reference.float64 import float64_expected
from reference.infinite_width import has_limit, infinite_width
from reference.layered import Described, Layered
from reference.networks import MLP, Conv, ConvNet, Network
from reference.store import StoreError, expected, has_proof, kernel
from reference.structure import structural_fault
from reference.tolerances import tolerance

__all__ = [
    "MLP", "Case", "Comparison", "Conv", "ConvNet", "Described", "Expected", "InputError", "KinkError", "Layered",
    "Network", "Quantity", "Request", "StoreError", "case", "cases", "check_form", "compare", "conjugate",
    "draw_params", "expected", "float64_expected", "has_limit", "has_proof", "infinite_width", "initialisation",
    "kernel", "normalised", "random_case", "round_to_float32", "seed_of", "select_outputs", "structural_fault",
    "tolerance",
]
