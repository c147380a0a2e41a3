"""An Equinox module or a JAX function of the user's own, checked."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from impls.jax_support import Batched, flat_outputs, precision, trainable
from impls.own.asked import ALL, Asked
from impls.own.batches import OwnBatches, is_batches
from impls.own.network import (
    OwnNetwork,
    check_examples,
    check_finite,
    check_numbers,
    failure,
    one_device,
    one_dtype,
)
from impls.own.user_network import UserNetwork
from reference import InputError
from reference.case import DType


def own_network(network: UserNetwork, x1: Any, x2: Any, asked: Asked = ALL) -> OwnNetwork:
    """The network as a batched function; x1 and x2 in the dtype of its parameters, or integers. Raises `InputError`."""
    if asked != ALL:
        raise InputError("inputs=, select= and where= are for PyTorch's networks; write them into f(params, x)")
    f, params = _function(network)
    leaves = jax.tree.leaves(params)
    dtype = one_dtype(str(leaf.dtype) for leaf in leaves)
    with precision(dtype):
        params = jax.tree.map(jnp.asarray, params)
        leaves = jax.tree.leaves(params)
        where = leaves[0].sharding
        x1, x2 = _all(x1, "x1", dtype, where), None if x2 is None else _all(x2, "x2", dtype, where)
        some1, some2 = (next(iter(x)) if isinstance(x, OwnBatches) else x for x in (x1, x2))
        check_examples(some1, some2)
        arrays = [("x1", some1), *([] if some2 is None else [("x2", some2)]), *(("params", leaf) for leaf in leaves)]
        for name, array in arrays:
            check_finite(bool(jnp.isfinite(array).all()), name)
        kind = one_device(_device_name(device) for _, array in arrays for device in array.devices())
        outputs = _outputs(f, params, some1)
    return OwnNetwork("jax", f, params, x1, x2, dtype, kind, outputs.shape[1], sum(leaf.size for leaf in leaves))


def _outputs(f: Batched, params: Any, x: jax.Array) -> jax.ShapeDtypeStruct:
    try:
        return jax.eval_shape(lambda params, x: flat_outputs(f(params, x), x.shape[0]), params, x)
    except (TypeError, ValueError, IndexError) as error:
        are_floats = bool(jnp.issubdtype(x.dtype, jnp.floating))
        raise InputError(failure(x.shape, str(x.dtype), are_floats, error)) from error


def whole(own: OwnNetwork) -> OwnNetwork:
    """With x1 and x2 as one array each, all batches in memory."""
    with precision(own.dtype):
        x1, x2 = (jnp.concatenate(list(x)) if isinstance(x, OwnBatches) else x for x in (own.x1, own.x2))
    return own._replace(x1=x1, x2=x2)


def _function(network: UserNetwork) -> tuple[Any, Any]:
    if network.framework == "jax":
        return trainable(network.model, network.params)
    from impls import equinox_networks

    return equinox_networks.batched(network.model, network.params)


def _all(x: Any, what: str, dtype: DType, where: jax.sharding.Sharding) -> jax.Array | OwnBatches:
    if not is_batches(x, what):
        return _examples(x, what, dtype, where)
    return OwnBatches(x, what, lambda batch, what: _examples(batch, what, dtype, where), lambda x: float(x.sum()))


def _examples(x: Any, what: str, dtype: DType, where: jax.sharding.Sharding) -> jax.Array:
    if not isinstance(x, np.ndarray | jax.Array):
        raise InputError(f"{what} must be a JAX or NumPy array for this model, got {type(x).__name__}")
    is_float = bool(jnp.issubdtype(x.dtype, jnp.floating))
    check_numbers(str(x.dtype), is_float or bool(jnp.issubdtype(x.dtype, jnp.integer)), what)
    x = x.astype(dtype) if is_float else x
    return jax.device_put(x, where) if isinstance(x, np.ndarray) else x


def _device_name(device: Any) -> str:
    return f"{'cuda' if device.platform == 'gpu' else device.platform}:{device.id}"
