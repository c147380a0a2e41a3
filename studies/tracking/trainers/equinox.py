"""Equinox and optax: a module for one example, mapped over the batch with the axis "batch"."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from reference import InputError
from studies.tracking.options import Network, Options
from studies.tracking.trainers.jax_arrays import as_arrays, from_arrays, loss, optimiser

ACTIVATIONS = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "tanh": jax.nn.tanh, "selu": jax.nn.selu,
               "elu": jax.nn.elu}


class EquinoxTrainer:
    """The module takes ``key=`` as Equinox's own do, and has a key for each step and example."""

    def __init__(self, model: Any, options: Options, shape: tuple[int, ...], outputs: int) -> None:
        key = jax.random.key(options.seed)
        if model is None:
            model = eqx.nn.make_with_state(build)(options.network, shape, outputs, key)
            model = model if options.network.batch_norm else model[0]
        self._module, self._state = model if isinstance(model, tuple) else (model, None)
        self.layers = () if options.network.model is not None else tuple(
            f"parts.activation{i + 1}" for i in range(options.network.depth))
        self._optimiser = optimiser(options.optimiser)
        self._memory = self._optimiser.init(eqx.filter(self._module, eqx.is_inexact_array))
        self._key, self._count = jax.random.fold_in(key, 1), 0
        self._update = eqx.filter_jit(self._updated)

    @property
    def model(self) -> Any:
        return self._module if self._state is None else (self._module, self._state)

    def step(self, x: np.ndarray, y: np.ndarray) -> None:
        keys = jax.random.split(jax.random.fold_in(self._key, self._count), len(x))
        self._module, self._state, self._memory = self._update(
            self._module, self._state, self._memory, jnp.asarray(x), jnp.asarray(y), keys)
        self._count += 1

    def arrays(self) -> dict[str, np.ndarray]:
        return {"count": np.array(self._count), **as_arrays(self._all()[0])}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        numbers, rest = self._all()
        found = eqx.combine(from_arrays(numbers, arrays), rest)
        self._module, self._state, self._memory = (found[name] for name in ("model", "state", "optimiser"))
        self._count = int(arrays["count"])

    def _all(self) -> tuple[Any, Any]:
        """Its arrays, and all else."""
        return eqx.partition({"model": self._module, "state": self._state, "optimiser": self._memory}, eqx.is_array)

    def _updated(self, module: Any, state: Any, memory: Any, x: Any, y: Any, keys: Any) -> Any:
        def of(module: Any) -> Any:
            if state is None:
                return loss(jax.vmap(lambda x, key: module(x, key=key))(x, keys), y), None
            run = jax.vmap(lambda x, key: module(x, state, key=key), axis_name="batch", out_axes=(0, None))
            outputs, new = run(x, keys)
            return loss(outputs, y), new

        (_, state), gradients = eqx.filter_value_and_grad(of, has_aux=True)(module)
        updates, memory = self._optimiser.update(gradients, memory, eqx.filter(module, eqx.is_inexact_array))
        return eqx.apply_updates(module, updates), state, memory


class Parts(eqx.Module):
    """Parts by name, one after the other: in the order of their names as given, since JAX sorts dicts."""

    parts: dict[str, Any]
    order: tuple[str, ...] = eqx.field(static=True)

    def __call__(self, x: jax.Array, state: Any = None, *, key: Any = None) -> Any:
        for i, part in enumerate(self.parts[name] for name in self.order):
            if isinstance(part, eqx.nn.BatchNorm):
                x, state = part(x, state)
            else:
                x = part(x, key=None if key is None else jax.random.fold_in(key, i))
        return x if state is None else (x, state)


def build(network: Network, shape: tuple[int, ...], outputs: int, key: Any) -> Parts:
    """Parts are named hidden1, norm1, activation1, dropout1, …, output."""
    parts: dict[str, Any] = {}
    is_convnet = network.kind == "convnet"
    if is_convnet and len(shape) != 3:
        raise InputError(f"a convnet is for images (C, H, W), got examples of shape {shape}")
    if not is_convnet and len(shape) > 1:
        parts["flatten"] = eqx.nn.Lambda(jnp.ravel)
    inputs, size = (next(iter(shape)) if is_convnet else math.prod(shape)), (shape[1:] if is_convnet else ())
    for i, own in enumerate(jax.random.split(key, network.depth), 1):
        parts[f"hidden{i}"] = (eqx.nn.Conv2d(inputs, network.width, 3, 2, 1, key=own) if is_convnet
                               else eqx.nn.Linear(inputs, network.width, key=own))
        if network.batch_norm:
            parts[f"norm{i}"] = eqx.nn.BatchNorm(network.width, "batch", momentum=0.9, mode="batch")
        parts[f"activation{i}"] = eqx.nn.Lambda(ACTIVATIONS[network.activation])
        if network.dropout:
            parts[f"dropout{i}"] = eqx.nn.Dropout(network.dropout)
        inputs, size = network.width, tuple((each + 1) // 2 for each in size)
    if is_convnet:
        parts["flatten"] = eqx.nn.Lambda(jnp.ravel)
    last = jax.random.fold_in(key, network.depth)
    parts["output"] = eqx.nn.Linear(inputs * math.prod(size), outputs, key=last)
    return Parts(parts, tuple(parts))
