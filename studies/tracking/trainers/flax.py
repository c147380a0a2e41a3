"""Flax NNX and optax: a module of a batch, whose dropout has random numbers of its own."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from reference import InputError
from studies.tracking.options import Network, Options
from studies.tracking.trainers.jax_arrays import as_arrays, from_arrays, loss, optimiser

ACTIVATIONS = {"relu": nnx.relu, "sigmoid": nnx.sigmoid, "tanh": nnx.tanh, "selu": nnx.selu, "elu": nnx.elu}


class FlaxTrainer:
    """Its random numbers are states of the module's, and go with it."""

    def __init__(self, model: nnx.Module | None, options: Options, shape: tuple[int, ...], outputs: int) -> None:
        self.model: Any = Parts(options.network, shape, outputs, nnx.Rngs(options.seed)) if model is None else model
        self.layers = () if model is not None else tuple(
            f"activation{i + 1}" for i in range(options.network.depth))
        self._optimiser = nnx.Optimizer(self.model, optimiser(options.optimiser), wrt=nnx.Param)
        self.model.train()
        self._update = nnx.jit(_update)

    def step(self, x: np.ndarray, y: np.ndarray) -> None:
        self._update(self.model, self._optimiser, jnp.asarray(x), jnp.asarray(y))

    def arrays(self) -> dict[str, np.ndarray]:
        return as_arrays(self._all())

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        found = from_arrays(self._all(), arrays)
        nnx.update(self.model, found["model"])
        nnx.update(self._optimiser, found["optimiser"])

    def _all(self) -> dict[str, Any]:
        return {"model": nnx.state(self.model), "optimiser": nnx.state(self._optimiser)}


def _update(module: Any, memory: Any, x: jax.Array, y: jax.Array) -> None:
    memory.update(module, nnx.grad(lambda module: loss(module(x), y))(module))


class Parts(nnx.Module):
    """Parts are attributes, hidden1, norm1, activation1, dropout1, …, output, one after the other."""

    def __init__(self, network: Network, shape: tuple[int, ...], outputs: int, rngs: nnx.Rngs) -> None:
        self.is_convnet = network.kind == "convnet"
        if self.is_convnet and len(shape) != 3:
            raise InputError(f"a convnet is for images (C, H, W), got examples of shape {shape}")
        inputs, size = (shape[0] if self.is_convnet else math.prod(shape)), (shape[1:] if self.is_convnet else ())
        self.order: tuple[str, ...] = ()
        for i in range(1, network.depth + 1):
            self._add(f"hidden{i}", nnx.Conv(inputs, network.width, (3, 3), strides=2, padding=1, rngs=rngs)
                      if self.is_convnet else nnx.Linear(inputs, network.width, rngs=rngs))
            if network.batch_norm:
                self._add(f"norm{i}", nnx.BatchNorm(network.width, momentum=0.9, rngs=rngs))
            self._add(f"activation{i}", ACTIVATIONS[network.activation])
            if network.dropout:
                self._add(f"dropout{i}", nnx.Dropout(network.dropout, rngs=rngs))
            inputs, size = network.width, tuple((each + 1) // 2 for each in size)
        self.output = nnx.Linear(inputs * math.prod(size), outputs, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = jnp.moveaxis(x, 1, -1) if self.is_convnet else x.reshape(len(x), -1)  # Flax has channels last
        for name in self.order:
            x = getattr(self, name)(x)
        return self.output(x.reshape(len(x), -1))

    def _add(self, name: str, part: Any) -> None:
        setattr(self, name, part)
        self.order = (*self.order, name)
