"""neural-tangents loads on this JAX, without TensorFlow, and leaves JAX as it was."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="the JAX half is not installed")
if importlib.util.find_spec("neural_tangents") is None:
    pytest.skip("neural-tangents is not installed", allow_module_level=True)

import jax.numpy as jnp  # noqa: E402

from impls import load  # noqa: E402
from impls.frameworks.jax import neural_tangents as neural_tangents_compat  # noqa: E402
from impls.frameworks.jax.support import precision  # noqa: E402
from impls.protocol import MethodNotInstalled  # noqa: E402
from reference import Request, compare  # noqa: E402
from tests import ROOT  # noqa: E402
from tests.naive_kernels import from_jacobians  # noqa: E402

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")

UNTOUCHED = """\
changed by loading: []
changed by using: []
answers that changed: []
settings that changed: []
foreign modules: []
loaded again is the same: True
"""


def test_nothing_is_changed_for_others() -> None:
    program = subprocess.run([sys.executable, "-W", "error", "-m", "tests.neural_tangents_in_fresh_process"],
                             cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert (program.stdout, program.stderr) == (UNTOUCHED, "")


def test_unknown_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "__version_info__", (0, 12, 0))
    monkeypatch.setattr(jax, "__version__", "0.12.0")
    with pytest.raises(MethodNotInstalled, match=r"on JAX 0\.8 to 0\.11, but JAX is 0\.12\.0: pip install"):
        neural_tangents_compat.load.__wrapped__()


def test_unknown_neural_tangents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0.7.0")
    with pytest.raises(MethodNotInstalled, match=r"neural-tangents 0\.6\.5 runs here, but 0\.7\.0 is installed"):
        neural_tangents_compat.load.__wrapped__()


def test_missing_neural_tangents(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(ModuleNotFoundError) as error:
        neural_tangents_compat.load.__wrapped__()
    assert error.value.name == "neural_tangents"  # from which the registry knows the remedy


# Functions whose linear part, as JAX writes it today, differs from what neural-tangents was written for.


def tied(p: Any, x: Any) -> Any:
    return jnp.tanh(jax.nn.relu(x @ p["w"]) @ p["w"].T) + p["b"]


def layer_norm(p: Any, x: Any) -> Any:
    h = x @ p["w"]
    return (h - h.mean(-1, keepdims=True)) * jax.lax.rsqrt(h.var(-1, keepdims=True) + 1e-5) * p["b"]


def attention(p: Any, x: Any) -> Any:
    q, k, v = (x[..., None] * p["qkv"][i] for i in range(3))
    return jnp.einsum("nij,njd->nid", jax.nn.softmax(jnp.einsum("nid,njd->nij", q, k)), v)


def jitted_inside(p: Any, x: Any) -> Any:
    return jax.jit(lambda p: jnp.sin(jax.jit(jnp.dot)(x, p["w"]) + 1) ** 2)(p)


def checkpointed(p: Any, x: Any) -> Any:
    return jax.checkpoint(lambda w: jnp.tanh(x @ w))(p["w"])


def looked_up(p: Any, x: Any) -> Any:
    return p["qkv"][(x[:, 0] > 0).astype(jnp.int32)].sum(-1) * p["b"]


def constant_outputs(p: Any, x: Any) -> Any:
    return jnp.concatenate([x, jax.nn.gelu(x @ p["w"], approximate=False)], axis=1)


def independent_of_parameters(p: Any, x: Any) -> Any:
    return 2.0 * x


def one_output(p: Any, x: Any) -> Any:
    return (x @ p["w"])[:, 0]


FUNCTIONS = (tied, layer_norm, attention, jitted_inside, checkpointed, looked_up, constant_outputs,
             independent_of_parameters, one_output)


@pytest.mark.parametrize(("implementation", "f"), [
    *(("structured_derivatives", f) for f in FUNCTIONS),
    ("auto", independent_of_parameters),  # of which XLA counts no operation
], ids=lambda value: getattr(value, "__name__", value))
def test_any_function(implementation: str, f: Callable[[Any, Any], Any]) -> None:
    rng = np.random.default_rng(0)
    draw = rng.standard_normal
    with precision("float64"):
        p = {"w": jnp.array(draw((4, 4))), "b": jnp.array(draw(4)), "qkv": jnp.array(draw((3, 4, 4)))}
        x1, x2 = jnp.array(draw((3, 4))), jnp.array(draw((2, 4)))
        jacobian1, jacobian2 = (_jacobian(f, p, x) for x in (x1, x2))
    method: Any = load(f"neural_tangents.{implementation}")
    kernel = method.kernel(f, p, x1, x2, Request(dtype="float64"))
    comparison = compare(np.asarray(kernel), from_jacobians(jacobian1, jacobian2), outputs="full", dtype="float64",
                         symmetric=False)
    assert comparison.ok, comparison.reason


def _jacobian(f: Callable[[Any, Any], Any], p: Any, x: Any) -> np.ndarray:
    """(N, O, P)"""
    leaves = jax.tree.leaves(jax.jacobian(lambda p: f(p, x).reshape(len(x), -1))(p))
    return np.concatenate([np.asarray(leaf).reshape(*leaf.shape[:2], -1) for leaf in leaves], axis=-1)
