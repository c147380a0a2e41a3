"""Separable cotangents in the PyTorch engine: found where they are and nowhere else, and contracted exactly."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reference import MLP, Conv, ConvNet, Request
from reference.case import Outputs, random_case

torch = pytest.importorskip("torch", reason="the structured PyTorch engine needs PyTorch")

from torch import Tensor, nn  # noqa: E402

from impls.frameworks.torch.support import module_function  # noqa: E402
from impls.methods.structured_torch import METHODS  # noqa: E402
from impls.networks.torch_case import functional  # noqa: E402
from impls.programs.traces import traced_once  # noqa: E402
from impls.structured.explain import explain  # noqa: E402
from impls.structured.torch.engine import Engine  # noqa: E402
from tests.impls.structured.tails import NOT_SEPARABLE, SEPARABLE  # noqa: E402
from tests.impls.structured.test_torch import N1, N2, OUTPUTS, Expected, assert_kernel, drawn, kernels  # noqa: E402

ALL = SEPARABLE | NOT_SEPARABLE
LAST = {"pool_grouped": "grouped.weight", "pool_of_what_is_gated": "last.bias"}
"""Where the product in question is of another parameter."""

LIMITS = ((None, None), (2, None), (None, 20_000))
"""Of examples at once, and bytes."""


@cache
def expected_of(name: str) -> dict[bool, Expected]:
    return kernels(*ALL[name].draw(N1, N2, torch.float64))


@pytest.mark.parametrize("name", ALL)
def test_found_where_it_is(name: str, separated: None) -> None:
    f, params, x1, _ = drawn(ALL[name], "float64", True)
    steps = Engine(f, params, x1, None, outputs="full").plan.steps
    (last,) = [step for step in steps if step.parameter.name == LAST.get(name, "last.weight")]
    assert (last.ways == ("separable",)) is (name in SEPARABLE)
    assert last.parameter.products


@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "x2"])
@pytest.mark.parametrize("name", ALL)
@traced_once()
def test_kernel(name: str, symmetric: bool, separated: None) -> None:
    f, params, x1, x2 = drawn(ALL[name], "float64", symmetric)
    right = expected_of(name)[symmetric]
    for outputs in OUTPUTS:
        for batch_size, memory_limit in LIMITS if name in SEPARABLE else LIMITS[:1]:
            engine = Engine(f, params, x1, x2, outputs=outputs, batch_size=batch_size, memory_limit=memory_limit)
            assert_kernel(engine(params, x1, x2), right, outputs, "float64")


@pytest.mark.parametrize("name", ["pool_norm", "pool_grouped", "mean_of_tokens", "vector_scaled"])
def test_components(name: str, separated: None) -> None:
    f, params, x1, _ = drawn(ALL[name], "float64", True)
    module, first, second = ALL[name].draw(N1, N2, torch.float64)
    parts = METHODS[0].components(f, params, x1, None, Request(dtype="float64"))
    for part in params:
        assert_kernel(parts[part], kernels(module, first, second, part)[True], "full", "float64")


OPERATIONS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "tanh": lambda m, h: h.tanh(),
    "times_sigmoid": lambda m, h: h * h.sigmoid(),
    "scale": lambda m, h: h * m.vector,
    "bias": lambda m, h: m.vector - h,
    "half": lambda m, h: h / 2,
    "places": lambda m, h: h * m.places[: h.shape[1], None] if h.ndim == 3 else h,
    "turn": lambda m, h: h.mT if h.ndim == 3 and h.shape[1] == 4 else h,
    "mean": lambda m, h: h.mean(1, keepdim=True),
    "sum": lambda m, h: h.sum(-2) if h.ndim == 3 else h,
    "all_but_one": lambda m, h: h[:, :3],
    "matrix": lambda m, h: h @ m.weight,
    "flip": lambda m, h: h.flip(1) + h,
    "softmax": lambda m, h: h.softmax(1),
    "gate": lambda m, h: h * m.first(m.x[:, 0])[:, None].sum(-1, keepdim=True).reshape(-1, *[1] * (h.ndim - 1)),
    "max": lambda m, h: h.amax(1, keepdim=True),
}


class Random(nn.Module):
    """Operations drawn by hypothesis behind a dense layer whose outputs are 4 × 4; then a head that is a matrix."""

    def __init__(self, operations: list[str], n_outputs: int) -> None:
        super().__init__()
        self.operations = operations
        self.first, self.last, self.vector = nn.Linear(3, 5), nn.Linear(5, 4), nn.Parameter(torch.randn(4))
        self.weight, self.places = nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.randn(4))
        with torch.no_grad():
            self.head = nn.Linear(self._features(torch.zeros(1, 4, 3)).shape[1], n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self._features(x))

    def _features(self, x: Tensor) -> Tensor:
        self.x, h = x, self.last(self.first(x).tanh())
        for operation in self.operations:
            h = OPERATIONS[operation](self, h) if h.shape[-1] == 4 else h.tanh()
        return h.flatten(1)


SINGLE = st.sampled_from(["tanh", "times_sigmoid", "scale", "bias", "half", "places", "gate"])
POOL = st.sampled_from(["mean", "sum", "mean", "sum", "max", "flip"])
BEHIND = st.sampled_from(["matrix", "scale", "bias", "half", "tanh"])
LIKELY = st.builds(
    lambda *parts: [name for part in parts for name in part],
    *(st.lists(operation, max_size=2) for operation in (SINGLE, POOL, BEHIND)),
)


@settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    operations=st.one_of(LIKELY, LIKELY, st.lists(st.sampled_from(sorted(OPERATIONS)), max_size=4)),
    n_outputs=st.integers(1, 3),
    outputs=st.sampled_from(OUTPUTS),
    symmetric=st.booleans(),
)
def test_random_tails(
    operations: list[str], n_outputs: int, outputs: Outputs, symmetric: bool, separated: None
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = Random(operations, n_outputs).double()
        x1, x2 = (torch.randn(n, 4, 3, dtype=torch.float64) for n in (3, 2))
    f, params = module_function(module)
    other = None if symmetric else x2
    kernel = Engine(f, params, x1, other, outputs=outputs)(params, x1, other)
    assert_kernel(kernel, kernels(module, x1, x2)[symmetric], outputs, "float64")


@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize(("n1", "n2", "n_outputs"), [(150, None, 2), (40, 90, 3), (4, None, 8)])
def test_several_blocks(n1: int, n2: int | None, n_outputs: int, outputs: Outputs, separated: None) -> None:
    """More rows than are contracted at once, of few outputs and of many."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = nn.Sequential(nn.Linear(3, 700), nn.Tanh(), nn.Linear(700, n_outputs)).double()
        x = torch.randn(n1 + (n2 or 0), 3, dtype=torch.float64)
    x1, x2 = x[:n1], None if n2 is None else x[n1:]
    f, params = module_function(module)
    right = kernels(module, x1, x1 if x2 is None else x2)[x2 is None]
    engine = Engine(f, params, x1, x2, outputs=outputs)
    assert [step.ways for step in engine.plan.steps] == [("separable",), (), ("top",), ()]
    assert_kernel(engine(params, x1, x2), right, outputs, "float64")


@pytest.mark.parametrize("network", [MLP((5, 64, 64, 6)), ConvNet((3, 12, 12), (Conv(8), Conv(16)), (6,), "global")])
def test_chosen_where_it_pays(network: MLP | ConvNet) -> None:
    """For the last layer before the head, and the plan says so."""
    f, params, x1, x2 = functional(random_case("tail", network, 16, None), Request())
    plan = Engine(f, params, x1, x2, outputs="full").plan
    weights = [step for step in plan.steps if step.parameter.products]
    assert ["separable" in step.ways for step in weights] == [False, True, False]
    row = explain(plan).splitlines()[1 + plan.steps.index(weights[1])].split()
    assert row[3:5] == ["separable", f"{weights[1].flops:.3g}"]
    assert any(line.startswith("separable: ") for line in explain(plan).splitlines())
