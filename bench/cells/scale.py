"""The cases of the profile `scale`: one network, of which one size at a time grows."""

from __future__ import annotations

from bench.cells.cases import CaseSource, NetworkOnNoise
from reference import MLP

SIZES: dict[str, tuple[int, ...]] = {
    "N": (256, 512, 1024, 2048, 4096),
    "O": (1, 2, 5, 10, 20, 40),
    "width": (64, 128, 256, 512, 1024, 2048),
    "depth": (1, 2, 4, 8, 16),
}
"""What grows. P grows with the square of the width."""

N_INPUTS, N, O, WIDTH, DEPTH = 64, 128, 10, 256, 3
"""What they are while another one grows; O is 1 while N grows, whose kernel is a trace."""


def name(what: str, size: int) -> str:
    """Of the case in which that is so large."""
    return f"MLP-{what}-{size}"


def _case(what: str, size: int) -> CaseSource:
    sizes = {"N": N, "O": 1 if what == "N" else O, "width": WIDTH, "depth": DEPTH, what: size}
    layers = (N_INPUTS, *[sizes["width"]] * sizes["depth"], sizes["O"])
    return NetworkOnNoise(name(what, size), MLP(layers, W_std=2.0**0.5, b_std=0.1), sizes["N"])


CASES: tuple[CaseSource, ...] = tuple(_case(what, size) for what, sizes in SIZES.items() for size in sizes)

OUTPUTS: dict[str, tuple[str, ...]] = {name("N", size): ("trace",) for size in SIZES["N"]}
"""Of the cases that are not asked for the full kernel: its N² O² numbers would be all that grows."""
