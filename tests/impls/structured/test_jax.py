"""The JAX engine against per-example Jacobians, on every way that a parameter may enter a network."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from impls.structured import planner
from reference.tolerances import tolerance

jax = pytest.importorskip("jax", reason="the structured JAX engine needs JAX")

import jax.numpy as jnp  # noqa: E402

from impls.frameworks.jax.support import precision  # noqa: E402
from impls.frameworks.jax.xla import options  # noqa: E402
from impls.methods.structured_jax import METHODS  # noqa: E402
from impls.structured.jax import engine as jax_engine  # noqa: E402
from impls.structured.jax import factors as jax_factors  # noqa: E402
from impls.structured.jax.blocks import is_one_program  # noqa: E402
from impls.structured.jax.engine import Engine  # noqa: E402
from tests.impls.structured.hardware import set_hardware  # noqa: E402
from tests.impls.structured.networks import NETWORKS, Small  # noqa: E402

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")

OUTPUTS = ("full", "diagonal", "trace")


def jacobians(small: Small, params: Any, x1: Any, x2: Any) -> tuple[np.ndarray, np.ndarray]:
    """(N1, O, P) and (N2, O, P) in plain JAX."""
    jacobian_of = jax.jacfwd if small.forward_only else jax.jacrev
    of_one = jacobian_of(lambda p, one: small.f(p, one[None])[0].reshape(-1))
    per_parameter = jax.jit(jax.vmap(of_one, (None, 0)))(params, jnp.concatenate([x1, x2]))
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(per_parameter)]
    both = np.concatenate([leaf.reshape(*leaf.shape[:2], int(np.prod(leaf.shape[2:]))) for leaf in leaves], 2)
    return both[:len(x1)], both[len(x1):]


def contracted(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The full kernel, and √(K[n,n,a,a] K[m,m,b,b]), what its errors are measured against."""
    norms = [np.sqrt(np.einsum("nap,nap->na", j, j)) for j in (left, right)]
    full = np.einsum("nap,mbp->nmab", left, right, optimize=True)  # or it is no matrix product
    return full, norms[0][:, None, :, None] * norms[1][None, :, None, :]


def assert_kernel(kernel: Any, full: np.ndarray, scale: np.ndarray, outputs: str, dtype: str) -> None:
    """`scale` (N1, N2, O, O): what errors are measured against."""
    if outputs != "full":
        full, scale = (np.diagonal(t, axis1=2, axis2=3) for t in (full, scale))
    if outputs == "trace":
        full, scale = full.sum(-1), scale.sum(-1)
    assert kernel.shape == full.shape
    assert kernel.dtype == dtype
    error = np.abs(np.asarray(kernel, np.float64) - full) / np.where(scale > 0, scale, 1.0)
    assert error.max() <= tolerance(dtype, "exact")  # pyright: ignore[reportArgumentType]


def all_kernels(name: str, dtype: str) -> tuple[Any, Any, Any, Any, dict[bool, tuple[np.ndarray, np.ndarray]]]:
    """The network with its batches, and by symmetry the right kernel and its scale, from float64."""
    small = NETWORKS[name]
    return small.f, *small.draw(5, 3, dtype), right_kernels(name, dtype)


@cache
def right_kernels(name: str, dtype: str) -> dict[bool, tuple[np.ndarray, np.ndarray]]:
    """By symmetry, of what is drawn in that dtype; compiled once for all tests of the network."""
    small = NETWORKS[name]
    with precision("float64"):
        exact = [jax.tree.map(lambda a: a.astype("float64") if a.dtype.kind == "f" else a, t)
                 for t in small.draw(5, 3, dtype)]
        j1, j2 = jacobians(small, *exact)
    return {True: contracted(j1, j1), False: contracted(j1, j2)}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_rule_in_float64(name: str) -> None:
    with precision("float64"):
        f, params, x1, x2, expected = all_kernels(name, "float64")
        for outputs in OUTPUTS:
            kernel = Engine(f, params, x1, x2, outputs=outputs)(params, x1, x2)
            assert_kernel(kernel, *expected[False], outputs, "float64")
        assert_kernel(Engine(f, params, x1, None, outputs="full")(params, x1, None), *expected[True], "full", "float64")


@pytest.mark.parametrize("name", ["mlp", "conv2d", "tied_embedding", "recurrent", "sliced_qkv", "batched_weights"])
def test_x1_and_x2_apart(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they pass through the network where they are many; so few go as one batch."""
    with precision("float64"):
        f, params, x1, x2, expected = all_kernels(name, "float64")
        for together in (True, False):
            set_hardware(monkeypatch, few_rows=10**9 * together)
            engine = Engine(f, params, x1, x2, outputs="full")
            assert engine.plan.together is together
            assert_kernel(engine(params, x1, x2), *expected[False], "full", "float64")


@pytest.mark.parametrize("name", ["mlp", "conv2d", "tied_embedding", "recurrent", "sliced_qkv", "batched_weights"])
def test_as_planned_for_a_gpu(name: str) -> None:
    with precision("float64"):
        f, params, x1, x2, expected = all_kernels(name, "float64")
        for right in (None, x2):
            engine = Engine(f, params, x1, right, outputs="full", device="cuda")
            assert is_one_program(engine.plan)
            assert_kernel(engine(params, x1, right), *expected[right is None], "full", "float64")


@pytest.mark.parametrize(("first", "second"), [("int32", "int64"), ("int64", "int32"), ("uint8", "int32")])
def test_row_numbers_of_two_dtypes(first: str, second: str) -> None:
    small = Small(lambda p, x: jnp.tanh(p["e"][x]).mean(1) @ p["o"], {"e": (6, 5), "o": (5, 2)}, (4,), rules={})
    with precision("float64"):
        params, _, _ = small.draw(3, 2, "float64")
        rows = jnp.arange(20).reshape(5, 4) % 6
        x1, x2 = rows[:3].astype(first), rows[3:].astype(second)
        expected = contracted(*jacobians(small, params, rows[:3], rows[3:]))
        assert_kernel(Engine(small.f, params, x1, x2, outputs="full")(params, x1, x2), *expected, "full", "float64")


def test_a_random_key_of_the_example() -> None:
    def f(p: Any, x: Any) -> Any:
        def one(e: Any) -> Any:
            key = jax.random.fold_in(jax.random.key(1), jnp.int32(jnp.sum(e) * 100))
            return jnp.tanh(e @ p["i"] + jax.random.normal(key, (5,), e.dtype)) @ p["o"]

        return jax.vmap(one)(x)

    small = Small(f, {"i": (4, 5), "o": (5, 2)}, (4,), rules={})
    with precision("float64"):
        params, x1, x2 = small.draw(3, 2, "float64")
        expected = contracted(*jacobians(small, params, x1, x2))
        assert_kernel(Engine(f, params, x1, x2, outputs="full")(params, x1, x2), *expected, "full", "float64")


@pytest.mark.parametrize("name", NETWORKS)
def test_expected_rules(name: str) -> None:
    small = NETWORKS[name]
    params, x1, _ = small.draw(2, 2, "float32")
    analysis = Engine(small.f, params, x1, None, outputs="full").analysis
    found = {parameter.name: parameter.rule.partition(":")[0] for parameter in analysis.parameters}
    assert {name: found[name] for name in small.rules} == small.rules


@pytest.mark.parametrize(("name", "hidden"), [
    ("weight_norm", {"v", "g", "c"}), ("custom_rules", {"a", "b"}), ("hidden_loop", {"a"}), ("nested_calls", {"c"})])
def test_a_fallback_is_for_its_parameter_alone(name: str, hidden: set[str]) -> None:
    small = NETWORKS[name]
    params, x1, _ = small.draw(2, 2, "float32")
    steps = Engine(small.f, params, x1, None, outputs="full").plan.steps
    assert {step.parameter.name for step in steps if step.parameter.rule.startswith("fallback")} == hidden
    products = [step for step in steps if step.parameter.products]
    assert products
    assert all("direct" not in step.ways for step in products)


def test_parameters_cast_on_their_way() -> None:
    """float32 parameters in a network that computes in float64: the kernel has their dtype."""
    def f(p: Any, x: Any) -> Any:
        wide = jax.tree.map(lambda leaf: leaf.astype("float64"), p)
        return jnp.tanh(x @ wide["w"] + wide["b"]) @ wide["o"]

    small = Small(f, {"w": (4, 3), "b": (3,), "o": (3, 2)}, (4,), rules={})
    with precision("float64"):
        params, x1, x2 = small.draw(3, 2, "float32")
        expected = contracted(*jacobians(small, params, x1, x2))
        engine = Engine(f, params, x1, x2, outputs="full")
        assert [parameter.rule for parameter in engine.analysis.parameters] == ["bias", "dense", "dense"]
        assert_kernel(engine(params, x1, x2), *expected, "full", "float32")


@pytest.mark.parametrize("name", ["mlp", "conv2d", "tied_embedding"])
def test_float32(name: str) -> None:
    with precision("float32"):
        f, params, x1, x2, expected = all_kernels(name, "float32")
        assert_kernel(Engine(f, params, x1, x2, outputs="full")(params, x1, x2), *expected[False], "full", "float32")


@pytest.mark.parametrize("limits", [{"batch_size": 2}, {"memory_limit": 4096}, {"batch_size": 3, "memory_limit": 1}],
                         ids=["batches", "memory", "both"])
@pytest.mark.parametrize("outputs", OUTPUTS)
def test_blocks_do_not_change_the_kernel(outputs: Any, limits: dict[str, Any]) -> None:
    """5 and 3 examples in blocks that do not divide them, with x2 and without."""
    with precision("float64"):
        f, params, x1, x2, expected = all_kernels("mlp", "float64")
        for symmetric, right in ((True, None), (False, x2)):
            kernel = Engine(f, params, x1, right, outputs=outputs, **limits)(params, x1, right)
            assert_kernel(kernel, *expected[symmetric], outputs, "float64")


@pytest.mark.parametrize("block", [1, 2], ids=["even", "overlapping"])
@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize("name", ["mlp", "conv2d", "tied_embedding", "sliced_qkv"])
def test_blocks_of_one_program(name: str, outputs: Any, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """5 examples in blocks for the symmetry, added up parameter by parameter; right for networks of any kind."""
    monkeypatch.setattr(jax_engine, "is_one_program", lambda plan: True)
    with precision("float64"):
        f, params, x1, _, expected = all_kernels(name, "float64")
        n_outputs = jax.eval_shape(f, params, x1).size // len(x1)
        set_hardware(monkeypatch, symmetry_flops=0, block_rows=block * (n_outputs if outputs == "full" else 1))
        engine = Engine(f, params, x1, None, outputs=outputs)
        assert engine.plan.block1 == block
        assert_kernel(engine(params, x1, None), *expected[True], outputs, "float64")


@pytest.mark.parametrize("block_rows", [40, 160], ids=["blocks", "one block"])
def test_a_cotangent_is_let_go_once_it_is_contracted(block_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program's memory holds a few of them, however deep the network is."""
    set_hardware(monkeypatch, symmetry_flops=0, block_rows=block_rows)
    depth, width, n, n_outputs = 8, 512, 16, 10
    with precision("float32"):
        params = [jnp.ones((width, width))] * depth + [jnp.ones((width, n_outputs))]

        def f(layers: Any, x: Any) -> Any:
            for layer in layers[:-1]:
                x = jnp.tanh(x @ layer)
            return x @ layers[-1]

        x = jnp.ones((n, width))
        engine = Engine(f, params, x, None, outputs="full")
        assert is_one_program(engine.plan)
        if engine.in_turn and options(in_turn=True) == options():
            pytest.skip("this XLA does not let one choose the order of a program")
        program = jax.jit(engine.in_one_program, compiler_options=options(in_turn=engine.in_turn))
        used = program.lower(params, x, None, True).compile().memory_analysis()
    if used is None:
        pytest.skip("this backend does not tell what memory a program uses")
    cotangent, kernel = n * n_outputs * width * 4, engine(params, x, None).nbytes
    assert used.temp_size_in_bytes < (depth - 1) * cotangent + kernel


@pytest.mark.parametrize(("name", "way"), [
    ("conv2d", "gram"), ("conv2d", "half"), ("recurrent", "gram"), ("recurrent", "half"), ("recurrent", "gradient"),
    ("batched_weights", "gram"), ("batched_weights", "gradient"), ("sliced_qkv", "half"), ("sliced_qkv", "gradient")])
def test_every_way_gives_the_same_kernel(name: str, way: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the planner would choose for its cost."""
    assert_way(name, way, monkeypatch)


@pytest.mark.parametrize("name", ["conv2d", "sliced_qkv", "batched_weights"])
def test_gradients_of_wide_layers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are made in another order."""
    monkeypatch.setattr(jax_factors, "WIDE_INFLOW", 1)
    assert_way(name, "gradient", monkeypatch)


def assert_way(name: str, way: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def only(product: planner.Product, task: planner.Task) -> tuple[Any, ...]:
        allowed = possible_ways(product, task)
        return (way,) if way in allowed else allowed

    possible_ways = planner.possible_ways
    monkeypatch.setattr(planner, "possible_ways", only)
    with precision("float64"):
        f, params, x1, x2, expected = all_kernels(name, "float64")
        outputs = ("full",) if way == "half" else OUTPUTS
        for some in outputs:
            engine = Engine(f, params, x1, x2, outputs=some)
            assert any(way in step.ways for step in engine.plan.steps)
            assert_kernel(engine(params, x1, x2), *expected[False], some, "float64")


def test_the_cotangents_of_skip_connections_are_computed_once() -> None:
    """On the CPU, behind conditions whose answer XLA does not know; elsewhere there are none."""
    def f(p: Any, x: Any) -> Any:
        h = x @ p["a"]
        h = h + jnp.tanh(h) @ p["b"]
        return jnp.sum(h + jnp.sin(h), 1)

    params, x = {"a": jnp.ones((3, 4)), "b": jnp.ones((4, 4))}, jnp.ones((2, 3))
    engine = Engine(f, params, x, None, outputs="full")
    assert len(engine.factors.forks) == 2  # pyright: ignore[reportAttributeAccessIssue]
    traced = jax.jit(engine._passes).trace(jax.tree.leaves(params), [x], True)
    for platform, conditions in (("cpu", 2), ("cuda", 0)):
        program = traced.lower(lowering_platforms=(platform,)).as_text()
        assert program.count("stablehlo.negate") == conditions  # the branch that is never taken


def test_a_matrix_and_its_transpose_without_their_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The terms between two uses, which the planner takes only for large tables."""
    monkeypatch.setattr(planner, "_direct_time", lambda parameter, task: float("inf"))
    with precision("float64"):
        for name in ("tied_embedding", "tied_autoencoder"):
            f, params, x1, x2, expected = all_kernels(name, "float64")
            for outputs in OUTPUTS:
                engine = Engine(f, params, x1, x2, outputs=outputs)
                assert any(term.way == "cross" for term in engine.factors.terms)
                assert_kernel(engine(params, x1, x2), *expected[False], outputs, "float64")


def test_parameters_are_arguments() -> None:
    """The compiled kernel follows the parameters it is given."""
    with precision("float64"):
        small = NETWORKS["mlp"]
        params, x1, x2 = small.draw(3, 2, "float64")
        engine = Engine(small.f, params, x1, x2, outputs="full")
        before = engine(params, x1, x2)
        doubled = {name: 2.0 * value for name, value in params.items()}
        after = Engine(small.f, doubled, x1, x2, outputs="full")(doubled, x1, x2)
        assert np.array_equal(engine(doubled, x1, x2), after)
        assert not np.array_equal(before, after)


KINDS = ("bias", "scale", "mix", "conv", "residual", "tied", "reshape", "norm", "twice", "scan", "remat", "halves")


@st.composite
def random_networks(draw: Any) -> tuple[Any, dict[str, tuple[int, ...]], tuple[int, ...]]:
    """A chain of layers on (T, C) activations: (f, shapes of the parameters, shape of an example)."""
    T, C = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    layers, shapes, start = [], {}, (T, C)
    kinds = draw(st.lists(st.sampled_from(KINDS), max_size=3))
    for i, kind in enumerate(["dense", *kinds]):
        out = draw(st.integers(1, 3))
        shape = {"dense": (C, out), "bias": draw(st.sampled_from([(C,), (T, 1), (1,)])), "scale": (C,), "mix": (out, T),
                 "conv": (2, C, out), "residual": (C, C), "tied": (C, C), "norm": (C,), "twice": (C, C),
                 "scan": (2, C, C), "remat": (C, out), "halves": (C, 2 * out)}.get(kind)
        if shape is not None:
            shapes[f"p{i}"] = shape
        layers.append((kind, f"p{i}", draw(st.sampled_from([jnp.tanh, jax.nn.relu, jnp.sin, lambda h: h]))))
        T, C = {"dense": (T, out), "mix": (out, C), "conv": (T, out), "reshape": (C, T), "remat": (T, out),
                "halves": (T, out)}.get(kind, (T, C))

    def f(p: Any, x: Any) -> Any:
        h = x
        for kind, name, act in layers:
            h = act(apply_layer(kind, h, p.get(name)))
        return h

    return f, shapes, start


def apply_layer(kind: str, h: Any, w: Any) -> Any:
    """One layer of a random network; h is (N, T, C)."""
    match kind:
        case "dense":
            return 0.5 * (h @ w)
        case "bias":
            return h + w
        case "scale":
            return h * w
        case "mix":
            return jnp.einsum("ut,ntc->nuc", w, h)
        case "conv":
            return jax.lax.conv_general_dilated(h, w, (1,), "SAME", dimension_numbers=("NHC", "HIO", "NHC"))
        case "residual":
            return h + jnp.tanh(h @ w)
        case "tied":
            return jnp.tanh(h @ w) @ w.T
        case "norm":
            return h / jnp.sqrt((h**2).mean(-1, keepdims=True) + 0.1) * w
        case "twice":
            return jnp.tanh(h @ w) @ w
        case "scan":
            return jax.lax.scan(lambda h, layer: (jnp.sin(h @ layer), None), h, w)[0]
        case "remat":
            return jax.checkpoint(lambda h, w: jnp.tanh(h @ w))(h, w)
        case "halves":
            left, right = jnp.split(w, 2, axis=1)
            return (h @ left) * jax.nn.sigmoid(h @ right)
        case _:
            return h.reshape(len(h), h.shape[2], h.shape[1])


@settings(max_examples=16, deadline=None, derandomize=True)
@given(random_networks(), st.sampled_from(OUTPUTS), st.booleans(), st.sampled_from([None, 2]))
def test_random_networks(network: Any, outputs: Any, symmetric: bool, batch_size: int | None) -> None:
    small = Small(*network, rules={})
    with precision("float64"):
        params, x1, x2 = small.draw(3, 2, "float64")
        j1, j2 = jacobians(small, params, x1, x2)
        expected = contracted(j1, j1 if symmetric else j2)
        engine = Engine(small.f, params, x1, None if symmetric else x2, outputs=outputs, batch_size=batch_size)
        assert_kernel(engine(params, x1, None if symmetric else x2), *expected, outputs, "float64")


@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "x2"])
def test_adapter(symmetric: bool) -> None:
    case = reference.cases()[0]
    case = case.with_symmetry() if symmetric else case
    request = reference.Request(dtype="float64", options={"explain": False})
    kernel = np.asarray(METHODS[0].prepare(case, request)())
    assert reference.compare(kernel, reference.expected(case), outputs="full", dtype="float64", symmetric=symmetric).ok


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    small = NETWORKS["weight_norm"]
    params, x1, _ = small.draw(2, 2, "float32")
    METHODS[0].kernel(small.f, params, x1, None, reference.Request(options={"explain": True}))
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "fallback: enters cond" in lines["c"]
    assert "dense" in lines["r"]


def test_reason_names_the_function(capsys: pytest.CaptureFixture[str]) -> None:
    """As it is known to who wrote it: not "custom_jvp_call"."""
    params, x = {"w": jnp.ones((3, 2))}, jnp.ones((2, 3))
    request = reference.Request(options={"explain": True})
    METHODS[0].kernel(lambda params, x: x @ jax.nn.relu(params["w"]), params, x, None, request)
    assert "fallback: enters relu, whose derivative is given by itself" in capsys.readouterr().out


def test_unknown_option() -> None:
    small = NETWORKS["mlp"]
    params, x1, _ = small.draw(2, 2, "float32")
    with pytest.raises(reference.InputError, match="memory_limit"):
        METHODS[0].kernel(small.f, params, x1, None, reference.Request(options={"memory_limits": 1}))
