"""Any Equinox module as a batched function of its parameters.

Equinox's convention: a module takes one example. Its parameters are its floating-point JAX arrays (the leaves that
`eqx.is_inexact_array` finds); integers, flags and functions stay as they are. Layers tied by `eqx.nn.Shared` hold one
array, hence one parameter; the same array put in two places without it is two parameters, as everywhere in Equinox.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax

from impls.frameworks.jax import params as jax_params
from impls.frameworks.jax.params import Split
from impls.frameworks.jax.support import Batched
from reference import InputError


class OverExamples(eqx.Module):
    """``f(module, x)`` of a batch; `state` is what a module with state was made with, or None. `called`: its method."""

    called: Callable[..., Any] = eqx.field(static=True)
    state: Any = None

    def __call__(self, module: Any, *x: Any, **by_name: Any) -> jax.Array:
        if self.state is None:
            return jax.vmap(lambda x, by_name: module(*x, **by_name))(x, by_name)
        leaves, structure = jax.tree.flatten(self.state)  # a state can be written once, and the user's is to stay
        return jax.vmap(lambda x, by_name: module(*x, structure.unflatten(leaves), **by_name)[0])(x, by_name)


def batched(model: Any, params: Any = None) -> tuple[Batched, Any]:
    """The module as ``f(params, x)`` of a batch with its parameters, {name: array}; see `split`."""
    f, leaves = split(model, params)
    return f, jax_params.arrays(leaves)


def split(model: Any, params: Any = None) -> Split:
    """The module in inference mode as a function of its parameters; a module with state as a pair (module, state).

    `params` None takes all its floating-point and complex arrays. To freeze some, give the trainable part, as in
    ``params, _ = eqx.partition(model, filter_spec)``: the model with None in place of all that is not trained; its
    values are used. Raises `InputError` for params of another structure.
    """
    model, state = model if isinstance(model, tuple) else (model, None)
    model = eqx.nn.inference_mode(model)
    trained = jax.tree.map(_trained, model, is_leaf=_is_state)
    if params is not None:
        params = eqx.filter(params, eqx.is_inexact_array)
        if not jax.tree.leaves(params):
            raise InputError("params holds no floating-point array; give the trainable part of the model itself, "
                             "params, _ = eqx.partition(model, filter_spec)")
        try:
            trained = jax.tree.map(lambda ours, theirs: _none_of(theirs) if ours is None else theirs, params, trained,
                                   is_leaf=lambda leaf: leaf is None)
            model = eqx.combine(params, model)
        except ValueError as error:
            raise InputError("params does not have the structure of the model; give params, _ = eqx.partition(model, "
                             f"filter_spec) ({error})") from error
    return jax_params.split(OverExamples(type(model).__call__, state), model, jax.tree.leaves(trained))


def of_part(model: Any, params: Any = None) -> tuple[Callable[[Any, Any], jax.Array], Any]:
    """The module in inference mode as ``f(params, x)`` of a batch, with parameters in the module's own structure: None
    in place of all that is not trained, as `eqx.partition` gives it."""
    model, state = model if isinstance(model, tuple) else (model, None)
    model = eqx.nn.inference_mode(model)
    if params is None:
        params = eqx.filter(model, jax.tree.map(_trained, model, is_leaf=_is_state))
    over = OverExamples(type(model).__call__, state)
    return lambda part, x: over(eqx.combine(part, model), x), params


def _trained(part: Any) -> Any:
    """Of each leaf whether it is a parameter; running statistics and other states are none, wherever they are held."""
    return _none_of(part) if _is_state(part) else eqx.is_inexact_array(part)


def _none_of(part: Any) -> Any:
    return jax.tree.map(lambda _: False, part)


def _is_state(part: Any) -> bool:
    return isinstance(part, eqx.nn.State | eqx.nn.StateIndex)
