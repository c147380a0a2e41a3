"""One operation of JAX in a program."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Primitive

from impls.frameworks.jax import support as jax_support
from impls.programs import program
from impls.programs.program import Constant, Operand, Read, Value


@dataclass(frozen=True, eq=False)
class Step:
    """One operation; see `program.Step`."""

    primitive: Primitive
    params: Mapping[str, Any]
    inputs: tuple[Operand, ...]
    outputs: tuple[Value, ...]
    writes: bool = False

    @property
    def name(self) -> str:
        return self.primitive.name

    @property
    def said(self) -> str:
        """As a person calls it: a function with a derivative of its own (jax.custom_jvp, custom_vjp) by its name."""
        body = self.params.get("call_jaxpr")
        named = getattr(getattr(body, "jaxpr", body), "debug_info", None)
        return self.name if named is None else f"{named.func_name}, whose derivative is given by itself"

    @property
    def key(self) -> Hashable:
        constants = tuple(np.asarray(o.value).tolist() for o in self.inputs if isinstance(o, Constant))
        return self.name, repr(sorted(self.params.items(), key=lambda item: item[0])), constants

    @property
    def permutation(self) -> tuple[int, ...] | None:
        return tuple(self.params["permutation"]) if self.name == "transpose" else None

    def rearranged(self, array: np.ndarray) -> np.ndarray:
        """In NumPy where that is quickly said: each operation that JAX runs by itself is compiled first."""
        params, shape = self.params, self.outputs[0].shape
        match self.name:
            case "squeeze" | "expand_dims":
                return array.reshape(shape)
            case "reshape" if params["dimensions"] is None:
                return array.reshape(shape)
            case "transpose":
                return array.transpose(params["permutation"])
            case "rev":
                return np.flip(array, params["dimensions"])
            case "slice":
                strides = params["strides"] or (1,) * array.ndim
                return array[tuple(map(slice, params["start_indices"], params["limit_indices"], strides))]
            case "broadcast_in_dim" if len(self.inputs) == 1:
                axes = params["broadcast_dimensions"]
                wide = [array.shape[axes.index(axis)] if axis in axes else 1 for axis in range(len(shape))]
                return np.broadcast_to(array.reshape(wide), shape)
        constants = [operand.value for operand in self.inputs if isinstance(operand, Constant)]
        with jax.ensure_compile_time_eval():
            return np.asarray(bind(self.primitive, self.params, [jnp.asarray(array), *constants])[0])

    def __call__(self, read: Read) -> list[Any]:
        return bind(self.primitive, self.params, [read(operand) for operand in self.inputs])


Program = program.Program[Step]

CALLS = ("jit", "closed_call", "core_call")


def body_of(params: Mapping[str, Any]) -> ClosedJaxpr:
    """Of a call."""
    body = params["jaxpr" if "jaxpr" in params else "call_jaxpr"]
    return ClosedJaxpr(body, ()) if isinstance(body, Jaxpr) else body


def bind(primitive: Primitive, params: Mapping[str, Any], values: Sequence[Any]) -> list[Any]:
    """Apply a primitive, as JAX's own interpreters do (docs: "Writing custom Jaxpr interpreters")."""
    answer = jax_support.bind(primitive, params, values)
    return list(answer) if primitive.multiple_results else [answer]
