"""What the gate found wrong in other people's libraries: expected failures, strict, each with its reason and version.

A kernel that a library computes without complaint, and wrongly, is no "unsupported" case: it is computed, must fail,
and is counted apart. In another version nothing is expected, so that the gate says whether it was mended.
"""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import get_args

import pytest

from reference import Case, ConvNet, Layered
from reference.case import Device, DType
from reference.layers import BatchNorm, Convolution, Layer, LayerNorm, WeightNormDense


def is_more_than_dense(case: Case) -> bool:
    others = (Convolution, BatchNorm, LayerNorm)
    return isinstance(case.network, ConvNet) or any(_layers(case, kind) for kind in others)


def has_groups(case: Case) -> bool:
    return any(getattr(layer, "groups", 1) > 1 for layer in _layers(case, Convolution))


def has_weight_normalisation(case: Case) -> bool:
    return bool(_layers(case, WeightNormDense))


def is_tied(case: Case) -> bool:
    """Whether several layers hold one parameter: in the reference they have one name."""
    counts = Counter(name for layer in _layers(case, Layer) if isinstance(name := getattr(layer, "name", None), str))
    return any(count > 1 for count in counts.values())


@dataclass(frozen=True)
class KnownWrong:
    """A method that is wrong on the cases to which `condition` applies, in one version of its package."""

    methods: str
    """A pattern."""
    condition: Callable[[Case], bool]
    distribution: str
    """The package on PyPI."""
    version: str
    reason: str
    link: str = ""
    dtypes: tuple[DType, ...] = ("float32", "float64")
    devices: tuple[Device, ...] = ("cpu", "cuda")

    def applies(self, method: str, case: Case, dtype: DType, device: Device = "cpu") -> bool:
        return (fnmatchcase(method, self.methods) and dtype in self.dtypes and device in self.devices
                and self.condition(case) and _installed(self.distribution) == self.version)

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}: {self.reason}{f' ({self.link})' if self.link else ''}"


KNOWN_WRONG = (
    KnownWrong("nngeometry.*", is_tied, "nngeometry", "0.4",
               "a parameter of two layers is taken for two, and the products of its two derivatives are lost",
               "https://github.com/tfjgeorge/nngeometry/issues/94"),
    KnownWrong("nngeometry.*", has_groups, "nngeometry", "0.4",
               "a grouped convolution is taken for one without groups, whose further weights are counted"),
    KnownWrong("nngeometry.*", has_weight_normalisation, "nngeometry", "0.4",
               "layers with a parametrization are left out without a word"),
    KnownWrong("nngeometry.gram", is_more_than_dense, "nngeometry", "0.4",
               "the gradients of all but linear layers are held in float32 for a network in float64",
               dtypes=("float64",)),
    KnownWrong("backpack.*", is_tied, "backpack-for-pytorch", "1.7.1",
               "of a parameter of two layers only the gradients of one are kept",
               "https://github.com/f-dangel/backpack/issues/248"),
    *(KnownWrong(method, has_weight_normalisation, "torch", "2.11.0",
                 "on CUDA the derivative of weight normalisation has the precision of float32 in float64 too",
                 dtypes=("float64",), devices=("cuda",))
      for method in ("torch_func.jacobian_contraction", "torch_autograd.per_example")),
)


def known_wrong(method: str, case: Case, dtype: DType, device: Device = "cpu") -> KnownWrong | None:
    """Why this kernel is expected to be wrong, or None."""
    return next((entry for entry in KNOWN_WRONG if entry.applies(method, case, dtype, device)), None)


def known_reason(method: str, case: Case, device: Device) -> str | None:
    """For tests of laws, which a wrong kernel need not break: why the method is wrong on this case, in any dtype."""
    entries = [known_wrong(method, case, dtype, device) for dtype in get_args(DType)]
    return next((f"known to be wrong: {entry}" for entry in entries if entry is not None), None)


def expected_failure(method: str, case: Case, dtype: DType, device: Device) -> pytest.MarkDecorator | None:
    """For a test that compares this kernel with the truth: it has to fail, and by nothing but the comparison."""
    entry = known_wrong(method, case, dtype, device)
    return None if entry is None else pytest.mark.xfail(reason=str(entry), strict=True, raises=AssertionError)


def _layers(case: Case, kind: type[Layer]) -> list[Layer]:
    layers = case.network.all_layers() if isinstance(case.network, Layered) else []
    return [layer for layer in layers if isinstance(layer, kind)]


def _installed(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
