"""Calls of `structured_torch` that are replayed as one CUDA graph.

When a graph may be used is shown on any machine, with the CPU taken for a GPU and a graph that works on the tensors
which it was captured with; that a graph computes the kernel, on a GPU.
"""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import cycle, product
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the structured PyTorch engine needs PyTorch")

from torch import Tensor, nn  # noqa: E402
from torch.autograd import forward_ad  # noqa: E402

from impls.frameworks.torch.internals import WeakTensorKeyDictionary  # noqa: E402
from impls.frameworks.torch.support import Forward, Params, module_function  # noqa: E402
from impls.programs.torch.replay import Replayed  # noqa: E402
from impls.structured.torch import graphs as torch_graphs  # noqa: E402
from impls.structured.torch.engine import Engine  # noqa: E402
from impls.structured.torch.graphs import MOST_CAPTURES, Graphed, Kernels  # noqa: E402
from reference.tolerances import tolerance  # noqa: E402
from tests.impls.structured.test_torch import NETWORKS, OUTPUTS, assert_kernel, drawn, expected_of  # noqa: E402

NOT_REPEATED = {
    "adapted", "branching", "circular", "derivative", "embedding_clipped", "hooked", "masked", "own_derivative",
    "selected_by_value", "solved", "strided_in_place",
}  # fmt: skip
"""Networks that are differentiated example by example, which the engine does not write down."""

MADE_ON_THE_CPU = {"masked_attention", "attention_padded", "solved"}
"""Networks that make tensors on the CPU, and do not run elsewhere."""

COPIED_FROM_THE_CPU = {"scaled_views", "causal_attention"}
"""Networks for some of whose kernels each call copies a number to the GPU, which a graph cannot repeat."""

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA device here")


@dataclass
class Imitated:
    """A graph's like: it calls the function again, with the memory that it was captured with. What lies elsewhere by
    then it does not see."""

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

    @property
    def replays(self) -> list[int]:
        return [each.calls for each in self.captures]


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


def network(*, frozen: bool = False) -> tuple[nn.Module, Forward, Params, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)).double()
        x = torch.randn(3, 4, dtype=torch.float64)
    module[0].requires_grad_(not frozen)
    return module, *module_function(module), x


def engine_of(f: Forward, params: Params, x: Tensor, x2: Tensor | None = None, **settings: Any) -> Engine:
    return Engine(f, params, x, x2, **{"outputs": "full", **settings})


def assert_as_made_anew(engine: Engine, f: Forward, params: Params, x: Tensor, x2: Tensor | None = None) -> None:
    close(engine(params, x, x2), engine_of(f, params, x, x2, once=True)(params, x, x2))


def close(found: Tensor, wanted: Tensor) -> None:
    assert found.shape == wanted.shape
    assert float((found - wanted).abs().max()) <= tolerance("float64") * float(wanted.abs().max())


def refused_by(engine: Engine) -> str | None:
    assert engine.graphed is not None
    return engine.graphed.refused


@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "x2"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network(name: str, symmetric: bool, machine: Machine) -> None:
    f, params, x1, x2 = drawn(NETWORKS[name], "float64", symmetric)
    engine = Engine(f, params, x1, x2, outputs="full")
    for _ in range(3):
        assert_kernel(engine(params, x1, x2), expected_of(name)[symmetric], "full", "float64")
    assert machine.replays == ([] if name in NOT_REPEATED else [2]), engine.graphed and engine.graphed.refused


@pytest.mark.parametrize("settings", [{"outputs": outputs} for outputs in OUTPUTS] + [{"batch_size": 2}], ids=str)
def test_later_calls_are_replayed(settings: dict[str, Any], machine: Machine) -> None:
    _, f, params, x = network()
    engine = engine_of(f, params, x, x[:2], **settings)
    for calls in (0, 1, 2):
        close(engine(params, x, x[:2]), engine_of(f, params, x, x[:2], **settings, once=True)(params, x, x[:2]))
        assert machine.replays == ([calls] if calls else [])
        x = x + 1  # in another place
        with torch.no_grad():
            next(iter(params.values())).mul_(1.5)  # in its own


def test_components(machine: Machine) -> None:
    _, f, params, x = network()
    engine = engine_of(f, params, x, components=True)
    for factor in (1, 2, 3):
        found = engine.components(params, x * factor, None)
        wanted = engine_of(f, params, x, components=True, once=True).components(params, x * factor, None)
        for name, kernel in wanted.items():
            close(found[name], kernel)
    assert machine.replays == [2]


def test_a_kernel_that_was_given_away_stays(machine: Machine) -> None:
    _, f, params, x = network()
    engine = engine_of(f, params, x)
    kernels = [engine(params, x * i, None) for i in range(4)]
    for i, kernel in enumerate(kernels):
        close(kernel, engine_of(f, params, x, once=True)(params, x * i, None))


@pytest.mark.parametrize("frozen", [False, True], ids=["parameter", "constant"])
def test_what_lies_elsewhere_is_captured_anew(frozen: bool, machine: Machine) -> None:
    """A weight whose numbers are exchanged for others is the same tensor in another place."""
    module, f, params, x = network(frozen=frozen)
    weight: Any = module.get_parameter("0.weight")
    params = {name: weight if name == "0.weight" else p for name, p in params.items()}
    engine = engine_of(f, params, x)
    for i in range(3):
        for _ in range(3):
            assert_as_made_anew(engine, f, params, x)
        assert machine.replays == [2] * (i + 1)
        weight.data = weight.data + 1


def test_parameters_under_each_others_names(machine: Machine) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)).double()
        x = torch.randn(3, 4, dtype=torch.float64)
    f, params = module_function(module)
    engine, other = engine_of(f, params, x), {"0.weight": "2.weight", "2.weight": "0.weight"}
    for names in ({}, other):
        for _ in range(3):
            assert_as_made_anew(engine, f, {names.get(name, name): p for name, p in params.items()}, x)
    assert machine.replays == [2, 2]


def test_after_a_call_that_failed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is captured after one that has run."""
    _, f, params, x = network()
    engine = engine_of(f, params, x)
    with monkeypatch.context() as patched:
        patched.setattr(engine, "_kernels", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            engine(params, x, None)
    for captures in (0, 1):
        assert_as_made_anew(engine, f, params, x)
        assert len(machine.captures) == captures


def test_a_copy_has_a_graph_of_its_own(machine: Machine) -> None:
    _, f, params, x = network()
    engine = engine_of(f, params, x)
    for _ in range(3):
        engine(params, x, None)
    twin = copy.deepcopy(engine)
    for _ in range(3):
        assert_as_made_anew(twin, f, params, x)
    assert machine.replays == [2, 2]


def test_after_some_captures_none_is_worth_while(machine: Machine) -> None:
    _, f, params, x = network()
    engine = engine_of(f, params, x)
    for i in range(3 * (MOST_CAPTURES + 2)):
        if i % 3 == 0:
            params = {name: p.detach() * 1.1 for name, p in params.items()}
        assert_as_made_anew(engine, f, params, x)
    assert len(machine.captures) == MOST_CAPTURES
    assert f"captured {MOST_CAPTURES} times" in str(refused_by(engine))


def test_what_cannot_be_captured_is_called(machine: Machine) -> None:
    machine.broken = "operation not permitted when stream is capturing\nmore"
    _, f, params, x = network()
    engine = engine_of(f, params, x)
    for _ in range(3):
        assert_as_made_anew(engine, f, params, x)
    assert refused_by(engine) == ("it cannot be captured (RuntimeError: operation not permitted when stream is "
                                  "capturing)")


WAITING: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "item": (lambda x: x * x.sum().item(), "local_scalar"),
    "mask": (lambda x: x + x[x > 0].sum(), "index"),
    "nonzero": (lambda x: x + x[x.nonzero()[:, 0]].sum(), "nonzero"),
    "copy": (lambda x: x, "copies from one device to another"),
}


@pytest.mark.parametrize("name", WAITING)
def test_a_part_that_waits_for_the_gpu(name: str, machine: Machine) -> None:
    f, reason = WAITING[name]
    part = Replayed(lambda x: {"": f(x), **({"elsewhere": x.to("meta")} if name == "copy" else {})})
    graphed = Graphed([part])
    for factor in (-1.0, 1.0, 2.0):
        x = torch.tensor([1.0, 2.0, -1.0]) * factor
        assert torch.equal(graphed(lambda params, x1, x2: part(x1), {}, x, None)[""], f(x))
    assert reason in str(graphed.refused)
    assert not machine.captures


def test_an_index_need_not_wait(machine: Machine) -> None:
    order = torch.tensor([2, 0, 1])
    part = Replayed(lambda x: {"": x[order]}, [order])
    graphed = Graphed([part])
    for _ in range(3):
        graphed(lambda params, x1, x2: part(x1), {}, torch.ones(3), None)
    assert machine.replays == [2]


def test_a_constant_that_is_not_on_the_gpu(machine: Machine) -> None:
    module, f, params, x = network(frozen=True)
    machine.elsewhere[module.get_parameter("0.weight")] = True
    engine = engine_of(f, params, x)
    for _ in range(3):
        assert_as_made_anew(engine, f, params, x)
    assert not machine.captures


def test_examples_that_do_not_lie_one_after_the_other(machine: Machine) -> None:
    _, f, params, x = network()
    engine = engine_of(f, params, x)
    turned = x.T.contiguous().T
    for some in (turned, turned, turned, x, x, x):
        assert_as_made_anew(engine, f, params, some)
    assert machine.replays == [2]


def test_what_a_graph_would_hold_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    _, f, params, x = network()
    assert engine_of(f, params, x).graphed is not None
    assert engine_of(f, params, x, memory_limit=2**20).graphed is None
    with monkeypatch.context() as patched:
        patched.setattr(torch_graphs, "MOST_HELD_BYTES", engine_of(f, params, x).plan.held_bytes - 1)
        assert engine_of(f, params, x).graphed is None
    monkeypatch.setattr(torch_graphs, "MOST_KERNEL_BYTES", 3 * 3 * 2 * 2 * 8)
    assert engine_of(f, params, x).graphed is not None
    assert engine_of(f, params, x, components=True).graphed is None  # of four


def test_an_engine_for_one_call_has_no_graph() -> None:
    _, f, params, x = network()
    assert engine_of(f, params, x, once=True).graphed is None


def test_a_graph_goes_with_its_engine(machine: Machine) -> None:
    """And not only once cycles are looked for: it holds memory."""
    _, f, params, x = network()
    engine = engine_of(f, params, x)
    for _ in range(3):
        engine(params, x, None)
    for each in machine.captures:
        each.f = dict  # a graph keeps nothing of what it was captured from
    gone = weakref.ref(engine)
    gc.disable()
    try:
        del engine
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("what", ["stream", "deterministic"])
def test_other_circumstances_are_another_call(what: str, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    _, f, params, x = network()
    engine, states = engine_of(f, params, x), cycle((False, False, False, True, True, True))
    for _ in range(6):
        now = next(states)
        if what == "stream":
            monkeypatch.setattr(torch.cuda, "current_stream", lambda now=now: now)
        if what == "deterministic":
            monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda now=now: now)
        assert_as_made_anew(engine, f, params, x)
    assert machine.replays == [2, 2]


def test_inside_a_graph_of_somebody_else(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    _, f, params, x = network()
    engine = engine_of(f, params, x)
    for _ in range(3):
        assert_as_made_anew(engine, f, params, x)
    assert not machine.captures


def test_tensors_of_a_transform_lie_nowhere(machine: Machine) -> None:
    answers: list[bool] = []
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(torch.ones(3), torch.ones(3))
        assert not torch_graphs._can_be_graphed([torch.ones(3), dual])

    def f(x: Tensor) -> Tensor:
        answers.append(torch_graphs._can_be_graphed([x]))
        return x

    torch.func.vmap(f)(torch.ones(2, 3))
    f(torch.ones(3))
    assert answers == [False, True]


def test_graphs_share_no_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch hands out the same few in turn."""
    handles = cycle(range(3))
    monkeypatch.setattr(torch.cuda, "Stream", lambda: SimpleNamespace(cuda_stream=next(handles)))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", SimpleNamespace)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, *, stream, capture_error_mode: nullcontext())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: None)
    captures = [torch_graphs.capture(dict, []) for _ in range(3)]
    assert {capture.stream.cuda_stream for capture in captures} == {0, 1, 2}
    with pytest.raises(RuntimeError, match="3 graphs are there already"):
        torch_graphs.capture(dict, [])
    del captures[1]
    assert torch_graphs.capture(dict, []).stream.cuda_stream == 1


def test_threads(machine: Machine) -> None:
    """All of them use one graph, one after the other."""
    _, f, params, x = network()
    engine, found = engine_of(f, params, x), {}
    for _ in range(2):
        engine(params, x, None)

    def run(factor: int) -> None:
        found[factor] = [engine(params, x * factor, None) for _ in range(20)]

    threads = [Thread(target=run, args=(factor,)) for factor in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for factor, kernels in found.items():
        wanted = engine_of(f, params, x, once=True)(params, x * factor, None)
        for kernel in kernels:
            close(kernel, wanted)
    assert machine.replays == [61]


@needs_cuda
@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - MADE_ON_THE_CPU))
def test_a_graph_computes_the_kernel(name: str) -> None:
    module, x1, x2 = NETWORKS[name].draw(5, 3, torch.float64)
    f, params = module_function(module.cuda())
    for outputs, symmetric in product(OUTPUTS, (True, False)):
        first, second = x1.cuda(), None if symmetric else x2.cuda()
        engine = Engine(f, params, first, second, outputs=outputs)
        for turn in range(4):
            if turn == 2:  # by then it is replayed
                engine(params, first.flip(0), second)
            kernel = engine(params, first.clone(), second)
            assert_kernel(kernel.cpu(), expected_of(name)[symmetric], outputs, "float64")
        if name not in NOT_REPEATED | COPIED_FROM_THE_CPU:
            assert refused_by(engine) is None
            assert engine.graphed is not None
            assert engine.graphed._capture is not None


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


def test_on_the_cpu() -> None:
    _, f, params, x = network()
    engine = engine_of(f, params, x)
    for _ in range(3):
        assert_as_made_anew(engine, f, params, x)
    assert isinstance(engine.graphed, Graphed)
    assert engine.graphed._capture is None
