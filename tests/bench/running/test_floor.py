"""What the harness finds out about a method beside its values: computing in the set-up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench.machine.meter import Meter
from bench.records.record import Cell
from bench.running import measure
from bench.running.anew import Anew
from bench.running.conduct import Conduct
from bench.running.floor import FLOPS_PER_SECOND, least_seconds
from impls.protocol import Kind
from reference import MLP, Case, case
from reference.case import random_case

WIDE = random_case("floor", MLP((100, 200, 3)), 4, 5)


def test_least_seconds_is_the_forward_pass_without_the_last_layer() -> None:
    assert least_seconds(WIDE, threads=2) == 2 * (4 + 5) * 100 * 200 / (2 * FLOPS_PER_SECOND)
    assert least_seconds(case("transformer"), threads=1) == 0


@pytest.mark.parametrize(("kind", "least"), [("exact", least_seconds(WIDE, 1)), ("limit", 0.0)])
def test_a_limit_passes_through_no_network(kind: Kind, least: float) -> None:
    job: Any = SimpleNamespace(cell=Cell("method", "case", threads=1))
    assert measure._least_seconds(WIDE, job, kind) == least


class Clock:
    """Seconds that pass when a method says so."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.mark.parametrize(("in_setup", "in_call", "blamed"), [(1.0, 1e-9, True), (0.0, 1.0, False), (1.0, 1.0, False)])
def test_a_call_that_only_copies_is_found(monkeypatch: pytest.MonkeyPatch, in_setup: float, in_call: float,
                                          blamed: bool) -> None:
    clock = Clock()
    monkeypatch.setattr(measure, "perf_counter", clock.perf_counter)

    def prepare() -> Any:
        clock.now += in_setup

        def call() -> np.ndarray:
            clock.now += in_call
            return np.ones(3)

        return call

    said: dict[str, Any] = {}
    witness = measure.Witness(Anew(WIDE, "exact", 0), Conduct(threads=1), lambda: None, Meter())
    _, fault = measure._time(lambda _, measured: said.update(measured), prepare, witness, 0.0, least_seconds(WIDE, 1))
    assert said["setup_s"] == in_setup
    assert ("computed in the set-up" in fault) == blamed


def test_a_function_of_tensors_is_a_model() -> None:
    torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")
    from impls import load
    from impls.frameworks.arrays import to_numpy
    from impls.given.user_network import UserNetwork
    from impls.own.recognise import as_network
    from reference import InputError, Request

    weight, shift = torch.arange(6.0, dtype=torch.float64).reshape(3, 2), torch.tensor([0, 1])
    network = as_network((lambda params, x: x @ params["layer.weight"] + params["shift"],
                          {"layer.weight": weight, "shift": shift}))
    assert isinstance(network, UserNetwork)
    assert network.framework == "torch"
    x = np.eye(4, 3, dtype="float32").astype("float64")
    kernel = to_numpy(load("torch_func.jacobian_contraction").prepare(Case("own", network, {}, x),
                                                                      Request(dtype="float64"))())
    np.testing.assert_array_equal(kernel, np.einsum("nm,ab->nmab", x @ x.T, np.eye(2)))  # exact in integers
    with pytest.raises(InputError, match=r"params\['deep'\] is a dict; with PyTorch, params is a flat dict"):
        as_network((lambda params, x: x, {"w": weight, "deep": {}}))
