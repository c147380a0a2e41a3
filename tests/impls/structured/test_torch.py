"""The PyTorch engine against per-example Jacobians, on every way that a parameter may enter a network."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache, reduce
from itertools import pairwise
from math import inf
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import InputError, Request, case, compare, expected
from reference.case import DType, Outputs
from reference.tolerances import tolerance

torch = pytest.importorskip("torch", reason="the structured PyTorch engine needs PyTorch")

from torch import Tensor, nn  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

import impls  # noqa: E402
from impls.frameworks.arrays import to_numpy  # noqa: E402
from impls.frameworks.torch import internals  # noqa: E402
from impls.frameworks.torch.blocks import summed  # noqa: E402
from impls.frameworks.torch.checks import check_batched  # noqa: E402
from impls.frameworks.torch.support import Forward, Params, module_function, precision  # noqa: E402
from impls.methods.structured_torch import METHODS  # noqa: E402
from impls.programs.traces import traced_once  # noqa: E402
from impls.structured.torch.engine import Engine  # noqa: E402
from impls.structured.torch.sizes import SIZES, Sizes  # noqa: E402
from tests import ROOT  # noqa: E402
from tests.impls.structured.hardware import set_hardware  # noqa: E402
from tests.impls.structured.layers import LAYERS  # noqa: E402
from tests.impls.structured.modules import MODULES, Small  # noqa: E402

NETWORKS = MODULES | LAYERS
OUTPUTS: tuple[Outputs, ...] = ("full", "diagonal", "trace")
N1, N2 = 5, 3


class Expected(NamedTuple):
    """Full kernels in float64, and √(K[n,n,a,a] K[m,m,b,b]), against which errors are measured."""

    full: Tensor
    scale: Tensor


def jacobian(module: nn.Module, x: Tensor, part: str | None = None) -> Tensor:
    """(N, O, P), by one plain backward pass for each output of each example; `part`: of one parameter."""
    parameters = [p for name, p in module.named_parameters() if p.requires_grad and part in (None, name)]
    examples = []
    for example in x:
        outputs = module(example[None]).flatten().unbind()
        rows = [torch.autograd.grad(y, parameters, retain_graph=True, materialize_grads=True) for y in outputs]
        examples.append(torch.stack([torch.cat([gradient.flatten() for gradient in row]) for row in rows]))
    return torch.stack(examples)


def kernels(module: nn.Module, x1: Tensor, x2: Tensor, part: str | None = None) -> dict[bool, Expected]:
    """By symmetry; `part`: of one parameter."""
    with precision(torch.float64):
        first, second = (jacobian(module, x, part) for x in (x1, x2))
    norms1, norms2 = (j.norm(dim=2) for j in (first, second))
    return {
        symmetric: Expected(
            torch.einsum("nap,mbp->nmab", first, right), norms1[:, None, :, None] * norms[None, :, None]
        )
        for symmetric, right, norms in ((True, first, norms1), (False, second, norms2))
    }


@cache
def expected_of(name: str, part: str | None = None) -> dict[bool, Expected]:
    return kernels(*NETWORKS[name].draw(N1, N2, torch.float64), part)


def assert_kernel(kernel: Tensor, right: Expected, outputs: Outputs, dtype: DType) -> None:
    full, scale = right
    if outputs != "full":
        full, scale = (t.diagonal(dim1=2, dim2=3) for t in (full, scale))
    if outputs == "trace":
        full, scale = full.sum(-1), scale.sum(-1)
    assert kernel.shape == full.shape
    assert kernel.dtype == getattr(torch, dtype)
    error = (kernel.double() - full).abs() / torch.where(scale > 0, scale, 1.0)
    assert error.max() <= tolerance(dtype)


def drawn(small: Small, dtype: DType, symmetric: bool) -> tuple[Forward, Params, Tensor, Tensor | None]:
    """The functional form; float32 numbers are those of float64, rounded."""
    module, x1, x2 = small.draw(N1, N2, torch.float64)
    if dtype == "float32":
        module, x1, x2 = module.float(), *(x.float() if x.is_floating_point() else x for x in (x1, x2))
    return *module_function(module), x1, None if symmetric else x2


@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "x2"])
@pytest.mark.parametrize("name", NETWORKS)
@traced_once()
def test_every_rule_in_float64(name: str, symmetric: bool) -> None:
    f, params, x1, x2 = drawn(NETWORKS[name], "float64", symmetric)
    for outputs in OUTPUTS:
        kernel = Engine(f, params, x1, x2, outputs=outputs)(params, x1, x2)
        assert_kernel(kernel, expected_of(name)[symmetric], outputs, "float64")


@pytest.mark.parametrize("name", NETWORKS)
@traced_once()
def test_x1_and_x2_apart(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they pass through the network where they are many; so few go as one batch."""
    f, params, x1, x2 = drawn(NETWORKS[name], "float64", False)
    for together in (True, False):
        set_hardware(monkeypatch, few_rows=10**9 * together)
        engine = Engine(f, params, x1, x2, outputs="full")
        products = [p for step in engine.plan.steps for p in step.parameter.products if not p.top]
        assert engine.plan.together is (together and bool(products))
        assert_kernel(engine(params, x1, x2), expected_of(name)[False], "full", "float64")


@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "x2"])
@pytest.mark.parametrize("name", ["mlp", "convnet", "transformer", "causal_attention", "scaled_views"])
@traced_once()
def test_as_planned_for_a_gpu(name: str, symmetric: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a CPU would have several blocks of everything."""
    set_hardware(monkeypatch, block_rows=1, symmetry_flops=0, few_rows=0)
    monkeypatch.setitem(SIZES, "cpu", Sizes(1, 1, 0, 1, 0, inf, inf))
    f, params, x1, x2 = drawn(NETWORKS[name], "float64", symmetric)
    for outputs in OUTPUTS:
        engine, other = (Engine(f, params, x1, x2, outputs=outputs, planned_for=d) for d in ("cuda", "cpu"))
        assert engine.plan.block1 == N1
        assert engine.plan.together is not symmetric
        assert not symmetric or other.plan.block1 == 1
        for each in (engine, other):
            assert_kernel(each(params, x1, x2), expected_of(name)[symmetric], outputs, "float64")


@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "x2"])
@pytest.mark.parametrize("name", ["mlp", "convnet", "transformer"])
@traced_once()
def test_a_large_kernel_is_filled_from_panels(name: str, symmetric: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "cpu", replace(SIZES["cpu"], whole_kernel_bytes=1, panels_kernel_bytes=1))
    f, params, x1, x2 = drawn(NETWORKS[name], "float64", symmetric)
    for outputs in OUTPUTS:
        engine = Engine(f, params, x1, x2, outputs=outputs)
        assert engine.panel == 1
        assert_kernel(engine(params, x1, x2), expected_of(name)[symmetric], outputs, "float64")


def test_views_that_are_read_with_another_sign() -> None:
    f, params, x1, x2 = drawn(NETWORKS["mlp"], "float64", False)
    assert x2 is not None

    def turned(tensor: Tensor) -> Tensor:
        return torch.complex(tensor, -tensor).conj().imag

    assert turned(x1).is_neg()
    some = {name: turned(p) for name, p in params.items()}
    kernel = Engine(f, some, turned(x1), turned(x2), outputs="full")(some, turned(x1), turned(x2))
    assert_kernel(kernel, expected_of("mlp")[False], "full", "float64")


def test_in_inference_mode() -> None:
    """PyTorch would take every derivative for 0."""
    f, params, x, _ = drawn(NETWORKS["mlp"], "float64", True)
    engine, right = Engine(f, params, x, None, outputs="full"), expected_of("mlp")[True]
    with torch.inference_mode():
        kernels = [engine(params, x, None), Engine(f, params, x, None, outputs="full")(params, x, None)]
    with torch.no_grad():
        kernels.append(engine(params, x, None))
    for kernel in kernels:
        assert_kernel(kernel, right, "full", "float64")


@pytest.mark.parametrize("name", NETWORKS)
def test_expected_rules(name: str) -> None:
    f, params, x1, _ = drawn(NETWORKS[name], "float64", True)
    engine = Engine(f, params, x1, None, outputs="full")
    engine.try_out(params, x1)
    found = {step.parameter.name: step.parameter.rule.partition(":")[0] for step in engine.plan.steps}
    rules = NETWORKS[name].rules
    assert set(found) == set(params)
    assert {name: found[name] for name in rules} == rules
    if name in LAYERS and engine.factors is not None:  # else all fall back
        assert {part for part, rule in found.items() if rule == "fallback"} == {
            part for part, rule in rules.items() if rule == "fallback"
        }


@pytest.mark.parametrize("name", ["mlp", "convnet", "self_attention", "transformer", "lstm", "own_derivative"])
@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "x2"])
@pytest.mark.parametrize(
    ("batch_size", "memory_limit"), [(2, None), (4, None), (None, 1), (None, 100_000), (3, 30_000)]
)
@traced_once()
def test_blocks(name: str, symmetric: bool, batch_size: int | None, memory_limit: int | None) -> None:
    f, params, x1, x2 = drawn(MODULES[name], "float64", symmetric)
    for outputs in OUTPUTS:
        engine = Engine(f, params, x1, x2, outputs=outputs, batch_size=batch_size, memory_limit=memory_limit)
        assert_kernel(engine(params, x1, x2), expected_of(name)[symmetric], outputs, "float64")


@pytest.mark.parametrize("name", ["mlp", "convnet", "transformer", "lstm"])
def test_float32(name: str) -> None:
    f, params, x1, _ = drawn(MODULES[name], "float32", True)
    with precision(torch.float64):  # of the rounded numbers
        module, x1_64, x2_64 = MODULES[name].draw(N1, N2, torch.float64)
        first, second = (x.float().double() if x.is_floating_point() else x for x in (x1_64, x2_64))
        right = kernels(module.float().double(), first, second)[True]
    assert_kernel(Engine(f, params, x1, None, outputs="full")(params, x1, None), right, "full", "float32")


@pytest.mark.parametrize("n_outputs", [1, 3])
@traced_once()
def test_rows_in_several_blocks(n_outputs: int) -> None:
    """Enough examples for several blocks of rows, whole outputs or parts of one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, n_outputs)).double()
        x = torch.randn(150, 3, dtype=torch.float64)
    f, params = module_function(module)
    for n in (30, 150):
        right = kernels(module, x[:n], x[: n // 2])
        for outputs in OUTPUTS:
            for x2 in (None, x[: n // 2]):
                kernel = Engine(f, params, x[:n], x2, outputs=outputs)(params, x[:n], x2)
                assert_kernel(kernel, right[x2 is None], outputs, "float64")


def test_parameters_may_change() -> None:
    f, params, x1, _ = drawn(MODULES["mlp"], "float64", True)
    engine = Engine(f, params, x1, None, outputs="trace")
    first = engine(params, x1, None)
    other = {name: 2 * p for name, p in params.items()}
    assert torch.equal(engine(other, x1, None), Engine(f, other, x1, None, outputs="trace")(other, x1, None))
    assert torch.equal(engine(params, x1, None), first)


@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "x2"])
@pytest.mark.parametrize("name", ["mlp", "tied", "transformer", "frozen_and_unused", "scaled_views", "own_derivative"])
@traced_once()
def test_components(name: str, symmetric: bool) -> None:
    """Each is the kernel that one parameter has alone."""
    f, params, x1, x2 = drawn(MODULES[name], "float64", symmetric)
    for outputs in OUTPUTS:
        parts = METHODS[0].components(f, params, x1, x2, Request(outputs=outputs, dtype="float64"))
        assert list(parts) == list(params)
        assert_kernel(summed(part.clone() for part in parts.values()), expected_of(name)[symmetric], outputs, "float64")
    together = METHODS[0].components(f, params, x1, x2, Request(dtype="float64"))
    for part in params:
        assert_kernel(together[part], expected_of(name, part)[symmetric], "full", "float64")


@pytest.mark.parametrize("name", ["mlp", "transformer"])
@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "x2"])
@pytest.mark.parametrize("memory_limit", [None, 1, 20_000])
@traced_once()
def test_batches(name: str, symmetric: bool, memory_limit: int | None) -> None:
    f, params, x1, x2 = drawn(MODULES[name], "float64", symmetric)
    pairs = DataLoader(TensorDataset(x1, torch.zeros(N1)), batch_size=2)
    tensors = None if x2 is None else x2.split(2)
    for outputs in OUTPUTS:
        request = Request(outputs=outputs, dtype="float64", options={"memory_limit": memory_limit})
        kernel = METHODS[0].kernel_of_batches(f, params, pairs, tensors, request)
        assert_kernel(kernel, expected_of(name)[symmetric], outputs, "float64")


def test_batches_that_change() -> None:
    f, params, x1, _ = drawn(MODULES["mlp"], "float64", True)
    shuffled = DataLoader(TensorDataset(x1), batch_size=2, shuffle=True, generator=torch.Generator().manual_seed(0))
    for batches, complaint in (
        (shuffled, "shuffle"),
        (iter([x1]), "once"),
        ([], "no example"),
        ([x1.numpy()], "must be a tensor"),
    ):
        with pytest.raises(InputError, match=complaint):
            METHODS[0].kernel_of_batches(f, params, batches, None, Request(dtype="float64"))


@pytest.mark.parametrize("name", ["mlp", "convnet", "transformer", "lstm", "adaptive_softmax", "bag_mean"])
def test_examples_apart(name: str) -> None:
    f, params, x1, _ = drawn(NETWORKS[name], "float32", True)
    check_batched(f, params, x1)


@pytest.mark.parametrize(
    "influenced", [lambda x: x - x.mean(0), lambda x: x.sort(0, descending=True).values, lambda x: x.flip(0)]
)
def test_examples_that_influence_each_other(influenced: Callable[[Tensor], Tensor]) -> None:
    f, params, x1, _ = drawn(MODULES["mlp"], "float64", True)
    with pytest.raises(InputError, match="influence each other"):
        check_batched(lambda p, x: f(p, influenced(x)), params, x1)


def test_internals_of_pytorch() -> None:
    """Each means what the engine takes it to mean."""
    aten = torch.ops.aten
    assert internals.changes_arguments(aten.add_.Tensor)
    assert not internals.changes_arguments(aten.add.Tensor)
    assert internals.overload_name(aten.add.Tensor) == "Tensor"
    assert isinstance(aten.add.Tensor, internals.OpOverload)
    x = torch.zeros(3, requires_grad=True)
    assert not internals.has_hooks(x)
    x.register_hook(lambda gradient: gradient)
    assert internals.has_hooks(x)
    assert internals.surrounding_transform() is None
    assert torch.func.vmap(lambda x: x.exp() * (internals.surrounding_transform() == "torch.func.vmap"))(x).all()
    with torch.autograd.graph.saved_tensors_hooks(lambda x: x + 1, lambda x: x):
        with internals.without_saved_hooks():
            assert torch.autograd.grad(x.exp().sum(), x)[0].allclose(x.exp())
        assert torch.autograd.grad(x.exp().sum(), x)[0].allclose(x.exp() + 1)
    with internals.FakeTensorMode() as fake:
        first, second = (fake.from_tensor(torch.zeros(4)) for _ in range(2))
        assert internals.memory(first) == internals.memory(first[1:])
        assert internals.memory(first) != internals.memory(second)
        with pytest.raises(internals.DataDependentOutputException):
            first.sum().item()


def test_no_other_module_reads_internals() -> None:
    private = re.compile(r"torch\.(\w+\.)*_\w+|\._(cdata|schema|overloadname|backward_hooks)\b")
    sources = (ROOT / "impls").rglob("torch/*.py")
    assert [path.name for path in sources if private.search(path.read_text())] == ["internals.py"]


def test_nothing_is_left_changed() -> None:
    module, x1, _ = MODULES["convnet"].draw(2, 2, torch.float32)
    state = {name: t.clone() for name, t in module.state_dict().items()}
    flags = (
        torch.backends.mkldnn.enabled,
        torch.backends.cudnn.enabled,
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
    )
    generator = torch.get_rng_state()
    f, params = module_function(module)
    kernel = METHODS[0].kernel(f, params, x1, None, Request())
    assert not kernel.requires_grad
    assert all(torch.equal(state[name], t) for name, t in module.state_dict().items())
    assert (
        torch.backends.mkldnn.enabled,
        torch.backends.cudnn.enabled,
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
    ) == flags
    assert torch.equal(generator, torch.get_rng_state())
    assert all(p.grad is None for p in module.parameters())


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    f, params, x1, _ = drawn(MODULES["weight_norm"], "float32", True)
    METHODS[0].kernel(f, params, x1, None, Request(options={"explain": True}))
    printed = capsys.readouterr().out
    assert all(name in printed for name in params)
    assert "fallback: " in printed


@pytest.mark.parametrize("name", ["mlp_relu_deep", "conv_ntk", "conv_stride"])
@pytest.mark.parametrize("outputs", OUTPUTS)
def test_proved_kernel(name: str, outputs: Outputs) -> None:
    for shared in (case(name), case(name).with_symmetry()):
        request = Request(outputs=outputs, dtype="float64")
        kernel = to_numpy(impls.load("structured_torch").prepare(shared, request)())
        comparison = compare(kernel, expected(shared), outputs=outputs, dtype="float64", symmetric=shared.symmetric)
        assert comparison.ok, comparison.reason


ACTIVATIONS = (torch.tanh, torch.relu, torch.sigmoid)
LAYERS = ("dense", "scale", "bias", "norm", "residual", "again", "transposed", "part", "mixed")


class Random(nn.Module):
    """Layers drawn by hypothesis over examples of T vectors of D numbers; a parameter may be used several times, in
    several roles."""

    def __init__(self, layers: list[tuple[str, int]], n_outputs: int) -> None:
        super().__init__()
        self.layers = layers
        self.weights = nn.ParameterList([nn.Parameter(torch.randn(4, 4) / 2) for _ in range(2)])
        self.vectors = nn.ParameterList([nn.Parameter(torch.randn(4)) for _ in range(2)])
        self.head = nn.Linear(4, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(reduce(self._layer, self.layers, x)).mean(1)

    def _layer(self, x: Tensor, layer: tuple[str, int]) -> Tensor:
        kind, which = layer
        weight, vector = self.weights[which % 2], self.vectors[which % 2]
        step = {
            "dense": lambda: nn.functional.linear(x, weight, vector),
            "scale": lambda: x * vector,
            "bias": lambda: x - 0.5 * vector,
            "norm": lambda: nn.functional.layer_norm(x, (4,), vector, self.vectors[0]),
            "residual": lambda: x + x @ weight,
            "again": lambda: (x @ weight).tanh() @ weight,
            "transposed": lambda: (x @ weight).tanh() @ weight.T,
            "part": lambda: torch.cat([x[..., :2] @ weight[1:3, :2], x @ weight[:, 2:]], -1),
            "mixed": lambda: x.mT.tanh().mT @ (weight * vector),
        }[kind]
        return ACTIVATIONS[which % 3](step())


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    layers=st.lists(st.tuples(st.sampled_from(LAYERS), st.integers(0, 5)), min_size=1, max_size=5),
    n_outputs=st.integers(1, 3),
    positions=st.integers(1, 3),
    outputs=st.sampled_from(OUTPUTS),
    symmetric=st.booleans(),
    batch_size=st.sampled_from([None, 2]),
)
def test_random_networks(
    layers: list[tuple[str, int]],
    n_outputs: int,
    positions: int,
    outputs: Outputs,
    symmetric: bool,
    batch_size: int | None,
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = Random(layers, n_outputs).double()
        x1, x2 = (torch.randn(n, positions, 4, dtype=torch.float64) for n in (3, 2))
    f, params = module_function(module)
    other = None if symmetric else x2
    kernel = Engine(f, params, x1, other, outputs=outputs, batch_size=batch_size)(params, x1, other)
    assert_kernel(kernel, kernels(module, x1, x2)[symmetric], outputs, "float64")


@pytest.mark.parametrize("widths", [(6, 5, 4, 1), (3, 12, 12, 4)])
def test_top_layer_is_not_multiplied(widths: tuple[int, ...]) -> None:
    layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())][:-1]
    f, params = module_function(nn.Sequential(*layers))
    *_, weight, bias = Engine(f, params, torch.zeros(3, widths[0]), None, outputs="full").plan.steps
    assert weight.ways == ("top",)
    assert bias.ways == ()
