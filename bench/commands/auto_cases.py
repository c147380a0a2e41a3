"""The networks on which ``method="auto"`` is judged: the quick grid, and others that nothing was fitted to."""

from __future__ import annotations

from bench.cells.data import digits
from bench.cells.profiles import PROFILES, cases_of
from reference import MLP, Case, Conv, ConvNet, Layered, random_case
from reference.cases import transformer_block
from reference.layered import Described
from reference.layers import (
    Activate,
    BatchNorm,
    Convolution,
    Dense,
    Embedding,
    GlobalPool,
    LayerNorm,
    Positions,
    Recurrent,
    Residual,
)


def quick_cases() -> list[Case]:
    """Those of ``python -m bench run``: 16 digits, MLPs of three widths and a ConvNet, with 1 and 10 outputs."""
    return [source.build() for source in cases_of(PROFILES["quick"], digits())]


def held_out_cases() -> list[Case]:
    """Other widths, depths, numbers of examples and outputs, other layers; x2 = x1 where N2 is 0."""
    return [_case(name, *sizes) for name, sizes in _HELD_OUT.items()]


def unseen_cases() -> list[Case]:
    """More of the kind, which nothing was decided by."""
    return [_case(name, *sizes) for name, sizes in _UNSEEN.items()]


def _case(name: str, network: Described, n1: int, n2: int) -> Case:
    case = random_case(name, network, n1, max(n2, 1))
    return case if n2 else case.with_symmetry()


# name: (network, N1, N2)
_HELD_OUT: dict[str, tuple[Described, int, int]] = {
    "linear_o10": (MLP((32, 10)), 24, 0),
    "mlp_tiny": (MLP((4, 12, 1), "tanh"), 6, 0),
    "mlp_few_parameters_o40": (MLP((2, 2, 40), "tanh"), 12, 8),
    "mlp_d1_w512_n64_o3": (MLP((100, 512, 3)), 64, 0),
    "mlp_d6_w128_n32_n24_o10": (MLP((20, *[128] * 6, 10), "gelu"), 32, 24),
    "mlp_d2_w1536_n4_n40_o1": (MLP((64, 1536, 1536, 1)), 4, 40),
    "mlp_d3_w96_n100_o1": (MLP((10, 96, 96, 96, 1), "tanh"), 100, 0),
    "convnet_c24_stride_n8_n5_o10": (
        ConvNet((3, 12, 12), (Conv(24, padding=(1, 1)), Conv(24, stride=(2, 2), padding=(1, 1))), (10,), "global"),
        8, 5),
    "convnet_pool_dense_n12_o1": (ConvNet((1, 12, 12), (Conv(8, pool=(2, 2)), Conv(12)), (32, 1)), 12, 0),
    "resnet_n6_o4": (Layered((3, 8, 8), (
        Convolution("stem", 16, padding=(1, 1), bias=False), BatchNorm("stem_norm"), Activate("relu"),
        Residual((Convolution("first", 16, padding=(1, 1), bias=False), BatchNorm("first_norm"), Activate("relu"),
                  Convolution("second", 16, padding=(1, 1)))),
        Activate("relu"), GlobalPool(), Dense("head", 4))), 6, 0),
    "transformer_t8_d32_n4_n3": (Layered((8,), (
        Embedding("tokens", 6, 32), Positions("positions"), *transformer_block("block0", 32, 4),
        *transformer_block("block1", 32, 4), LayerNorm("norm"), Dense("tokens", 6, bias=False))), 4, 3),
    "recurrent_t10_w48_n16_o2": (Layered((10, 6), (Recurrent("cell", 48), Dense("head", 2))), 16, 0),
}


# As above; but the form of the terms of `impls.choice.costs` was changed once after a look at those, and never after
# these.
_UNSEEN: dict[str, tuple[Described, int, int]] = {
    "mlp_d4_w384_n16_o5": (MLP((48, *[384] * 4, 5), "tanh"), 16, 0),
    "mlp_d1_w24_n9_n5_o2": (MLP((7, 24, 2)), 9, 5),
    "convnet_c20_n6_o3": (ConvNet((3, 9, 9), (Conv(20, padding=(1, 1)), Conv(20, pool=(2, 2))), (3,), "global"), 6, 0),
    "transformer_t5_d48_n5": (Layered((5,), (
        Embedding("tokens", 9, 48), Positions("positions"), *transformer_block("block0", 48, 3), LayerNorm("norm"),
        Dense("head", 2))), 5, 0),
    "recurrent_t7_w24_n10_n4_o3": (Layered((7, 5), (Recurrent("cell", 24), Dense("head", 3))), 10, 4),
}

# To fit the factors of `impls.choice.costs`, beside the quick grid.
_FITTED: dict[str, tuple[Described, int, int]] = {
    "fit_linear": (MLP((50, 4)), 16, 0),
    "fit_tiny": (MLP((3, 8, 2)), 4, 3),
    "fit_few_parameters": (MLP((3, 3, 24)), 10, 0),
    "fit_many_outputs": (MLP((3, 5, 60), "tanh"), 16, 0),
    "fit_many_outputs_n24_n10": (MLP((8, 32, 30)), 24, 10),
    "fit_mlp_w320_n48": (MLP((30, 320, 320, 5)), 48, 0),
    "fit_mlp_d4_w192_n20_n30": (MLP((16, *[192] * 4, 3), "tanh"), 20, 30),
    "fit_mlp_w800_n2_n24": (MLP((40, 800, 1)), 2, 24),
    "fit_convnet_c12_n10": (ConvNet((2, 10, 10), (Conv(12, padding=(1, 1)), Conv(12, padding=(1, 1))), (6,), "global"),
                            10, 0),
    "fit_convnet_c32_n4_n6": (ConvNet((3, 14, 14), (Conv(32, stride=(2, 2)), Conv(32)), (2,), "global", "gelu"), 4, 6),
    "fit_convnet_dense": (ConvNet((1, 9, 9), (Conv(6, pool=(2, 2)),), (24, 5), activation="tanh"), 14, 0),
    "fit_resnet": (Layered((3, 10, 10), (
        Convolution("stem", 12, padding=(1, 1)), BatchNorm("norm"), Activate("relu"),
        Residual((Convolution("first", 12, padding=(1, 1)), Activate("relu"),
                  Convolution("second", 12, padding=(1, 1)))),
        GlobalPool(), Dense("head", 2))), 5, 4),
    "fit_transformer": (Layered((6,), (
        Embedding("tokens", 4, 24), Positions("positions"), *transformer_block("block0", 24, 2), LayerNorm("norm"),
        Dense("head", 3))), 6, 0),
    "fit_recurrent": (Layered((6, 4), (Recurrent("cell", 32), Dense("head", 3))), 8, 5),
}


def fitted_cases() -> list[Case]:
    """Cases beside the quick grid that the factors of `impls.choice.costs` are fitted to."""
    return [_case(name, *sizes) for name, sizes in _FITTED.items()]


def all_cases() -> list[tuple[str, Case]]:
    """(group, case): "quick", "fitted", "held out" and "unseen"."""
    groups = {"quick": quick_cases, "fitted": fitted_cases, "held out": held_out_cases, "unseen": unseen_cases}
    return [(group, case) for group, make in groups.items() for case in make()]
