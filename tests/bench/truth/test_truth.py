"""What a run holds kernels against where nothing is proved: two witnesses, conditioning, and all examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import impls  # noqa: E402
from bench.records.record import Cell  # noqa: E402
from bench.truth.check import check  # noqa: E402
from bench.truth.probe_torch import TorchProbe  # noqa: E402
from bench.truth.truth import Truth, find_truth  # noqa: E402
from impls.given.user_network import UserNetwork  # noqa: E402
from reference import Case, Request  # noqa: E402
from reference.case import DType, Outputs  # noqa: E402
from reference.tolerances import CONDITIONING_MULTIPLE, tolerance  # noqa: E402


@dataclass(frozen=True)
class Source:
    model: Any
    x: np.ndarray
    name: str = "own"
    network: str = "own"
    data: str = "random"
    digest: str = ""

    def build(self) -> Case:
        return Case(self.name, UserNetwork("torch", self.model), {}, self.x, None)


class Sine(torch.nn.Module):
    def forward(self, x: Any) -> Any:
        return torch.sin(30 * x)


class PartlyFloat32(torch.nn.Sequential):
    def forward(self, input: Any) -> Any:
        return self[2](torch.softmax(self[0](input).float(), -1).to(input.dtype))


def mlp(activation: type, width: int = 16, layers: int = 1) -> Any:
    torch.manual_seed(0)
    hidden = [part for _ in range(layers - 1) for part in (torch.nn.Linear(width, width), activation())]
    return torch.nn.Sequential(torch.nn.Linear(2, width), activation(), *hidden, torch.nn.Linear(width, 2))


X = np.random.default_rng(0).uniform(-1, 1, (12, 2)).astype(np.float32)


def truth_of(model: Any, outputs: Sequence[Outputs] = ("full",), dtypes: Sequence[DType] = ("float32",)) -> Truth:
    return find_truth(lambda *_: None, Source(model, X), outputs, dtypes)


def kernel_of(model: Any, dtype: DType, outputs: Outputs = "full", method: str = "structured_torch") -> np.ndarray:
    request = Request(dtype=dtype, outputs=outputs)
    return impls.load(method).prepare(Source(model, X).build(), request)().numpy()


def verdict(kernel: np.ndarray, truth: Truth, dtype: DType, outputs: Outputs = "full") -> dict[str, Any]:
    return check(kernel, truth, Cell("any", "own", outputs=outputs, dtype=dtype), "exact", 1)


def test_a_network_that_amplifies_rounding() -> None:
    model = mlp(Sine, 128, 3)
    truth = truth_of(model, dtypes=("float32", "float64"))
    kernel = kernel_of(model, "float32")
    said = verdict(kernel, truth, "float32")
    assert said["status"] == "ok"
    assert said["tolerance"] > tolerance("float32")
    assert "amplifies float32 rounding" in said["remark"]
    assert verdict(kernel.astype(np.float64), truth, "float64")["status"] == "wrong", "a float32 method in float64"
    error = 10 * said["tolerance"] / CONDITIONING_MULTIPLE
    assert verdict(kernel * np.float32(1 + error), truth, "float32")["status"] == "wrong"


def test_a_network_that_computes_partly_in_float32() -> None:
    model = PartlyFloat32(*mlp(torch.nn.Tanh)).double()
    truth = truth_of(model, dtypes=("float64",))
    kernel = kernel_of(model, "float64")
    said = verdict(kernel, truth, "float64")
    assert said["status"] == "ok"
    assert "partly in float32" in said["remark"]
    assert verdict(kernel * (1 + 1e-4), truth, "float64")["status"] == "wrong"


@pytest.mark.parametrize("outputs", ["full", "diagonal", "trace"])
def test_a_method_right_only_where_it_is_looked_at(outputs: Outputs) -> None:
    model = mlp(torch.nn.Tanh)
    truth = truth_of(model, (outputs,))
    kernel = kernel_of(model, "float32", outputs)
    assert verdict(kernel, truth, "float32", outputs)["status"] == "ok"
    assert truth.examples1 is not None
    others = [n for n in range(len(X)) if n not in truth.examples1]
    spoilt = kernel.copy()
    spoilt[np.ix_(others, others)] *= 1.01
    said = verdict(spoilt, truth, "float32", outputs)
    assert (said["status"], "beyond the examples" in said["reason"]) == ("wrong", True)


@pytest.mark.parametrize("wrong", ["jacobian", "jvp", "both"])
def test_a_witness_that_is_wrong(monkeypatch: pytest.MonkeyPatch, wrong: Literal["jacobian", "jvp", "both"]) -> None:
    model = mlp(torch.nn.Tanh)
    for i, name in enumerate(("jacobian", "jvp")):
        if wrong in (name, "both"):
            right = getattr(TorchProbe, name)
            monkeypatch.setattr(TorchProbe, name, lambda *given, right=right, i=i: right(*given) * (1.3 + i))
    said = verdict(kernel_of(model, "float32"), truth_of(model), "float32")
    assert said["status"] == ("undecided" if wrong == "both" else "ok"), said
    if wrong == "both":
        assert "reverse mode" in said["reason"]
        assert "forward mode" in said["reason"]
