"""Run by a test in a process of its own: what loading and using neural-tangents changes for others. Prints it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.core

# Parts of JAX that neural-tangents needs too: they add rules of their own to JAX's tables when they are imported.
import jax.example_libraries.stax
import jax.experimental.ode
import jax.extend.linear_util
import jax.interpreters.ad
import jax.interpreters.batching
import jax.interpreters.mlir
import jax.numpy as jnp
import jax.scipy.special

from tests.gate.state import global_state

FOREIGN = ("tensorflow", "tf2jax", "keras", "jax.util", "jax.experimental.jax2tf", "neural_tangents.experimental")
"""Modules that must not be there, with all below them."""

TOUCHED = ("jax.core.Jaxpr", "jax.core.JaxprEqn", "jax.core.Literal", "jax.core.Primitive", "jax.core.Var",
           "jax.interpreters.ad.zeros_like_p")


def attributes() -> dict[str, Any]:
    """Of every module of JAX; of tables, such as those of differentiation rules, their keys as well."""
    found: dict[str, Any] = {}
    for module_name, module in list(sys.modules.items()):
        if module_name.partition(".")[0] in ("jax", "jaxlib"):
            found |= {f"{module_name}.{name}": value for name, value in vars(module).items()}
    tables = {f"{name} keys": frozenset(value) for name, value in found.items()
              if name.startswith("jax.interpreters") and isinstance(value, dict)}
    return found | tables


def behaviour() -> dict[str, str]:
    """What calls of JAX answer that go through the places that neural-tangents reads."""
    def f(w: jax.Array) -> jax.Array:
        return jax.nn.relu(jnp.sin(jnp.arange(3.0) @ w) * 2)

    w = jnp.ones((3, 2))
    calls: dict[str, Callable[[], Any]] = {
        "linearize": lambda: jax.make_jaxpr(jax.linearize(f, w)[1])(w),
        "vjp": lambda: jax.make_jaxpr(lambda w: jax.vjp(f, w)[1](jnp.ones(2)))(w),
        "linear_transpose": lambda: jax.linear_transpose(lambda w: jnp.arange(3.0) @ w, w)(jnp.ones(2)),
        "cost_analysis": lambda: type(jax.jit(f).lower(w).compile().cost_analysis()),
        **{f"eval {name}": lambda name=name: eval(name) for name in TOUCHED},
    }
    return {name: _answer(call) for name, call in calls.items()}


def _answer(call: Callable[[], Any]) -> str:
    try:
        return str(call())
    except AttributeError as error:
        return f"AttributeError: {error}"


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Names that came, went or changed. A module imported since does not count, nor does it in the one above it."""
    modules = {name.rpartition(".")[0] for name in before}
    changed = [name for name in before.keys() | after.keys()
               if name not in before or name not in after or not _same(before[name], after[name])]
    return sorted(name for name in changed if name.rpartition(".")[0] in modules and name not in sys.modules)


def _same(one: Any, other: Any) -> bool:
    return one is other or (isinstance(one, frozenset) and one == other)


def use(neural_tangents: Any) -> None:
    """Every implementation, and the infinite kernel, once."""
    layers = neural_tangents.stax.serial(neural_tangents.stax.Dense(4), neural_tangents.stax.Relu(),
                                         neural_tangents.stax.Dense(2))
    init_fn, apply_fn, kernel_fn = layers
    x = jnp.ones((2, 3))
    _, params = init_fn(jax.random.PRNGKey(0), x.shape)
    for implementation in neural_tangents.NtkImplementation:
        neural_tangents.empirical_ntk_fn(apply_fn, implementation=implementation)(x, None, params)
    kernel_fn(x, None, "ntk")


def main() -> None:
    answers, state, before = behaviour(), global_state(), attributes()
    modules = set(sys.modules)

    from impls.frameworks.jax.neural_tangents import load

    neural_tangents = load()
    print("changed by loading:", differences(before, attributes()))
    use(neural_tangents)
    public = {name: value for name, value in before.items() if not name.startswith("jax._src")}
    now = {name: value for name, value in attributes().items() if not name.startswith("jax._src")}
    print("changed by using:", differences(public, now))
    print("answers that changed:", [name for name, answer in behaviour().items() if answer != answers[name]])
    print("settings that changed:", [name for name, value in global_state().items() if value != state[name]])
    print("foreign modules:", [name for name in sorted(sys.modules.keys() - modules)
                               if any(f"{name}.".startswith(f"{foreign}.") for foreign in FOREIGN)])
    print("loaded again is the same:", load() is neural_tangents)


if __name__ == "__main__":
    main()
