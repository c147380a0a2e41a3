"""Products with Jacobians in JAX, K v = J₁ (J₂ᵀ v), by passes through blocks of examples: for `impls.own.operator`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.core
import jax.numpy as jnp
from jax.extend.core import Jaxpr

from impls.frameworks.jax.support import Batched, flat_outputs, jaxprs_in, precision
from impls.frameworks.jax.xla import compiled
from impls.given.network import OwnNetwork

CHECKED = (2,)
"""Numbers of vectors: of one, JAX would compile a program more, of the same function."""


class Passes(NamedTuple):
    """A backward pass, and forward mode along what it gave; one program for all blocks."""

    own: OwnNetwork

    def __str__(self) -> str:
        return "a backward pass and forward mode, several vectors at once"

    def multiply(self, left: jax.Array, right: jax.Array, vectors: jax.Array, block: int) -> jax.Array:
        """J(left) J(right)ᵀ v of each v of `vectors` (k, n2, O), in blocks of that many examples: (k, n1, O). Inside
        another program a part of that."""
        program = _inside if is_traced(vectors) else _alone
        with precision(self.own.dtype):
            return program(self.own.f, self.own.params, left, right, vectors, block)


def _multiply(f: Batched, params: Any, left: jax.Array, right: jax.Array, vectors: jax.Array, block: int) -> jax.Array:
    def outputs(x: jax.Array) -> Callable[[Any], jax.Array]:
        return lambda params: flat_outputs(f(params, x), len(x))

    def pulled(x: jax.Array, some: jax.Array) -> Any:
        pull = jax.vjp(outputs(x), params)[1]
        return _each(lambda v: pull(v)[0], some)

    gradients = _summed(pulled, right, vectors, block)

    def pushed(x: jax.Array) -> jax.Array:
        return _each(lambda g: jax.jvp(outputs(x), (params,), (g,))[1], gradients)

    return _joined(pushed, left, block)


_alone = partial(compiled, jit=eqx.filter_jit, in_turn=True)(_multiply)
_inside = eqx.filter_jit(_multiply)


def _each(function: Callable[[Any], Any], some: Any) -> Any:
    """For each on the first axis; of one alone products have no axis more."""
    if len(jax.tree.leaves(some)[0]) > 1:
        return jax.vmap(function)(some)
    return jax.tree.map(lambda leaf: leaf[None], function(jax.tree.map(lambda leaf: leaf[0], some)))


def _summed(pulled: Callable[..., Any], x: jax.Array, vectors: jax.Array, block: int) -> Any:
    """Over the blocks. The last one is filled up with examples whose cotangents are 0."""
    if len(x) <= block:
        return pulled(x, vectors)
    k, _, n_outputs = vectors.shape
    blocks = _in_blocks(x, block)
    filled = jnp.pad(vectors, ((0, 0), (0, blocks.shape[0] * block - len(x)), (0, 0)))
    cotangents = filled.reshape(k, -1, block, n_outputs).swapaxes(0, 1)
    start = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
                         jax.eval_shape(pulled, blocks[0], cotangents[0]))
    return jax.lax.scan(lambda total, each: (jax.tree.map(jnp.add, total, pulled(*each)), None), start,
                        (blocks, cotangents))[0]


def _joined(pushed: Callable[[jax.Array], jax.Array], x: jax.Array, block: int) -> jax.Array:
    if len(x) <= block:
        return pushed(x)
    found = jax.lax.map(pushed, _in_blocks(x, block)).swapaxes(0, 1)  # (k, blocks, block, O)
    return found.reshape(len(found), -1, found.shape[-1])[:, :len(x)]


def _in_blocks(x: jax.Array, block: int) -> jax.Array:
    """(blocks, block, …), the last one filled up with the first examples."""
    number = -(-len(x) // block)
    return jnp.concatenate([x, x[:number * block - len(x)]]).reshape(number, block, *x.shape[1:])


def ways(own: OwnNetwork) -> list[Any]:
    """Those to try, the fastest first."""
    return [Passes(own)]


def bytes_of_pass(own: OwnNetwork) -> tuple[float, float]:
    """That the operations of a forward pass write for each example, and for none of them."""
    with precision(own.dtype):
        one, two = (_written(jax.make_jaxpr(own.f)(own.params, own.x1[:1].repeat(n, 0)).jaxpr) for n in (1, 2))
    return max(two - one, 0.0), max(2 * one - two, 0.0)


def _written(jaxpr: Jaxpr) -> float:
    """Of a loop what one turn writes, and what all of them do of results that are kept."""
    return sum(max(sum(_bytes(var) for var in eqn.outvars), *map(_written, jaxprs_in(eqn.params)), 0.0)
               for eqn in jaxpr.eqns)


def _bytes(var: Any) -> float:
    return float(var.aval.size * var.aval.dtype.itemsize) if hasattr(var.aval, "size") else 0.0


def vector(own: OwnNetwork, v: Any) -> jax.Array:
    """`v`, an array of JAX's or NumPy's, in the parameters' dtype, on their device."""
    with precision(own.dtype):
        where = jax.tree.leaves(own.params)[0].sharding
        return jnp.asarray(v, own.dtype) if isinstance(v, jax.Array) else jax.device_put(v.astype(own.dtype), where)


def is_ours(v: Any) -> bool:
    return isinstance(v, jax.Array)


def is_traced(v: jax.Array) -> bool:
    """Whether it has no numbers yet: inside jax.jit, and so in `lax.while_loop` of a solver."""
    return isinstance(v, jax.core.Tracer)


def joined(parts: Sequence[jax.Array], axis: int) -> jax.Array:
    return jnp.concatenate(parts, axis)
