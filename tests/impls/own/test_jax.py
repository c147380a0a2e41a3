"""What a JAX user may hand to `ntk`: the right kernel, or an error that says what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax", reason="the JAX half is not installed")
pytest.importorskip("equinox", reason="the JAX half is not installed")

import equinox as eqx
import jax
import jax.numpy as jnp

from impls import ntk
from impls.frameworks.jax.identity import same
from reference import Expected, InputError
from tests.naive_kernels import assert_right, jax_expected

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")

METHODS = ("structured_jax", "equinox.exact", "neural_tangents.jacobian_contraction")
RANDOM = np.random.default_rng(0)
X, W, B = (RANDOM.standard_normal(shape).astype("float32") for shape in ((3, 4), (4, 2), 2))
TOKENS, MASK = np.array([[0, 1], [2, 3], [1, 1]]), np.array([[1, 0, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1]], bool)
NO_FLAX = "Flax is not installed; pip install flax"


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def f(params: Any, x: Any) -> Any:
    return jnp.tanh(x @ params["w"])


def masked(params: Any, tokens: Any, mask: Any) -> Any:
    return jnp.sin(params["w"][tokens].mean(1) * jnp.where(mask, 1.0, 0.5).sum(1, keepdims=True))


def weight(dtype: str = "float64") -> Any:
    return jnp.asarray(W, dtype)


def right(kernel: Any, of: Callable[..., Any], params: Any, x: Any, dtype: Any = "float64") -> None:
    assert_right(kernel, expected_of(of, params, x), dtype)


def expected_of(of: Callable[..., Any], params: Any, x: Any) -> Expected:
    """`of` must take real floating-point `params` alone, all of them, and the example's number instead of x."""
    numbers = np.arange(len(jax.tree.leaves(x)[0]))
    return jax_expected(lambda p, n: of(p, jax.tree.map(lambda array: jnp.asarray(array)[n], x)), params, numbers, None)


# --- parameters: nothing is dropped ---

REAL: dict[str, tuple[Callable[[], Any], Callable[..., Any], Callable[..., Any]]] = {
    "NumPy": (lambda: {"w": W.astype("float64")}, f, f),
    "NumPy, other bytes": (lambda: {"w": W.astype(">f8")}, f, f),
    "an int": (lambda: {"w": weight(), "n": jnp.array(2)}, lambda p, x: f(p, x) * len(range(int(p["n"]))) / 2, f),
    "a key": (lambda: {"w": weight(), "k": jax.random.key(0)},
              lambda p, x: f(p, x) + jax.random.normal(p["k"], (2,)), f),
    "a word": (lambda: {"w": weight(), "act": "tanh"}, lambda p, x: getattr(jnp, p["act"])(x @ p["w"]), f),
    "empty parts": (lambda: {"w": weight(), "a": None, "b": {}, "c": []}, f, f),
    "weak type": (lambda: {"w": weight("float64"), "s": jnp.asarray(2.0)}, lambda p, x: f(p, x) * p["s"],
                  lambda p, x: f(p, x) * p["s"]),
}


@cache
def expected_of_leaves(what: str) -> Expected:
    make, _, plain = REAL[what]
    return expected_of(plain, {name: leaf for name, leaf in make().items() if name in ("w", "s")}, X)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("what", REAL)
def test_leaves_of_every_kind(what: str, method: str) -> None:
    make, of, _ = REAL[what]
    assert_right(ntk(of, X, params=make(), method=method), expected_of_leaves(what), "float64")


@pytest.mark.parametrize("method", METHODS)
def test_complex_parameters_and_outputs_are_pairs(method: str) -> None:
    def of(params: Any, x: Any) -> Any:
        return jnp.fft.fft(jnp.tanh(x @ params["w"]), axis=1) * params["c"]

    def pairs(params: Any, x: Any) -> Any:
        y = of({**params, "c": params["c"][:, 0] + 1j * params["c"][:, 1]}, x)
        return jnp.stack([y.real, y.imag], axis=-1)

    complex_ = jnp.asarray(B + 2j)
    real = {"w": weight(), "c": jnp.stack([complex_.real, complex_.imag], axis=-1)}
    right(ntk(of, X, params={"w": weight(), "c": complex_}, method=method), pairs, real, X)


def test_complex_parameters_of_an_equinox_module() -> None:
    class Net(eqx.Module):
        w: Any
        c: Any

        def __call__(self, x: Any) -> Any:
            return jnp.tanh(jnp.abs((x @ self.w) * self.c))

    def pairs(params: Any, x: Any) -> Any:
        return jax.vmap(Net(params["w"], params["c"][:, 0] + 1j * params["c"][:, 1]))(x)

    params = {"w": weight(), "c": jnp.stack([jnp.asarray(B, "float64"), jnp.ones(2)], axis=-1)}
    net = Net(params["w"], params["c"][:, 0] + 1j)
    right(ntk(net, X), pairs, params, X)
    assert list(ntk(net, X, components=True)) == ["w", "c"]


def test_python_floats_are_parameters_and_it_is_said() -> None:
    def of(params: Any, x: Any) -> Any:
        return f(params, x) * params["scale"]

    with pytest.warns(UserWarning, match=r"numbers of Python \(scale\).*as for jax.grad"):
        kernel = ntk(of, X, params={"w": weight(), "scale": 0.7})
    right(kernel, of, {"w": weight(), "scale": jnp.asarray(0.7)}, X)


@pytest.mark.parametrize("narrow", ["float16", "bfloat16"])
def test_narrow_parameters_are_computed_in_float32_and_it_is_said(narrow: str) -> None:
    def of(params: Any, x: Any) -> Any:
        return jnp.sin(x @ params["w"] / 4)

    with pytest.warns(UserWarning, match=f"{narrow} are computed in float32"):
        kernel = ntk(of, X, params={"w": weight(narrow)})
    right(kernel, of, {"w": weight(narrow)}, X, "float32")


def test_of_several_dtypes_the_widest() -> None:
    def of(params: Any, x: Any) -> Any:
        return f(params, x) * params["s"]

    params = {"w": weight(), "s": jnp.asarray(B, "float32")}
    right(ntk(of, X, params=params), of, params, X)


def test_names_are_the_users() -> None:
    nested = {"a": {"b": weight()}, "n": jnp.arange(3), "list": [jnp.ones(2), 3]}
    found = ntk(lambda p, x: f({"w": p["a"]["b"]}, x) * p["list"][0], X, params=nested, components=True)
    assert list(found) == ["a.b", "list.0"]
    alike = {"a": {"b": weight()}, "a.b": jnp.ones(2)}
    found = ntk(lambda p, x: f({"w": p["a"]["b"]}, x) * p["a.b"], X, params=alike, components=True)
    assert list(found) == ["['a']['b']", "['a.b']"]


# --- the same function is compiled once ---


def test_equal_constants_do_not_compile_anew() -> None:
    count = SimpleNamespace(times=0)

    def of(params: Any, x: Any) -> Any:
        count.times += 1
        return f(params, x) * params["n"]

    times = []
    for n in (3, 3, 4):
        params = {"w": weight(), "n": jnp.array(n), "key": jax.random.key(n), "rows": np.arange(n)}
        kernel = ntk(of, X, params=params, method="structured_jax", check=False)
        right(kernel, lambda p, x, n=n: n * f(p, x), {"w": weight()}, X)
        times.append(count.times)
    assert times[0] == times[1] < times[2]


def test_a_function_is_its_code_and_what_it_reads() -> None:
    def made(scale: Any) -> Callable[..., Any]:
        return lambda params, x: scale * f(params, x)

    assert same(made(2.0)) is same(made(2.0))
    assert same(made(np.ones(2))) is same(made(np.ones(2)))
    assert same(partial(made, 2)) is same(partial(made, 2))
    for other in (3.0, 2, np.ones(2)):
        assert same(made(2.0)) is not same(made(other))
    held = {"scale": 1.0}
    before = same(made_of := made(held))
    held["scale"] = 2.0
    assert same(made_of) is not before


def test_a_changed_global_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for scale in (1.0, 2.0):
        monkeypatch.setitem(globals(), "SCALE", scale)
        right(ntk(_reads_a_global, X, params={"w": weight()}), lambda p, x, s=scale: s * f(p, x), {"w": weight()}, X)


SCALE = 0.0


def _reads_a_global(params: Any, x: Any) -> Any:
    return SCALE * f(params, x)


# --- networks that have no kernel of pairs of examples ---

def test_no_outputs() -> None:
    for method in ("auto", "structured_jax"):
        with pytest.raises(InputError, match="no outputs"):
            ntk(lambda p, x: f(p, x)[:, :0], X, params={"w": weight()}, method=method)


COUPLED: dict[str, Callable[..., Any]] = {
    "batch statistics": lambda p, x: (f(p, x) - f(p, x).mean(0)) / (f(p, x).var(0) + 1),
    "running sum": lambda p, x: jnp.cumsum(f(p, x), 0), "sorted": lambda p, x: f(p, jnp.sort(x, 0)),
    "neighbours": lambda p, x: f(p, jnp.roll(x, 1, 0)), "by their number": lambda p, x: f(p, x) / x.shape[0],
    "softmax over them": lambda p, x: jax.nn.softmax(f(p, x), 0),
    "dropout": lambda p, x: f(p, x) * jax.random.bernoulli(jax.random.key(0), 0.5, (len(x), 2)),
}


@pytest.mark.parametrize("method", ["auto", "equinox.exact"])
@pytest.mark.parametrize("what", COUPLED)
def test_examples_that_influence_each_other(what: str, method: str) -> None:
    with pytest.raises(InputError, match="examples influence each other"):
        ntk(COUPLED[what], X, params={"w": weight()}, method=method)


@pytest.mark.parametrize("x", [X[:1], np.tile(X[:1], (3, 1))], ids=["one", "equal"])
def test_they_are_found_where_all_examples_are_alike(x: Any) -> None:
    with pytest.raises(InputError, match="examples influence each other"):
        ntk(lambda p, x: f(p, x) - f(p, x).mean(0), x, params={"w": weight()})


# --- modules ---


class Normed(eqx.Module):
    linear: eqx.nn.Linear
    norm: eqx.nn.BatchNorm

    def __init__(self, key: Any) -> None:
        self.linear = eqx.nn.Linear(4, 2, key=key, dtype="float64")
        self.norm = eqx.nn.BatchNorm(2, "batch", mode="batch", dtype="float64")

    def __call__(self, x: Any, state: Any) -> Any:
        return self.norm(self.linear(x), state)


class Held(eqx.Module):
    net: Normed
    state: eqx.nn.State

    def __call__(self, x: Any) -> Any:
        return self.net(x, self.state)[0]


def normed() -> tuple[Any, Any]:
    net, state = eqx.nn.make_with_state(Normed)(jax.random.key(0))
    _, state = jax.vmap(net, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(jnp.asarray(X, "float64"), state)
    return net, state


@pytest.mark.parametrize("method", METHODS)
def test_equinox_module_with_state(method: str) -> None:
    net, state = normed()
    params, rest = eqx.partition(eqx.nn.inference_mode(net), eqx.is_inexact_array)

    def of(params: Any, x: Any) -> Any:
        return jax.vmap(lambda x: eqx.combine(params, rest)(x, state)[0])(x)

    right(ntk((net, state), X, method=method), of, params, X)
    right(ntk(Held(net, state), X, method=method), of, params, X)
    names = ["linear.weight", "linear.bias", "norm.weight", "norm.bias"]
    assert list(ntk((net, state), X, method="structured_jax", components=True)) == names


class Counts(eqx.Module):
    """Writes its state in inference mode too."""

    linear: eqx.nn.Linear
    calls: eqx.nn.StateIndex

    def __init__(self, key: Any) -> None:
        self.linear, self.calls = eqx.nn.Linear(4, 2, key=key, dtype="float64"), eqx.nn.StateIndex(jnp.array(0))

    def __call__(self, x: Any, state: Any) -> Any:
        return jnp.tanh(self.linear(x)), state.set(self.calls, state.get(self.calls) + 1)


def test_equinox_module_that_writes_its_state() -> None:
    net, state = eqx.nn.make_with_state(Counts)(jax.random.key(0))
    params, rest = eqx.partition(net.linear, eqx.is_inexact_array)
    for _ in range(2):
        right(ntk((net, state), X, method="equinox.exact"),
              lambda params, x: jnp.tanh(jax.vmap(eqx.combine(params, rest))(x)), params, X)
    assert state.get(net.calls) == 0


def test_equinox_module_without_its_state() -> None:
    with pytest.raises(InputError, match=r"ntk\(\(model, state\), x1\)"):
        ntk(normed()[0], X)


@pytest.mark.parametrize("method", METHODS)
def test_flax_linen_with_running_statistics(method: str) -> None:
    nn = pytest.importorskip("flax.linen", reason=NO_FLAX)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any, train: bool) -> Any:
            x = nn.BatchNorm(use_running_average=not train, param_dtype="float64")(x)
            return nn.Dense(2, param_dtype="float64")(nn.Dropout(0.5, deterministic=not train)(jnp.tanh(x)))

    net = Net()
    variables = net.init({"params": jax.random.key(0), "dropout": jax.random.key(1)}, jnp.asarray(X, "float64"), True)

    def of(params: Any, x: Any) -> Any:
        return net.apply({**variables, "params": params}, x, False)

    for model in (net, net.apply):
        right(ntk(model, X, params=variables, method=method), of, variables["params"], X)
    with pytest.warns(UserWarning, match="batch_stats beside 'params': those are constants"):
        kernel = ntk(lambda v, x: net.apply(v, x, False), X, params=variables, method=method)
    right(kernel, of, variables["params"], X)
    with pytest.raises(InputError, match="needs its variables"):
        ntk(net, X)


@pytest.mark.parametrize("method", METHODS)
def test_flax_nnx_as_it_is(method: str) -> None:
    nnx = pytest.importorskip("flax.nnx", reason=NO_FLAX)
    rngs, kind = nnx.Rngs(0), {"param_dtype": "float64"}
    net = nnx.Sequential(nnx.Linear(4, 3, rngs=rngs, **kind), nnx.BatchNorm(3, rngs=rngs, **kind),
                         nnx.Dropout(0.5, rngs=rngs), jnp.tanh, nnx.Linear(3, 2, rngs=rngs, **kind))
    before = str(nnx.state(net)), net.layers[2].deterministic
    copy = nnx.merge(*nnx.split(net))
    copy.eval()
    graph, params, rest = nnx.split(copy, nnx.Param, ...)
    right(ntk(net, X, method=method), lambda p, x: nnx.merge(graph, p, rest)(x), params, X)
    assert (str(nnx.state(net)), net.layers[2].deterministic) == before
    assert "layers.0.kernel" in ntk(net, X, method="structured_jax", components=True)


# --- inputs ---


@dataclass
class Tokens:
    ids: Any
    mask: Any


jax.tree_util.register_dataclass(Tokens, ["ids", "mask"], [])

SEVERAL: dict[str, tuple[Callable[..., Any], Any]] = {
    "tuple, one by one": (masked, (TOKENS, MASK)), "by name": (masked, {"mask": MASK, "tokens": TOKENS}),
    "tuple": (lambda p, x: masked(p, *x), (TOKENS, MASK)),
    "dict": (lambda p, x: masked(p, x["a"], x["b"]), {"a": TOKENS, "b": MASK}),
    "dataclass": (lambda p, x: masked(p, x.ids, x.mask), Tokens(TOKENS, MASK)),
}


@cache
def expected_of_several_inputs() -> Expected:
    return expected_of(lambda p, x: masked(p, *x), {"w": weight()}, (TOKENS, MASK))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("what", SEVERAL)
def test_several_inputs(what: str, method: str) -> None:
    of, x = SEVERAL[what]
    kernel = ntk(of, x, params={"w": weight()}, method=method, batch_size=2)
    assert_right(kernel, expected_of_several_inputs(), "float64")


def test_several_arguments_of_an_equinox_module() -> None:
    class Net(eqx.Module):
        w: Any

        def __call__(self, tokens: Any, mask: Any, *, key: Any = None) -> Any:
            return masked({"w": self.w}, tokens[None], mask[None])[0]

    for x in ((TOKENS, MASK), {"tokens": TOKENS, "mask": MASK}):
        assert_right(ntk(Net(weight()), x), expected_of_several_inputs(), "float64")
    with pytest.raises(InputError, match=r"missing 1 required .*'mask'.*given as a tuple"):
        ntk(Net(weight()), TOKENS)


@pytest.mark.parametrize("method", METHODS)
def test_batches_of_several_inputs_and_a_selected_output(method: str) -> None:
    def of(params: Any, x: Any) -> Any:
        return {"loss": 0.0, "logits": masked(params, *x)}

    batches = [(TOKENS[:2], MASK[:2]), (TOKENS[2:], MASK[2:])]
    kernel = ntk(lambda p, a, b: of(p, (a, b)), batches, params={"w": weight()}, method=method, select="logits")
    assert_right(kernel, expected_of_several_inputs(), "float64")


@pytest.mark.parametrize("method", METHODS)
def test_some_parameters_by_name(method: str) -> None:
    layers, x = [{"w": weight(), "b": jnp.asarray(B, "float64"), "n": jnp.array(2)}, {"c": jnp.asarray(B + 1j)}], X

    def of(params: Any, x: Any) -> Any:
        return jnp.tanh(x @ params[0]["w"] + params[0]["b"]) * jnp.abs(params[1]["c"])

    right(ntk(of, x, params=layers, method=method, where="*.b"),
          lambda p, x: of([{**layers[0], **p}, layers[1]], x), {"b": layers[0]["b"]}, x)
    with pytest.raises(InputError, match="fits no trainable parameter"):
        ntk(of, x, params=layers, method=method, where="*.bias")


INPUTS: dict[str, tuple[Any, Callable[..., Any]]] = {
    "other bytes": (X.astype(">f8"), f), "flipped": (X[::-1], f), "float16": (X.astype("float16"), f),
    "truth values": (X > 0, lambda p, x: f(p, jnp.where(x, 1.0, -2.0))),
    "complex": (X + 1j, lambda p, x: jnp.abs(x @ p["w"])),
    "bytes": (TOKENS.astype("uint8"), lambda p, x: jnp.sin(p["w"][x].sum(1))),
}


@cache
def expected_of_inputs(what: str) -> Expected:
    x, of = INPUTS[what]
    return expected_of(of, {"w": weight()}, x if x.dtype.kind in "bcu" else x.astype("float64"))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("what", INPUTS)
def test_inputs_of_every_kind(what: str, method: str) -> None:
    x, of = INPUTS[what]
    assert_right(ntk(of, x, params={"w": weight()}, method=method), expected_of_inputs(what), "float64")


# --- functions that are more than arithmetic ---


def scalar(params: Any, x: Any) -> Any:
    return (jnp.tanh(x @ params["w"]) ** 2).sum(-1)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "jitted": jax.jit(f), "checkpoint": jax.checkpoint(f),
    "force": lambda p, x: -jax.grad(lambda z: scalar(p, z).sum())(x),
    "residual": lambda p, x: jax.vmap(lambda e: jnp.trace(jax.hessian(lambda z: scalar(p, z))(e)))(x),
}


@cache
def expected_of_function(what: str) -> Expected:
    return expected_of(FUNCTIONS[what], {"w": weight()}, X.astype("float64"))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("what", FUNCTIONS)
def test_functions_of_functions(what: str, method: str) -> None:
    kernel = ntk(FUNCTIONS[what], X, params={"w": weight()}, method=method)
    assert_right(kernel, expected_of_function(what), "float64")


# --- errors ---

BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "inside jit": (lambda: jax.jit(lambda p: ntk(f, X, params=p))({"w": weight()}), r"inside jax\.jit.*ntk_fn"),
    "inside jit, constants": (lambda: jax.jit(lambda: ntk(f, X, params={"w": weight()}))(), "ntk_fn"),
    "inside grad": (lambda: jax.grad(lambda x: ntk(f, x, params={"w": weight()}).sum())(jnp.asarray(X)), "ntk_fn"),
    "inside vmap": (lambda: jax.vmap(lambda x: ntk(f, x[None], params={"w": weight()}))(jnp.asarray(X)), "ntk_fn"),
    "not its params": (lambda: ntk(lambda p, x: x @ weight(), X, params={"w": weight()}), "does not depend on its par"),
    "one example": (lambda: ntk(f, X[0], params={"w": weight()}), r"it takes x1\[None\]"),
    "unknown name": (lambda: ntk(lambda p, x: p["v"], X, params={"w": weight()}), r"\(KeyError: 'v'\)$"),
    "float tokens": (lambda: ntk(lambda p, x: p["w"][x], X, params={"w": weight()}), "it takes integers"),
    "if": (lambda: ntk(lambda p, x: x if p["w"].sum() > 0 else -x, X, params={"w": weight()}), "reads numbers in Pyth"),
    "mask of x": (lambda: ntk(f, np.ma.masked_array(X, X > 0), params={"w": weight()}), r"give x1\.filled"),
    "mask of a parameter": (lambda: ntk(f, X, params={"w": np.ma.masked_array(W, W > 0), "v": weight()}), "masked"),
    "large ints": (lambda: _in_32_bits(np.array([2**40, 1])), "x1 holds numbers beyond 2.147e.09, which int32"),
    "large floats": (lambda: ntk(f, X.astype("float64") * 1e300, params={"w": weight("float32")}), "float32 cannot"),
    "numbers of examples": (lambda: ntk(masked, (TOKENS, MASK[:2]), params={"w": weight()}), "one number"),
    "unlike inputs": (lambda: ntk(masked, (TOKENS, MASK), TOKENS, params={"w": weight()}), "one structure"),
}


def _in_32_bits(x: np.ndarray) -> Any:
    with jax.enable_x64(False):
        return ntk(lambda p, x: p["w"][x % 4], x, params={"w": weight("float32")})


@pytest.mark.parametrize("what", BAD)
def test_bad_input(what: str) -> None:
    compute, message = BAD[what]
    with pytest.raises(InputError, match=message) as caught:
        compute()
    assert not isinstance(caught.value.__cause__, InputError)
