"""Examples of several JAX arrays, or of truth values or complex numbers, as one array that every method takes.

An example's bytes are laid end to end, and the function takes them apart. So they are arguments of what is compiled,
new ones of the same shapes included, and no method differentiates them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from impls.given.network import check_numbers
from reference import InputError
from reference.case import DType


@dataclass(frozen=True)
class Packing:
    """How the bytes of an example are taken apart: a pytree of arrays, each of a shape and a dtype."""

    structure: Any
    leaves: tuple[tuple[tuple[int, ...], str], ...]

    def unpack(self, x: jax.Array) -> Any:
        """The examples (N, …) in the bytes (N, B)."""
        found, start = [], 0
        for shape, dtype in self.leaves:
            size = prod(shape) * _itemsize(dtype)
            found.append(_array(x[:, start:start + size], shape, dtype))
            start += size
        return self.structure.unflatten(found)


def is_structure(x: Any) -> bool:
    """Whether x is one batch of several inputs: a tuple, a dict, a dataclass or another pytree, but no list."""
    if is_dataclass(x) and not hasattr(x, "__iter__") and jax.tree_util.all_leaves([x]):
        raise InputError(f"inputs of class {type(x).__name__} are a dataclass that JAX does not know as a pytree; "
                         "register it with jax.tree_util.register_dataclass, or give a dict")
    return not isinstance(x, list | Iterator) and not jax.tree_util.all_leaves([x])


def pack(x: Any, what: str) -> tuple[jax.Array, Packing]:
    """The bytes (N, B) of examples, and how to take them apart. Raises `InputError` for unlike numbers of examples."""
    leaves, structure = jax.tree.flatten(x)
    sizes = [leaf.shape[0] if leaf.ndim else None for leaf in leaves]
    if len(set(sizes)) != 1 or sizes[0] is None:
        raise InputError(f"the arrays of {what} must have one number of examples on their first axes, got shapes "
                         f"{', '.join(str(leaf.shape) for leaf in leaves)}")
    packing = Packing(structure, tuple((leaf.shape[1:], str(leaf.dtype)) for leaf in leaves))
    return jnp.concatenate([_bytes(leaf) for leaf in leaves], axis=1), packing


def needs_packing(x: jax.Array) -> bool:
    """Truth values and complex numbers, which not every method takes as they are."""
    return bool(x.dtype == bool or jnp.issubdtype(x.dtype, np.complexfloating))


def as_array(x: Any, what: str, dtype: DType) -> Any:
    """One array in JAX's terms: floating-point numbers in that dtype, integers that JAX can hold. NumPy's stay so."""
    if not isinstance(x, np.ndarray | jax.Array):
        raise InputError(f"{what} must be a JAX or NumPy array for this model, got {type(x).__name__}")
    if isinstance(x, np.ma.MaskedArray):
        raise InputError(f"{what} is a masked array, whose mask JAX drops; give {what}.filled(...)")
    if isinstance(x, np.ndarray):
        x = np.ascontiguousarray(x, x.dtype.newbyteorder("=")).reshape(x.shape)  # JAX takes no other order of bytes
    if x.dtype == bool:
        return x
    if jnp.issubdtype(x.dtype, np.complexfloating):
        return x.astype("complex128" if dtype == "float64" else "complex64")
    is_float = bool(jnp.issubdtype(x.dtype, jnp.floating))
    check_numbers(str(x.dtype), is_float or bool(jnp.issubdtype(x.dtype, jnp.integer)), what)
    if is_float:
        if x.dtype.itemsize > np.dtype(dtype).itemsize:
            _check_range(x, what, float(jnp.finfo(dtype).max), dtype)
        return x.astype(dtype)
    held = jax.dtypes.canonicalize_dtype(x.dtype)
    if held != x.dtype:
        _check_range(x, what, np.iinfo(held).max, str(held))
    return x.astype(held)


def _check_range(x: Any, what: str, largest: float, dtype: str) -> None:
    if x.size and bool(((abs(x) > largest) & (x - x == 0)).any()):
        raise InputError(f"{what} holds numbers beyond {largest:.4g}, which {dtype} cannot hold; use fewer digits, or "
                         "parameters of float64 and jax_enable_x64")


def _itemsize(dtype: str) -> int:
    return jnp.dtype(dtype).itemsize


def _bytes(leaf: Any) -> jax.Array:
    leaf = jnp.asarray(leaf)
    n = leaf.shape[0]
    if leaf.dtype == bool:
        return leaf.astype("uint8").reshape(n, -1)
    if jnp.issubdtype(leaf.dtype, np.complexfloating):
        leaf = jnp.stack([leaf.real, leaf.imag], axis=-1)
    return jax.lax.bitcast_convert_type(leaf, jnp.uint8).reshape(n, -1)


def _array(x: jax.Array, shape: tuple[int, ...], dtype: str) -> jax.Array:
    n, of = x.shape[0], jnp.dtype(dtype)
    if of.kind == "b":
        return x.reshape(n, *shape).astype(bool)
    if jnp.issubdtype(of, np.complexfloating):
        parts = _array(x, (*shape, 2), "float32" if of.itemsize == 8 else "float64")
        return jax.lax.complex(parts[..., 0], parts[..., 1])
    if of.itemsize == 1:
        return jax.lax.bitcast_convert_type(x.reshape(n, *shape), of)
    return jax.lax.bitcast_convert_type(x.reshape(n, *shape, of.itemsize), of)
