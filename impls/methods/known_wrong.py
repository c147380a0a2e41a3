"""Operations that a method computes wrong kernels of, without a word: such a method refuses them, and is never chosen.

Found by the Jacobian of every differentiable operation that PyTorch tests itself with (540) by each of the methods of
`torch.func`, against a loop of backward passes in float64. What the gate found wrong in other packages, for cases
that this project describes, stands in tests/gate/known_wrong.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

_SOLVING = ("aten::_linalg_solve_ex", "aten::_linalg_det", "aten::_linalg_slogdet", "aten::linalg_lu_solve")


@dataclass(frozen=True)
class KnownWrong:
    """Methods (a pattern) that are wrong for a network with one of these operations."""

    methods: str
    operations: tuple[str, ...]
    seen: str
    """The version that it was seen with; no other is known to be right."""
    reason: str
    link: str = ""

    def __str__(self) -> str:
        return f"{self.reason} (seen with {self.seen}{f', {self.link}' if self.link else ''})"


KNOWN_WRONG = (
    KnownWrong("torch_func.*", _SOLVING, "PyTorch 2.13",
               "torch.vmap of linalg_lu_solve, which derivatives of linear systems need, mixes examples up: kernels "
               "of solve, det, slogdet, logdet and lu_solve are off by up to 1e6"),
    KnownWrong("torch_func.*", ("aten::_cdist_forward",), "PyTorch 2.13",
               "torch.vmap of the backward pass of cdist gives wrong numbers, off by more than 1"),
    KnownWrong("torch_func.ntk_vector_products", ("aten::cholesky_inverse", "aten::triangular_solve"), "PyTorch 2.13",
               "the forward-mode derivative is not the transpose of the backward pass: off by 0.2 and more"),
    KnownWrong("torch_func.ntk_vector_products", ("aten::scatter_reduce.two",), "PyTorch 2.13",
               "the forward-mode derivative of products by scatter_reduce is off by 1"),
)


def known_wrong(method: str, operations: Iterable[str]) -> str | None:
    """Why the method's kernel of a network of these operations would be wrong, or None."""
    found = set(operations)
    return next((str(entry) for entry in KNOWN_WRONG
                 if fnmatchcase(method, entry.methods) and found.intersection(entry.operations)), None)


def has_entries(method: str) -> bool:
    """Whether the network's operations matter to that method."""
    return any(fnmatchcase(method, entry.methods) for entry in KNOWN_WRONG)
