"""Calls of `structured_torch` that are replayed as one CUDA graph. What a graph may not be used for is shown on any
machine, with a graph that calls the function; that a graph computes the kernel, on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the structured PyTorch engine needs PyTorch")

from torch import Tensor, nn  # noqa: E402

from impls.structured import torch_graphs  # noqa: E402
from impls.structured.torch_engine import Engine  # noqa: E402
from impls.structured.torch_graphs import MOST_CAPTURES, Graphed, Kernels  # noqa: E402
from impls.structured.torch_internals import WeakTensorKeyDictionary  # noqa: E402
from impls.structured.torch_replay import Replayed  # noqa: E402
from impls.torch_support import Forward, Params, module_function  # noqa: E402
from reference.case import Outputs  # noqa: E402
from reference.tolerances import tolerance  # noqa: E402
from tests.structured_layers import LAYERS  # noqa: E402
from tests.structured_modules import MODULES  # noqa: E402

NETWORKS = MODULES | LAYERS
OUTPUTS: tuple[Outputs, ...] = ("full", "diagonal", "trace")
MAKE_TENSORS_ON_THE_CPU = {"masked_attention", "attention_padded", "solved"}
"""And do not run elsewhere."""

COPY_FROM_THE_CPU = {"scaled_views", "causal_attention"}
"""In each call, which a graph cannot repeat, if what is asked for needs it."""

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA device here")


@dataclass
class Imitated:
    """Instead of a graph: the function itself, called anew."""

    f: Callable[[], Kernels]
    places: Sequence[Tensor]
    kernels: Kernels
    calls: int = 0

    def __call__(self, examples: Sequence[Tensor]) -> Kernels:
        for place, x in zip(self.places, examples, strict=True):
            place.copy_(x)
        self.calls += 1
        for name, kernel in self.f().items():
            self.kernels[name].copy_(kernel)
        return {name: kernel.clone() for name, kernel in self.kernels.items()}


@dataclass
class Machine:
    captures: list[Imitated] = field(default_factory=list)
    broken: str = ""
    """Why nothing can be captured."""
    elsewhere: WeakTensorKeyDictionary = field(default_factory=WeakTensorKeyDictionary)
    """Tensors that are not on the GPU."""

    def capture(self, f: Callable[[], Kernels], places: Sequence[Tensor]) -> Imitated:
        if self.broken:
            raise RuntimeError(self.broken)
        self.captures.append(Imitated(f, places, {name: torch.empty_like(k) for name, k in f().items()}))
        return self.captures[-1]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The CPU taken for a GPU."""
    found = Machine()
    monkeypatch.setattr(torch_graphs, "capture", found.capture)
    monkeypatch.setattr(torch_graphs, "_is_on_gpu", lambda tensor: tensor not in found.elsewhere)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    return found


def network() -> tuple[Forward, Params, Tensor]:
    torch.manual_seed(3)
    module = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    return *module_function(module), torch.randn(3, 4, dtype=torch.float64)


def engine_of(f: Forward, params: Params, x: Tensor, x2: Tensor | None = None, **settings: Any) -> Engine:
    return Engine(f, params, x, x2, outputs="full", **settings)


def plainly(f: Forward, params: Params, x: Tensor, x2: Tensor | None = None) -> Tensor:
    return engine_of(f, params, x, x2, once=True)(params, x, x2)


def close(found: Tensor, wanted: Tensor) -> None:
    assert found.shape == wanted.shape
    assert float((found - wanted).abs().max()) <= tolerance("float64") * float(wanted.abs().max())


def test_the_second_call_is_captured_and_later_ones_are_replayed(machine: Machine) -> None:
    f, params, x = network()
    engine = engine_of(f, params, x)
    for calls in (0, 1, 2):
        wanted = plainly(f, params, x)
        close(engine(params, x, None), wanted)
        assert [each.calls for each in machine.captures] == ([calls] if calls else [])
        x = x + 1  # in another place
        with torch.no_grad():
            next(iter(params.values())).mul_(1.5)  # in its own


def test_a_kernel_that_was_given_away_stays(machine: Machine) -> None:
    f, params, x = network()
    engine = engine_of(f, params, x)
    kernels = [engine(params, x * i, None) for i in range(4)]
    for i, kernel in enumerate(kernels):
        close(kernel, plainly(f, params, x * i))


def test_parameters_at_another_place_are_captured_anew_and_not_for_ever(machine: Machine) -> None:
    f, params, x = network()
    engine = engine_of(f, params, x)
    for i in range(3 * (MOST_CAPTURES + 2)):
        if i % 3 == 0:
            params = {name: p.detach() * 1.1 for name, p in params.items()}
        close(engine(params, x, None), plainly(f, params, x))
    assert len(machine.captures) == MOST_CAPTURES
    assert engine.graphed is not None
    assert f"have moved {MOST_CAPTURES} times" in str(engine.graphed.refused)


def test_what_cannot_be_captured_is_called(machine: Machine) -> None:
    machine.broken = "operation not permitted when stream is capturing\nmore"
    f, params, x = network()
    engine = engine_of(f, params, x)
    for _ in range(3):
        close(engine(params, x, None), plainly(f, params, x))
    assert engine.graphed is not None
    assert engine.graphed.refused == ("it cannot be captured (RuntimeError: operation not permitted when stream is "
                                      "capturing)")


def test_what_cannot_be_repeated_is_not_captured(machine: Machine) -> None:
    """A part that takes a number out of a tensor; one that reads a tensor which is not on the GPU."""
    x, scale = torch.ones(3), torch.ones(1)
    machine.elsewhere[scale] = True
    taking, reading = Replayed(lambda x: {"": x * x.sum().item()}), Replayed(lambda x: {"": x * scale}, [scale])
    for part, reason in ((taking, "local_scalar"), (reading, "not on the GPU")):
        graphed = Graphed([part])
        for factor in range(4):
            found = graphed(lambda params, x1, x2, part=part: part(x1), {}, x * factor, None)
            assert float(found[""][0]) == (3 * factor**2 if part is taking else factor)
        assert reason in str(graphed.refused)
    assert not machine.captures


def test_no_room_for_two_kernels(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    f, params, x = network()
    assert engine_of(f, params, x).graphed is not None
    assert engine_of(f, params, x, memory_limit=2**20).graphed is None
    assert engine_of(f, params, x, once=True).graphed is None
    monkeypatch.setattr(torch_graphs, "MOST_BYTES", 3 * 3 * 2 * 2 * 8 - 1)
    assert engine_of(f, params, x).graphed is None


def test_other_circumstances_are_another_call(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    f, params, x = network()
    engine, streams = engine_of(f, params, x), iter("aaabbb")
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: next(streams))
    for _ in range(6):
        close(engine(params, x, None), plainly(f, params, x))
    assert [each.calls for each in machine.captures] == [2, 2]


def test_inside_a_graph_of_somebody_else(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    f, params, x = network()
    engine = engine_of(f, params, x)
    for _ in range(3):
        engine(params, x, None)
    assert not machine.captures


@needs_cuda
@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - MAKE_TENSORS_ON_THE_CPU))
def test_a_graph_computes_the_kernel(name: str) -> None:
    module, x1, other = NETWORKS[name].draw(4, 3, torch.float64)
    f, params = module_function(module.cuda())
    x1, other = x1.cuda(), other.cuda()
    for outputs, x2 in product(OUTPUTS, (None, other)):
        engine, eager = (Engine(f, params, x1, x2, outputs=outputs) for _ in range(2))
        eager.graphed = None
        for _ in range(4):
            close(engine(params, x1, x2), eager(params, x1, x2))
            x1 = x1.flip(0).contiguous()
            with torch.no_grad():
                next(iter(params.values())).mul_(1.1)
        graphed = engine.graphed
        if graphed is not None:
            assert graphed.refused is not None or graphed._capture is not None
            assert name in COPY_FROM_THE_CPU or "cannot be captured" not in str(graphed.refused)


@needs_cuda
def test_a_failed_capture_leaves_the_stream_as_it_was() -> None:
    before, x = torch.cuda.current_stream(), torch.ones(3, device="cuda")

    def f() -> Kernels:
        x.sum().item()
        return {"": x}

    with pytest.raises(RuntimeError):
        torch_graphs.capture(f, [])
    assert torch.cuda.current_stream() == before
    assert float(x.sum()) == 3


@needs_cuda
def test_on_the_cpu_of_a_machine_with_a_gpu() -> None:
    f, params, x = network()
    engine = engine_of(f, params, x)
    for _ in range(3):
        close(engine(params, x, None), plainly(f, params, x))
    assert isinstance(engine.graphed, Graphed)
    assert engine.graphed._capture is None
