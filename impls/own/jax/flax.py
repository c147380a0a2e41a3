"""Flax's modules as a function of their parameters: NNX objects as they are, Linen's with their variables.

Both take a batch. What is trained is `nnx.Param`, or the collection "params"; running statistics, caches and the states
of random generators are constants. Evaluated in evaluation mode; the user's object is not touched.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any

import jax

from impls.frameworks.jax.params import leaf_names
from impls.given.user_network import UserNetwork
from reference import InputError

EVALUATION = {"train": False, "training": False, "is_training": False,
              "deterministic": True, "use_running_average": True}
"""How a Linen module's ``__call__`` is told, by whichever of these names it has."""

COLLECTIONS = ("batch_stats", "cache", "intermediates", "perturbations")
"""Linen's own names of variables that are not trained."""


def nnx_network(module: Any) -> UserNetwork:
    """An NNX module by a copy in evaluation mode."""
    from flax import nnx

    copy = nnx.merge(*nnx.split(module))
    copy.eval()
    graph, params, rest = nnx.split(copy, nnx.Param, ...)
    found, structure = jax.tree_util.tree_flatten_with_path(params)
    names = [name.removesuffix(".value") for name in leaf_names(path for path, _ in found)]
    return UserNetwork("jax", NNX(type(module).__call__, graph, structure, rest),
                       OrderedDict(zip(names, (leaf for _, leaf in found), strict=True)))


def linen_network(module: Any, variables: Any) -> UserNetwork:
    """A Linen module, or its `apply`, with its variables, of which "params" is trained; or with that alone."""
    module = module.__self__ if isinstance(module, MethodType) else module
    if not isinstance(variables, Mapping):
        raise InputError("a Flax Linen module needs its variables: ntk(module, x1, params=module.init(key, x1)), with "
                         "batch_stats and all else they hold")
    collections = dict(variables) if "params" in variables else {"params": variables}
    params = {"params": collections.pop("params")}
    settings = {name: value for name, value in EVALUATION.items()
                if name in inspect.signature(type(module).__call__).parameters}
    return UserNetwork("jax", Linen(module, collections, tuple(settings.items())), params)


@jax.tree_util.register_pytree_node_class
class NNX:
    """``f(params, x)`` of a graph; a pytree of what is not trained. `called`: what the user wrote for it."""

    def __init__(self, called: Callable[..., Any], graph: Any, structure: Any, rest: Any) -> None:
        self.called, self.graph, self.structure, self.rest = called, graph, structure, rest

    def __call__(self, params: Mapping[str, Any], *x: Any, **by_name: Any) -> Any:
        from flax import nnx

        return nnx.merge(self.graph, self.structure.unflatten(list(params.values())), self.rest)(*x, **by_name)

    def tree_flatten(self) -> Any:
        return (self.rest,), (self.called, self.graph, self.structure)

    @classmethod
    def tree_unflatten(cls, static: Any, children: Any) -> NNX:
        return cls(*static, *children)


@jax.tree_util.register_pytree_node_class
class Linen:
    """``f(params, x)`` of a Linen module; a pytree of the collections that are not trained."""

    def __init__(self, module: Any, collections: Any, settings: tuple[tuple[str, bool], ...]) -> None:
        self.module, self.collections, self.settings = module, collections, settings

    @property
    def called(self) -> Callable[..., Any]:
        return type(self.module).__call__

    def __call__(self, params: Any, *x: Any, **by_name: Any) -> Any:
        return self.module.apply({**self.collections, **params}, *x, **{**dict(self.settings), **by_name})

    def tree_flatten(self) -> Any:
        return (self.collections,), (self.module, self.settings)

    @classmethod
    def tree_unflatten(cls, static: Any, children: Any) -> Linen:
        return cls(static[0], children[0], static[1])
