"""A network of a JAX user's own, checked: an Equinox or Flax module, or a function of its parameters."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from impls.frameworks.arrays import on_host
from impls.frameworks.jax import packing as jax_inputs
from impls.frameworks.jax import params as jax_params
from impls.frameworks.jax.packing import Packing
from impls.frameworks.jax.params import OfParams, Split
from impls.frameworks.jax.support import precision
from impls.given.asked import ALL, Asked
from impls.given.batches import OwnBatches, is_batches
from impls.given.items import ONE, Chosen, Takes, inputs_of, takes
from impls.given.network import OwnNetwork, check_examples, check_finite, one_device
from impls.given.selection import names_where
from impls.given.user_network import UserNetwork
from impls.own.jax.checks import check_batched, check_outside
from reference import InputError
from reference.case import DType


def own_network(network: UserNetwork, x1: Any, x2: Any, asked: Asked = ALL) -> OwnNetwork:
    """The network as a batched function; x1 and x2 in the dtype of its parameters, or integers. Raises `InputError`."""
    check_outside(network.model, network.params, x1, x2)
    f, leaves = _split(network)
    if asked.where is not None:
        f, leaves = f.of_some(leaves, names_where(leaves, asked.where))
    dtype = jax_params.dtype_of(leaves)
    with precision(dtype):
        params = jax_params.arrays(leaves, dtype)
        of = _takes(network, f)
        examples = _Examples(dtype, next(iter(params.values())).sharding, of, asked.inputs)
        x1, x2 = examples.all(x1, "x1"), None if x2 is None else examples.all(x2, "x2")
        f = f.of_inputs(examples.packing, of, asked.select)
        some1, some2 = (next(iter(x)) if isinstance(x, OwnBatches) else x for x in (x1, x2))
        check_examples(some1, some2)
        for name, leaf in params.items():
            check_finite(_finite(leaf), f"params ({name})")
        placed = [some1, *([] if some2 is None else [some2]), *params.values()]
        kind = one_device(_device_name(device) for array in placed for device in array.devices())
        n_outputs = check_batched(f, params, some1, some2)
    return OwnNetwork("jax", f, params, x1, x2, dtype, kind, n_outputs, sum(leaf.size for leaf in params.values()))


def whole(own: OwnNetwork) -> OwnNetwork:
    """With x1 and x2 as one array each, all batches in memory."""
    with precision(own.dtype):
        x1, x2 = (jnp.concatenate(list(x)) if isinstance(x, OwnBatches) else x for x in (own.x1, own.x2))
    return own._replace(x1=x1, x2=x2)


def _split(network: UserNetwork) -> Split:
    if network.framework == "equinox":
        from impls.frameworks.jax import equinox

        return equinox.split(network.model, network.params)
    found = jax_params.split(network.model, network.params, _trained(network))
    if numbers := jax_params.python_floats(found.leaves):
        warnings.warn(f"params has numbers of Python ({', '.join(numbers)}): they are parameters, as for jax.grad; "
                      "keep what is not trained outside of params, in the function", UserWarning, stacklevel=2)
    return found


def _trained(network: UserNetwork) -> list[bool] | None:
    """Of variables of a Linen module, given to a function, those in "params"; None for all that can be."""
    params = network.params
    if "flax" not in sys.modules or not isinstance(params, Mapping) or "params" not in params:
        return None
    from impls.own.jax.flax import COLLECTIONS

    constant = [name for name in COLLECTIONS if name in params]
    if not constant:
        return None
    warnings.warn(f"params has Flax's {' and '.join(constant)} beside 'params': those are constants", UserWarning,
                  stacklevel=2)
    return [jax_params.differentiable(leaf) and getattr(path[0], "key", None) not in constant
            for path, leaf in jax.tree_util.tree_leaves_with_path(params)]


def _takes(network: UserNetwork, f: OfParams) -> Takes:
    """What it takes beside its parameters; a function f(params, x) that needs no more takes x as it is."""
    called = getattr(f.f, "called", None)
    found = takes(partial(network.model if called is None else called, None))
    if called is None:
        return found if found.needed > 1 else ONE
    if getattr(f.f, "state", None) is None:
        return found
    return replace(found, most=found.most - 1, needed=found.needed - 1, names=found.names - {"state"})


class _Examples:
    """Converts x1 and x2, of which every example has to be alike; `packing`: how, where they are handed on as bytes."""

    def __init__(self, dtype: DType, where: jax.sharding.Sharding, of: Takes, inputs: Any) -> None:
        self.dtype: DType = dtype
        self.where, self.of, self.inputs, self.packing, self.is_known = where, of, inputs, None, False

    def all(self, x: Any, what: str) -> jax.Array | OwnBatches:
        x = inputs_of(x, what, self.of, self.inputs)
        if not isinstance(x, Chosen) and (jax_inputs.is_structure(x) or not is_batches(x, what)):
            return self.one(x, what)
        return OwnBatches(_Packed(self, x, what), what, lambda batch, _: batch, lambda batch: float(batch.sum()),
                          jnp.concatenate)

    def one(self, x: Any, what: str) -> jax.Array:
        x = dict(x) if isinstance(x, Mapping) else x  # of a class that JAX does not know
        is_structure = jax_inputs.is_structure(x)
        x = jax.tree.map(lambda leaf: self._array(leaf, what), x) if is_structure else self._array(x, what)
        if not is_structure and not jax_inputs.needs_packing(x):
            self._know(None, what)
            return x
        x, packing = jax_inputs.pack(x, what)
        self._know(packing, what)
        return x

    def _array(self, x: Any, what: str) -> jax.Array:
        x = jax_inputs.as_array(x, what, self.dtype)
        x = jax.device_put(x, self.where) if isinstance(x, np.ndarray) else x
        check_finite(_finite(x), what)
        return x

    def _know(self, packing: Packing | None, what: str) -> None:
        if self.is_known and packing != self.packing:
            raise InputError(f"all batches and x1 and x2 must hold examples of one structure, shape and dtype, got "
                             f"{self.packing} and, in {what}, {packing}")
        self.packing, self.is_known = packing, True


class _Packed:
    """Batches as they are handed on, converted whenever they are read."""

    def __init__(self, examples: _Examples, batches: Any, what: str) -> None:
        self.examples, self.batches, self.what = examples, batches, what

    def __iter__(self) -> Iterator[jax.Array]:
        return (self.examples.one(batch, self.what) for batch in self.batches)

    def __getitem__(self, number: int) -> jax.Array:
        return self.examples.one(self.batches[number], self.what)


def _finite(array: jax.Array) -> bool:
    array = on_host(array)
    return bool((np if isinstance(array, np.ndarray) else jnp).isfinite(array).all())


def _device_name(device: Any) -> str:
    return f"{'cuda' if device.platform == 'gpu' else device.platform}:{device.id}"
