"""What every JAX adapter needs: precision, device, and a network as one function of its parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Primitive

from impls.frameworks.jax import params as jax_params
from reference import InputError, Request

Batched = Callable[[Any, jax.Array], jax.Array]
"""``f(params, x)`` for x of shape (N, …), with an answer of shape (N, …)."""


@contextmanager
def apart() -> Iterator[None]:
    """Inside, what the caller has switched on around against slips of its own neither stops a computation nor changes
    it: ranks may differ in a product, constants go to devices, and what is not finite is looked for in what is asked
    for, not in what is computed on the way and not taken."""
    with (jax.numpy_rank_promotion("allow"), jax.transfer_guard("allow"), jax.debug_nans(False),
          jax.debug_infs(False)):
        yield


@contextmanager
def precision(dtype: str) -> Iterator[None]:
    """Inside, float64 exists where `dtype` asks for it, and matrix products and convolutions keep all their bits.

    "highest" rules out TF32 on CUDA. Both settings are this thread's and end with the block. A function compiled inside
    must be called inside, else it is compiled anew. And `apart`.
    """
    with ExitStack() as stack:
        stack.enter_context(apart())
        if dtype == "float64":
            stack.enter_context(jax.enable_x64(True))
        stack.enter_context(jax.default_matmul_precision("highest"))
        yield


def widest(tree: Any) -> str:
    """The precision of the arrays of a pytree: "float64" where any is of that, or a complex one of such."""
    kinds = {str(leaf.dtype) for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype")}
    return "float64" if kinds & {"float64", "complex128"} else "float32"


def device(name: str) -> jax.Device:  # pyright: ignore[reportInvalidTypeForm]  (jax exports it as a variable)
    """The first device of that name, "cpu" or "cuda"; `InputError` where there is none."""
    try:
        return jax.devices(name)[0]
    except RuntimeError as error:
        raise InputError(f"device={name!r}: JAX has no such device here (it has {jax.default_backend()!r}); "
                         'use device="cpu", or install JAX for it, e.g. pip install "jax[cuda12]"') from error


def place(tree: Any, request: Request, beside: Any = None) -> Any:
    """The pytree with every floating-point array in the request's dtype, and all arrays on its device: of several of
    that kind on the one where the arrays of `beside` are."""
    there = [leaf.sharding for leaf in jax.tree.leaves(beside) if isinstance(leaf, jax.Array)]
    target = there[0] if there else device(request.device)

    def place_one(leaf: Any) -> Any:
        if not _is_array(leaf):
            return leaf
        return jax.device_put(leaf.astype(request.dtype) if _is_float(leaf) else leaf, target)

    return jax.tree.map(place_one, tree)


def random_key(seed: int) -> jax.Array:
    """The key of all 64 bits of a seed; `jax.random.key` takes the last 32 alone where there is no float64."""
    words = np.array([seed >> 32 & 0xFFFFFFFF, seed & 0xFFFFFFFF], np.uint32)
    return jax.random.wrap_key_data(jnp.asarray(words), impl="threefry2x32")


def leaf_names(tree: Any) -> list[str]:
    """The leaves' places in the pytree, such as "layers.0.weight", in its order."""
    return jax_params.leaf_names(path for path, _ in jax.tree_util.tree_leaves_with_path(tree))


def with_others_frozen(f: Batched, params: Any, index: int) -> Batched:
    """f as a function of that leaf of the parameters alone."""
    leaves, structure = jax.tree.flatten(params)

    def f_of_one(leaf: jax.Array, x: jax.Array) -> jax.Array:
        return f(structure.unflatten([*leaves[:index], leaf, *leaves[index + 1:]]), x)

    return f_of_one


def flat_outputs(y: Any, n_examples: int) -> jax.Array:
    """What a batched f returned, as (N, O): trailing axes flattened in C order, none meaning O = 1; a complex output is
    two, its real and its imaginary part.

    Raises `InputError` unless it is one floating-point array with N first. Works while tracing, and costs nothing once
    compiled.
    """
    if not isinstance(y, jax.Array):
        raise InputError(f"the network must return one array, got {type(y).__name__}; select the output, e.g. "
                         "lambda params, x: f(params, x)[0]")
    if not jnp.issubdtype(y.dtype, np.inexact):
        raise InputError(f"the network returns {y.dtype}; the kernel is defined for floating-point and complex outputs")
    if y.ndim == 0 or y.shape[0] != n_examples:
        raise InputError(f"given a batch of {n_examples} the network returns shape {y.shape}; f(params, x) takes a "
                         "batch and returns one row for each example (an Equinox module takes one example)")
    if jnp.issubdtype(y.dtype, np.complexfloating):
        y = jnp.stack([y.real, y.imag], axis=-1)
    return y.reshape(n_examples, -1)


def trainable(f: Callable[[Any, Any], Any], params: Any) -> tuple[Batched, Any]:
    """`f` as a function of those leaves of `params` that are parameters, {name: array}; the others stay inside `f`.

    See `impls.frameworks.jax.params` for which they are; complex ones are pairs of real ones.
    """
    some, leaves = jax_params.split(f, params)
    return some, jax_params.arrays(leaves)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray | np.generic | jax.Array)


def _is_float(array: Any) -> bool:
    return bool(jnp.issubdtype(array.dtype, np.floating))


def bind(primitive: Primitive, params: Mapping[str, Any], values: Sequence[Any]) -> Any:
    """Apply a primitive with the parameters of an equation, as JAX's own interpreters do.

    `get_bind_params` gives functions and parameters before JAX 0.9, and parameters alone since.
    """
    bound: Any = primitive.get_bind_params(dict(params))
    functions, bound = bound if isinstance(bound, tuple) else ([], bound)
    return primitive.bind(*functions, *values, **bound)


def jaxprs_in(params: Mapping[str, Any]) -> Iterator[Jaxpr]:
    """Those that an equation has among its parameters; `jax.extend.core` has a function for it since JAX 0.10."""
    for value in params.values():
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Jaxpr):
                yield part
            elif isinstance(part, ClosedJaxpr):
                yield part.jaxpr
