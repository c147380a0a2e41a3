"""`ntk`: one's own network in either framework, in and out, with clear errors and nothing changed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, get_args

import numpy as np
import pytest

pytest.importorskip("jax", reason="the JAX half is not installed")
pytest.importorskip("equinox", reason="the JAX half is not installed")
pytest.importorskip("torch", reason="the PyTorch half is not installed")

import equinox as eqx
import jax
import jax.numpy as jnp
import torch

from impls import MethodNotInstalled, RegistryError, ntk, registry
from impls.choice import costs
from impls.frameworks.jax import equinox
from impls.own import ntk as public
from reference import Expected, InputError
from reference.case import DType, Outputs
from tests.gate.state import global_state
from tests.naive_kernels import assert_right, jax_expected, torch_expected

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")

X1 = np.random.default_rng(1).standard_normal((5, 4)).astype("float32").astype("float64")
X2 = np.random.default_rng(2).standard_normal((3, 4)).astype("float32").astype("float64")
WEIGHTS = {name: np.random.default_rng(3).standard_normal(shape).astype("float32")
           for name, shape in {"first": (6, 4), "second": (4, 6), "bias": (4,)}.items()}


def f(params: Any, x: Any) -> Any:
    """Outputs on two axes; the same operators in both frameworks."""
    hidden = x @ params["first"].T
    return (hidden * hidden @ params["second"].T + params["bias"]).reshape(-1, 2, 2)


def jax_params(dtype: str = "float32") -> dict[str, Any]:
    with jax.enable_x64(dtype == "float64"):
        return {name: jnp.asarray(array, dtype) for name, array in WEIGHTS.items()}


def torch_params(dtype: str = "float32") -> dict[str, Any]:
    return {name: torch.tensor(array, dtype=getattr(torch, dtype)) for name, array in WEIGHTS.items()}


def numpy_expected(x2: np.ndarray | None = X2) -> Expected:
    return jax_expected(f, WEIGHTS, X1, x2)


# --- the right kernel, in the framework's own array ---


@pytest.mark.parametrize("outputs", get_args(Outputs))
@pytest.mark.parametrize("dtype", get_args(DType))
@pytest.mark.parametrize("method", ["auto", "equinox.exact"])
def test_jax_function(method: str, dtype: DType, outputs: Outputs) -> None:
    kernel = ntk(f, X1, X2, params=jax_params(dtype), outputs=outputs, method=method)
    assert isinstance(kernel, jax.Array)
    assert_right(kernel, numpy_expected(), dtype, outputs)


@pytest.mark.parametrize("outputs", get_args(Outputs))
@pytest.mark.parametrize("dtype", get_args(DType))
@pytest.mark.parametrize("method", ["auto", "torch_func.ntk_vector_products", "torch_autograd.per_example"])
def test_torch_function(method: str, dtype: DType, outputs: Outputs) -> None:
    kernel = ntk(f, X1, X2, params=torch_params(dtype), outputs=outputs, method=method)
    assert isinstance(kernel, torch.Tensor)
    assert not kernel.requires_grad
    assert_right(kernel, numpy_expected(), dtype, outputs)


@pytest.mark.parametrize("batch_size", [None, 2])
def test_symmetric_and_in_blocks(batch_size: int | None) -> None:
    for params in (jax_params(), torch_params()):
        kernel = ntk(f, X1, params=params, batch_size=batch_size)
        assert_right(kernel, numpy_expected(None), "float32", symmetric=True)


@pytest.mark.parametrize("x64", [False, True])
def test_arrays_of_the_framework_whatever_the_ambient_precision(x64: bool) -> None:
    for dtype in get_args(DType):
        with jax.enable_x64(x64):
            kernel = ntk(f, jnp.asarray(X1), jnp.asarray(X2), params=jax_params(dtype))
        assert_right(kernel, numpy_expected(), dtype)
        assert_right(ntk(f, torch.tensor(X1), torch.tensor(X2), params=torch_params(dtype)), numpy_expected(), dtype)


def test_stochastic_method_with_its_options() -> None:
    first, again, other, more = (
        np.asarray(ntk(f, X1, params=jax_params(), method="equinox.monte_carlo", seed=seed, proj_dim=proj_dim))
        for seed, proj_dim in ((1, 64), (1, 64), (2, 64), (1, 65)))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first != more).any()


# --- kernels of the parameters, batches, limits ---


@pytest.mark.parametrize("method", ["auto", "equinox.exact"])
def test_components(method: str) -> None:
    found = ntk(f, X1, X2, params=jax_params("float64"), method=method, components=True)
    assert set(found) == set(WEIGHTS)
    with jax.enable_x64(True):
        assert_right(sum(found.values()), numpy_expected(), "float64")
    found = ntk(f, X1, X2, params=torch_params("float64"), components=True)
    assert set(found) == set(WEIGHTS)
    assert_right(sum(found.values()), numpy_expected(), "float64")


class Reread:
    """Batches, as a data loader yields them: pairs of examples and labels."""

    def __init__(self, x: Any, size: int, shuffled: bool = False) -> None:
        self.x, self.size, self.shuffled, self.start = x, size, shuffled, 0

    def __iter__(self) -> Iterator[Any]:
        order = np.roll(np.arange(len(self.x)), self.start)
        self.start += self.shuffled
        for i in range(0, len(order), self.size):
            yield self.x[order[i:i + self.size]], "labels"


@pytest.mark.parametrize("method", ["auto", "structured", "other"])
def test_batches(method: str) -> None:
    names = {"structured": ("structured_jax", "structured_torch"),
             "other": ("equinox.exact", "torch_func.jacobian_contraction")}.get(method, ("auto", "auto"))
    for params, name, array in ((jax_params(), names[0], X1), (torch_params(), names[1], torch.tensor(X1))):
        for x2 in (X2, [X2[:1], X2[1:]]):
            assert_right(ntk(f, Reread(array, 2), x2, params=params, method=name), numpy_expected(), "float32")
        kernel = ntk(f, [array[:4], array[4:]], params=params, method=name)
        assert_right(kernel, numpy_expected(None), "float32", symmetric=True)


def test_a_data_loader() -> None:
    dataset = torch.utils.data.TensorDataset(torch.tensor(X1), torch.arange(len(X1)))
    loader = torch.utils.data.DataLoader(dataset, batch_size=3)
    assert_right(ntk(f, loader, X2, params=torch_params()), numpy_expected(), "float32")


def test_memory_limit_blocks_methods_that_hold_jacobians(capsys: pytest.CaptureFixture[str]) -> None:
    for params, method in ((torch_params(), "torch_func.jacobian_contraction"), (jax_params(), "equinox.exact")):
        kernel = ntk(f, X1, X2, params=params, method=method, memory_limit=4 * 832, verbose=True)
        assert_right(kernel, numpy_expected(), "float32")
        assert "batch_size=2 (Jacobians take 832 bytes" in capsys.readouterr().out


def test_where_no_method_has_a_rule_for_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def checked(name: str, *_: Any, **__: Any) -> Any:
        raise NotImplementedError(f"{name} knows no such operation")

    monkeypatch.setattr(public, "_checked", checked)
    with pytest.raises(InputError, match=r"no method fits: .*structured_torch knows no such operation"):
        ntk(MODULE, X1)


def test_memory_limit_and_explain_reach_the_structured_engines(capsys: pytest.CaptureFixture[str]) -> None:
    for method, params in (("structured_torch", torch_params()), ("structured_jax", jax_params())):
        kernel = ntk(f, X1, X2, params=params, method=method, memory_limit=20_000, explain=True)
        assert_right(kernel, numpy_expected(), "float32")
        out = capsys.readouterr().out
        assert out.startswith("parameter")
        assert "first" in out


# --- what counts as a parameter ---


class TiedAndFrozen(torch.nn.Module):
    """A tied weight, a frozen layer, dropout, and running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(4, 4)
        self.frozen = torch.nn.Linear(4, 4).requires_grad_(False)
        self.norm = torch.nn.BatchNorm1d(4)
        self.dropout = torch.nn.Dropout(0.5)
        self.second = torch.nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.dropout(torch.tanh(self.norm(self.frozen(torch.sin(self.first(x)))))))


def torch_module() -> TiedAndFrozen:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TiedAndFrozen()


def tied_and_frozen(params: dict[str, Any], x: Any, module: TiedAndFrozen) -> Any:
    """The same by hand, from what is trained: a weight (tied), a bias, and the normalisation's scale and shift."""
    hidden = torch.sin(x @ params["weight"].T + params["bias"]) @ module.frozen.weight.double().T + module.frozen.bias
    return torch.tanh(hidden / np.sqrt(1 + module.norm.eps) * params["scale"] + params["shift"]) @ params["weight"].T


def test_torch_module_with_tied_and_frozen_parameters() -> None:
    module = torch_module()
    params = {"weight": module.first.weight, "bias": module.first.bias, "scale": module.norm.weight,
              "shift": module.norm.bias}
    truth = torch_expected(lambda p, x: tied_and_frozen(p, x, module), params, X1, X2)
    assert_right(ntk(module, X1, X2), truth, "float32")


def test_torch_module_is_left_as_it_is() -> None:
    module = torch_module().train()
    module.dropout.eval()
    before = {name: (tensor.clone(), tensor.data_ptr()) for name, tensor in module.state_dict().items()}
    flags = [part.training for part in module.modules()], [p.requires_grad for p in module.parameters()]
    ntk(module, X1)
    assert flags == ([part.training for part in module.modules()], [p.requires_grad for p in module.parameters()])
    assert all(p.grad is None for p in module.parameters())
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name][0])
        assert tensor.data_ptr() == before[name][1]


class TiedLayers(eqx.Module):
    """Two layers with one weight, an integer array beside them, and dropout."""

    shared: eqx.nn.Shared
    scale: Any
    dropout: eqx.nn.Dropout

    def __init__(self) -> None:
        first, second = (eqx.nn.Linear(4, 4, key=jax.random.key(i)) for i in (1, 2))
        self.shared = eqx.nn.Shared((first, second), lambda pair: pair[1].weight, lambda pair: pair[0].weight)
        self.scale = jnp.array([1, 2, 3, 4])
        self.dropout = eqx.nn.Dropout(0.5)

    def __call__(self, x: Any) -> Any:
        first, second = self.shared()
        return self.scale * second(self.dropout(jnp.tanh(first(x))))


def tied_layers(params: tuple[Any, ...], x: Any) -> Any:
    weight, bias1, bias2 = params
    return jnp.arange(1, 5) * (jnp.tanh(x @ weight.T + bias1) @ weight.T + bias2)


def tied_params(model: TiedLayers) -> tuple[Any, ...]:
    first, second = model.shared()
    return first.weight, first.bias, second.bias


@pytest.mark.parametrize("method", ["auto", "equinox.exact"])
def test_equinox_module_with_tied_parameters(method: str) -> None:
    model = TiedLayers()
    truth = jax_expected(tied_layers, tied_params(model), X1, X2)
    assert_right(ntk(model, X1, X2, method=method), truth, "float32")


def test_equinox_module_with_frozen_parameters() -> None:
    model = TiedLayers()
    trained = eqx.tree_at(lambda m: m.shared.pytree[0].weight, jax.tree.map(eqx.is_inexact_array, model), False)
    params, _ = eqx.partition(model, trained)
    weight, *biases = tied_params(model)
    truth = jax_expected(lambda p, x: tied_layers((weight, *p), x), biases, X1, None)
    for method in ("auto", "equinox.exact"):
        assert_right(ntk(model, X1, params=params, method=method), truth, "float32", symmetric=True)


def test_integers_among_the_parameters_of_a_function() -> None:
    for params in ({**jax_params(), "n": jnp.arange(3)}, {**torch_params(), "n": torch.arange(3)}):
        kernel = ntk(lambda p, x: f(p, x) * int(p["n"].shape[0]) / 3, X1, X2, params=params)
        assert_right(kernel, numpy_expected(), "float32")


# --- nothing is changed for others ---


@pytest.mark.parametrize("model", ["jax", "equinox", "torch"])
def test_no_global_state_is_changed(model: str) -> None:
    compute: dict[str, Callable[[], Any]] = {
        "jax": lambda: ntk(f, X1, params=jax_params("float64")),
        "equinox": lambda: ntk(TiedLayers(), X1),
        "torch": lambda: ntk(torch_module(), X1),
    }
    compute[model]()  # what is imported the first time brings its own state
    inputs, before = X1.copy(), global_state()
    compute[model]()
    assert global_state() == before
    np.testing.assert_array_equal(X1, inputs)


# --- the choice of the method ---


def test_auto_says_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    for params, chosen, other in ((torch_params(), "structured_torch", "torch_func.jacobian_contraction"),
                                  (jax_params(), "structured_jax", "equinox.exact")):
        monkey = pytest.MonkeyPatch()
        with monkey.context() as patch:  # whatever this machine's speed is
            patch.setattr(costs, "seconds", lambda name, *_: 1.0 if name == chosen else 2.0)  # noqa: B023
            ntk(f, X1, params=params, verbose=True, expect_calls=100)
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split() == ["method", "predicted", "memory"]
        assert lines[1].startswith(chosen)
        assert lines[1].endswith("chosen: the fastest that fits")
        assert any(line.startswith(other) and "2e+03 ms" in line for line in lines)
        ntk(f, X1, params=params)
        assert capsys.readouterr().out == ""


def test_a_named_method_says_its_blocks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(public, "JACOBIAN_BYTES", 4 * 832)
    name = "torch_func.jacobian_contraction"
    assert_right(ntk(f, X1, X2, params=torch_params(), method=name, verbose=True), numpy_expected(), "float32")
    assert "batch_size=2 (Jacobians take 832 bytes" in capsys.readouterr().out


def test_auto_without_the_fastest(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def load(name: str) -> Any:
        if name.startswith("neural_tangents."):
            raise MethodNotInstalled("neural_tangents is not installed: pip install it")
        return original(name)

    original = registry.load
    monkeypatch.setattr(registry, "load", load)
    monkeypatch.setattr(costs, "seconds", lambda name, *_: 1.0 if name.startswith("neural_tangents.") else 2.0)
    assert_right(ntk(f, X1, X2, params=jax_params(), expect_calls=2, verbose=True), numpy_expected(), "float32")
    assert "not neural_tangents.structured_derivatives: neural_tangents is not installed" in capsys.readouterr().out


class Recurrent(eqx.Module):
    """neural-tangents has no rule for the operation that splits its gates."""

    cell: eqx.nn.GRUCell

    def __call__(self, x: Any) -> Any:
        return self.cell(x, jnp.zeros(3))


def test_auto_where_a_method_lacks_a_rule(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lacking = "neural_tangents.structured_derivatives"
    monkeypatch.setattr(costs, "seconds", lambda name, *_: {lacking: 1.0, "equinox.exact": 2.0}.get(name, 3.0))
    model = Recurrent(eqx.nn.GRUCell(4, 3, key=jax.random.key(0)))
    batched, params = equinox.batched(model)
    assert_right(ntk(model, X1, X2, expect_calls=2, verbose=True), jax_expected(batched, params, X1, X2), "float32")
    assert f"ntk: not {lacking}: " in capsys.readouterr().out


# --- bad input ---

MODEL, MODULE = TiedLayers(), torch_module()
BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "no model": (lambda: ntk(3, X1), r"model must be a torch\.nn\.Module, an Equinox module or a function .*, got 3"),
    "a class": (lambda: ntk(TiedLayers, X1), r"model must be .*, got <class"),
    "function without params": (lambda: ntk(f, X1), "a function needs its parameters"),
    "params of lists": (lambda: ntk(f, X1, params="abc"), "params must be a dict from names to torch tensors, or a"),
    "empty params": (lambda: ntk(f, X1, params={}), "params must be a dict"),
    "params for a module": (lambda: ntk(MODULE, X1, params=dict(MODULE.named_parameters())), "leave params out"),
    "mask as params": (lambda: ntk(MODEL, X1, params=jax.tree.map(lambda _: True, MODEL)), "params holds no floating"),
    "params of another model": (lambda: ntk(MODEL, X1, params=[jnp.ones(2)]), "not have the structure of the model"),
    "no parameter at all": (lambda: ntk(eqx.nn.Lambda(jnp.sin), X1), "no trainable floating-point parameter"),
    "all frozen": (lambda: ntk(torch_module().requires_grad_(False), X1), "no trainable parameter"),
    "NaN in params": (lambda: ntk(f, X1, params={**jax_params(), "bias": jnp.full(4, jnp.nan)}),
                      r"params \(bias\) holds NaN"),
    "NaN in a parameter": (lambda: ntk(f, X1, params={**torch_params(), "bias": torch.full((4,), torch.nan)}),
                           "bias holds NaN"),
    "truth values, torch": (lambda: ntk(MODULE, torch.ones(3, 4) > 0), r"fails on x1 of .* bool"),
    "integer tensor": (lambda: ntk(MODULE, torch.ones(3, 4).long()),
                       r"fails on x1 of .*torch.int64 .*it takes floating-point numbers: convert x1"),
    "shape": (lambda: ntk(MODULE, X1[:, :3]), r"fails on x1 of shape \(5, 3\), torch.float32 \(RuntimeError: [^;]*$"),
    "shape, JAX": (lambda: ntk(f, X1[:, :3], params=jax_params()), r"the model fails on x1 of shape \(5, 3\), float32"),
    "one example": (lambda: ntk(MODULE, X1[0]), "first axis is that of the examples"),
    "empty": (lambda: ntk(MODULE, X1[:0]), r"x1 is empty \(shape \(0, 4\)\)"),
    "empty x2": (lambda: ntk(MODEL, X1, X2[:0]), r"x2 is empty \(shape \(0, 4\)\)"),
    "NaN": (lambda: ntk(MODEL, X1, X2 * np.nan), "x2 holds NaN or infinite values"),
    "infinity": (lambda: ntk(MODULE, X1 * np.inf), "x1 holds NaN or infinite values"),
    "shapes": (lambda: ntk(MODULE, X1, X2[:, :2]), r"examples of one shape, got \(5, 4\) and \(3, 2\)"),
    "a list": (lambda: ntk(MODEL, [[1.0]]), "x1 must be a JAX or NumPy array for this model, got float"),
    "a tensor for JAX": (lambda: ntk(MODEL, torch.ones(3, 4)), "x1 must be a JAX or NumPy array .* got Tensor"),
    "a JAX array for torch": (lambda: ntk(MODULE, jnp.ones((3, 4))), "x1 must be a tensor or a NumPy array"),
    "no general method": (lambda: ntk(MODULE, X1, method="explicit_mlp"),
                          "does not offer explicit_mlp, .* choose one of torch_func.*structured_torch"),
    "limit": (lambda: ntk(MODEL, X1, method="neural_tangents.infinite"), "ntk does not offer neural_tangents.infinite"),
    "batch_size": (lambda: ntk(MODEL, X1, batch_size=0), "batch_size must be a positive number"),
    "option": (lambda: ntk(MODEL, X1, method="equinox.exact", proj_dim=3), "equinox.exact has no option 'proj_dim'"),
    "option of auto": (lambda: ntk(MODEL, X1, proj_dim=3), "method='auto' takes no options of a method, got proj_dim"),
    "misspelt keyword": (lambda: ntk(MODEL, X1, output="trace"), "got output; did you mean outputs"),
    "generator": (lambda: ntk(MODULE, (x for x in [X1])), "x1 is a generator, which can be read only once.*give one"),
    "generator, JAX": (lambda: ntk(MODEL, X1, iter([X1])), "x2 is a list_iterator, which can be read only once"),
    "no batch": (lambda: ntk(MODEL, []), "x1 holds no batch"),
    "empty batch": (lambda: ntk(MODEL, [X1, X1[:0]]), "x1 has an empty batch"),
    "unlike batches": (lambda: ntk(MODULE, [X1, X1[:, :2]]), r"fails on x1 of shape \(5, 2\), torch.float32"),
    "NaN in a batch": (lambda: ntk(MODULE, [X1, X1 * np.nan]), "x1 holds NaN"),
    "shuffled": (lambda: ntk(f, Reread(X1, 2, shuffled=True), params=torch_params()), "change from one reading"),
    "shuffled, JAX": (lambda: ntk(f, Reread(X1, 2, shuffled=True), params=jax_params()), "change from one reading"),
    "memory_limit": (lambda: ntk(MODEL, X1, memory_limit=0), "memory_limit must be a positive number of bytes, got 0"),
    "limit of an engine": (lambda: ntk(MODEL, X1, method="structured_jax", memory_limit=9),
                           "memory_limit=9 is not enough: the plan that needs least holds .* bytes beyond the kernel"),
    "limit of Jacobians": (lambda: ntk(MODULE, X1, method="torch_func.jacobian_contraction", memory_limit=9),
                           "memory_limit=9 is not enough for torch_func.jacobian_contraction: the Jacobians of two"),
    "no name": (lambda: ntk(MODEL, X1, method=len), "method must be the name of a method, got <built-in function len>"),  # pyright: ignore[reportArgumentType]
    "batch_size of halves": (lambda: ntk(MODEL, X1, batch_size=2.5),  # pyright: ignore[reportArgumentType]
                             "batch_size must be a positive number of examples or None, got 2.5"),
    "limit of a method": (lambda: ntk(MODEL, X1, method="neural_tangents.jacobian_contraction", memory_limit=9),
                          "cannot plan for a memory_limit; give it a batch_size, or choose one of structured_jax"),
    "nothing fits": (lambda: ntk(MODULE, X1, memory_limit=8), "no method fits: .* needs .* beyond the kernel"),
    "no components": (lambda: ntk(MODEL, X1, method="equinox.monte_carlo", components=True),
                      "does not give the kernel of each parameter; choose one of .*structured_jax, equinox.exact"),
    "two outputs": (lambda: ntk(lambda p, x: (x, x), X1, params=jax_params()), "must return one array, got tuple"),
    "not batched": (lambda: ntk(lambda p, x: f(p, x).sum(), X1, params=jax_params()), "one row for each example"),
    "not batched, torch": (lambda: ntk(lambda p, x: f(p, x).sum(), X1, params=torch_params()), "not batched"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input(what: str) -> None:
    compute, message = BAD[what]
    with pytest.raises(InputError, match=message):
        compute()


def test_unknown_method() -> None:
    with pytest.raises(RegistryError, match=r"unknown method 'equinox\.exakt'; did you mean equinox\.exact"):
        ntk(MODEL, X1, method="equinox.exakt")


def test_any_keyword_is_known_when_it_is_misspelt() -> None:
    names = ["params", "outputs", "method", "batch_size", "memory_limit", "components", "explain", "verbose", "seed",
             "check", "expect_calls", "inputs", "select", "where", "params2", "model2", "pairs", *public.OF_FILES]
    parameters = inspect.signature(ntk).parameters.values()
    assert [each.name for each in parameters if each.kind is each.KEYWORD_ONLY] == names
    call: Callable[..., Any] = ntk
    for name in names:
        with pytest.raises(InputError, match=rf"got {name}_; did you mean {name}\?"):
            call(MODEL, X1, **{f"{name}_": 1})
