"""A JAX function for the PyTorch methods: one operation of PyTorch's, whose derivatives JAX takes.

PyTorch's autograd, `torch.func.vmap` and `jvp` ask an operation for its rules; each rule is a JAX transformation of the
function, and again such an operation, so that they nest as far as PyTorch asks. Only methods that take any function of
the parameters can use it: those that read a module's layers find none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import Tensor

from impls.frameworks.crossing.torch_in_jax import to_jax, to_torch
from impls.frameworks.jax.support import Batched, flat_outputs, leaf_names
from impls.frameworks.jax.support import precision as jax_precision
from impls.frameworks.torch.support import Forward, Params


def crossed(f: Batched, params: Any, x1: jax.Array, x2: jax.Array | None
            ) -> tuple[Forward, Params, Tensor, Tensor | None]:
    """f, its parameters by their places in the pytree ("layers.0.weight"), and the examples in PyTorch, on the CPU."""
    leaves, structure = jax.tree.flatten(params)
    operation = Operation(lambda *arrays: (
        flat_outputs(f(structure.unflatten(list(arrays[:-1])), arrays[-1]), len(arrays[-1])),))

    def in_torch(params: Params, x: Tensor) -> Tensor:
        return operation(*params.values(), x)[0]

    named = {name: to_torch(leaf) for name, leaf in zip(leaf_names(params), leaves, strict=True)}
    return in_torch, named, to_torch(x1), None if x2 is None else to_torch(x2)


class Operation:
    """A function of JAX arrays, with a tuple of arrays for an answer, as one operation on tensors."""

    def __init__(self, function: Callable[..., tuple[jax.Array, ...]]) -> None:
        self.function = function
        self._mapped: dict[tuple[int | None, ...], Operation] = {}

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return _Apply.apply(self, *tensors)  # pyright: ignore[reportReturnType]

    def run(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        dtype = "float64" if any(t.dtype == torch.float64 for t in tensors) else "float32"
        with jax_precision(dtype):
            return tuple(to_torch(array) for array in self.compiled(*map(to_jax, tensors)))

    @cached_property
    def compiled(self) -> Any:
        return jax.jit(self.function)

    @cached_property
    def pullback(self) -> Operation:
        """Of inputs, then cotangents; gradients of all inputs, zeros for integers."""

        def pull(n_inputs: int, *arrays: jax.Array) -> tuple[jax.Array, ...]:
            inputs, cotangents = arrays[:n_inputs], arrays[n_inputs:]
            gradients = jax.vjp(self.function, *inputs)[1](tuple(cotangents))
            return tuple(jnp.zeros(x.shape) if g.dtype == jax.dtypes.float0 else g
                         for g, x in zip(gradients, inputs, strict=True))

        return Operation(lambda n, *arrays: pull(len(arrays) - n.shape[0], *arrays))

    @cached_property
    def pushforward(self) -> Operation:
        """Of inputs, then as many tangents."""

        def push(*arrays: jax.Array) -> tuple[jax.Array, ...]:
            half = len(arrays) // 2
            tangents = (t if jnp.issubdtype(x.dtype, jnp.floating) else np.zeros(x.shape, jax.dtypes.float0)
                        for x, t in zip(arrays[:half], arrays[half:], strict=True))
            return jax.jvp(self.function, arrays[:half], tuple(tangents))[1]

        return Operation(push)

    def mapped(self, axes: Sequence[int | None]) -> Operation:
        """Over those axes of the inputs, None for an input that is the same for all; the first axis of the outputs."""
        key = tuple(axes)
        if key not in self._mapped:
            self._mapped[key] = Operation(jax.vmap(self.function, in_axes=key))
        return self._mapped[key]


class _Apply(torch.autograd.Function):
    @staticmethod
    def forward(operation: Operation, *tensors: Tensor) -> tuple[Tensor, ...]:
        return operation.run(*tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.operation, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        inputs = ctx.saved_tensors
        count = torch.empty(len(cotangents), 0)  # how many of the arrays are cotangents is in its shape
        gradients = ctx.operation.pullback(count, *inputs, *cotangents)
        return None, *(g if x.is_floating_point() else None for g, x in zip(gradients, inputs, strict=True))

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        inputs, tangents = ctx.saved_tensors, grad_inputs[1:]
        filled = (torch.zeros_like(x) if t is None else t for x, t in zip(inputs, tangents, strict=True))
        return ctx.operation.pushforward(*inputs, *filled)

    @staticmethod
    def vmap(info: Any, in_dims: Sequence[int | None], *args: Any) -> Any:
        operation, *tensors = args
        answers = operation.mapped(in_dims[1:])(*tensors)
        return answers, (0,) * len(answers)
