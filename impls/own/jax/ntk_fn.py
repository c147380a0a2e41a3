"""The kernel of a JAX function as a JAX function: jitted, mapped and differentiated like any other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.core
import jax.numpy as jnp

from impls.frameworks.jax.contraction import contract
from impls.frameworks.jax.loops import jacobian
from impls.frameworks.jax.support import Batched, apart, flat_outputs, precision, widest
from impls.frameworks.jax.xla import compiled
from impls.structured.jax.engine import Engine
from reference import InputError
from reference.case import Outputs


def kernel_function(f: Batched, outputs: Outputs, method: str) -> Callable[[Any, Any, Any], jax.Array]:
    """``kernel(params, x1, x2)``. By itself it is compiled as this project compiles; inside another program, with that.

    Matrix products keep all their bits in both.
    """
    compute = {"structured_jax": _structured, "equinox.exact": _contraction}[method]

    def kernel(params: Any, x1: Any, x2: Any) -> jax.Array:
        leaves, rebuild = _trainable(params)
        for what, x in (("x1", x1), ("x2", x2)):
            if not jax.tree_util.all_leaves([x]) and x is not None:
                raise InputError(f"{what} must be an array, got {type(x).__name__}; of a model of several inputs, make "
                                 "one that takes them in one array, or use impls.ntk")
        x1, x2 = jnp.asarray(x1), None if x2 is None else jnp.asarray(x2)
        _check(leaves, x1, x2)
        with jax.default_matmul_precision("highest"):
            return compute(lambda some, x: f(rebuild(some), x), leaves, x1, x2, outputs)

    alone, inside = compiled(kernel), jax.jit(kernel)

    @apart()
    def call(params: Any, x1: Any, x2: Any) -> jax.Array:
        new = jnp.zeros(())  # it belongs to the program around, if there is one
        if not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((params, x1, x2, new))):
            try:
                with precision(widest(params)):
                    return alone(params, x1, x2)
            except InputError as error:
                if not isinstance(error.__cause__, ValueError):  # else f holds what a program around differentiates
                    raise
        return inside(params, x1, x2)

    return call


def _structured(f: Batched, leaves: list[Any], x1: Any, x2: Any, outputs: Outputs) -> jax.Array:
    device = "cuda" if jax.default_backend() == "gpu" else "cpu"
    engine = Engine(f, leaves, x1, x2, outputs=outputs, device=device, plain=True)
    return engine.pure(leaves, x1, x2)


def _contraction(f: Batched, leaves: list[Any], x1: Any, x2: Any, outputs: Outputs) -> jax.Array:
    def of_examples(x: Any) -> Any:
        return jax.vmap(lambda example: jacobian(lambda some: one(some, example), leaves, forward=few))(x)

    def one(some: list[Any], example: Any) -> jax.Array:
        return flat_outputs(f(some, example[None]), 1)[0]

    few = sum(leaf.size for leaf in leaves) < jax.eval_shape(one, leaves, x1[0]).size
    return contract(of_examples(x1), None if x2 is None else of_examples(x2), outputs)


def _trainable(params: Any) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """The floating-point leaves, of complex ones both parts; and how to make `params` of them again."""
    given, structure = jax.tree.flatten(params)
    is_float = [jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in given]
    is_complex = [jnp.issubdtype(jnp.result_type(leaf), jnp.complexfloating) for leaf in given]
    leaves = [part for leaf, real, pair in zip(given, is_float, is_complex, strict=True) if real or pair
              for part in ((jnp.asarray(leaf),) if real else (jnp.real(leaf), jnp.imag(leaf)))]

    def rebuild(some: list[Any]) -> Any:
        parts = iter(some)
        return structure.unflatten([next(parts) if real else jax.lax.complex(next(parts), next(parts)) if pair else leaf
                                    for leaf, real, pair in zip(given, is_float, is_complex, strict=True)])

    return leaves, rebuild


def _check(leaves: list[Any], x1: Any, x2: Any) -> None:
    if not leaves:
        raise InputError("params hold no floating-point array, so there is no tangent kernel")
    for name, x in (("x1", x1), ("x2", x2)):
        if x is not None and (x.ndim == 0 or 0 in x.shape):
            raise InputError(f"{name} is empty (shape {x.shape}); it needs at least one example on its first axis")
    if x2 is not None and x1.shape[1:] != x2.shape[1:]:
        raise InputError(f"x1 and x2 must hold examples of one shape, got {x1.shape} and {x2.shape}")
