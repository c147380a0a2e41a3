"""The contraction of two blocks of examples, term by term, as the plan says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from impls.structured.passes import Arrays
from impls.structured.planner import Outputs, Product
from impls.structured.terms import Term

SUM = -1
"""The key of the kernel that is no single parameter's."""


def contract(terms: Sequence[Term], left: Arrays, right: Arrays, outputs: Outputs, dtype: Any, *,
             apart: bool) -> dict[int, Any]:
    """The kernel of two blocks of examples; `apart`: that of each parameter.

    (N, O, M, O), in which the matrix products leave it, (N, M, O) or (N, M).
    """
    total: dict[int, Any] = {}
    for term in terms:
        key = term.owner if apart and term.owner is not None else SUM
        share = _share(term, left, right, outputs, dtype)
        total[key] = total[key] + share if key in total else share
    return total


def _share(term: Term, left: Arrays, right: Arrays, outputs: Outputs, dtype: Any) -> Any:
    if term.way == "gradient":
        return _inner(left[term.name], right[term.name], outputs)
    if term.way == "cross":
        first, second = (_cross(term, *pair, outputs, dtype) for pair in ((left, right), (right, left)))
        return first + second.transpose({"full": (2, 3, 0, 1), "diagonal": (1, 0, 2), "trace": (1, 0)}[outputs])
    if term.way == "separable":
        return _separable(term, left, right, outputs, dtype)
    a, a2 = (_inflow(side[f"{term.name}.a"], term.product) for side in (left, right))
    if term.way == "top":
        gram = (_input_gram if outputs == "full" else _same_position_gram)(term, a, a2, dtype)
        return _top(term, gram, outputs, dtype)
    g, g2 = (_cotangent(side[f"{term.name}.g"], term.product) for side in (left, right))
    gram = _input_gram(term, a, a2, dtype)
    return _half(gram, g, g2) if term.way == "half" else _gram(gram, g, g2, outputs)


def _separable(term: Term, left: Arrays, right: Arrays, outputs: Outputs, dtype: Any) -> Any:
    """Σ_{s,j} c[o] c[o'] F[n,m], where F is symmetric in the examples and c c' in the outputs."""
    c = left[f"{term.name}.c"]
    o, p = np.triu_indices(len(c))
    weights = {"full": c[o] * c[p], "diagonal": c * c, "trace": jnp.sum(c * c, 0, keepdims=True)}[outputs]
    found = _weighted(weights, *(side[f"{term.name}.{'d' if term.product.single else 'e'}"] for side in (left, right)))
    if term.product.single:
        a, a2 = (_inflow(side[f"{term.name}.a"], term.product) for side in (left, right))
        found = found * _input_gram(term, a, a2, dtype)[0, :, 0, :, 0, None]
    if outputs != "full":
        return found if outputs == "diagonal" else found[..., 0]
    place = np.zeros((len(c), len(c)), np.int32)
    place[o, p] = place[p, o] = np.arange(len(o))
    return found[..., place].transpose(0, 2, 1, 3)


def _weighted(weights: Any, d: Any, d2: Any) -> Any:
    """(N, M, W) from (W, J), and (N, J) or (N, J, I)."""
    if len(weights) == 1:
        rows = d * (weights[0] if d.ndim == 2 else weights[0, :, None])
        return _matmul(rows.reshape(len(d), -1), d2.reshape(len(d2), -1))[..., None]
    pairs = d[:, None] * d2 if d.ndim == 2 else jnp.einsum("nji,mji->nmj", d, d2)
    return _matmul(pairs.reshape(-1, weights.shape[1]), weights).reshape(len(d), len(d2), -1)


def _inflow(a: Any, product: Product) -> Any:
    """(N, S, T, I), or (N, T) row numbers."""
    return a if product.lookup else a.reshape(len(a), product.shared, product.positions, product.inputs)


def _cotangent(g: Any, product: Product) -> Any:
    """(N, O, S, T, J)."""
    return g.reshape(*g.shape[:2], product.shared, product.positions, product.outputs)


def _inner(d: Any, d2: Any, outputs: Outputs) -> Any:
    """Inner products of (N, O, P) and (M, O, P)."""
    if outputs == "full":
        return _matmul(d.reshape(-1, d.shape[-1]), d2.reshape(-1, d2.shape[-1])).reshape(*d.shape[:2], *d2.shape[:2])
    if outputs == "diagonal":
        return jnp.einsum("nok,mok->nmo", d, d2)
    return _matmul(d.reshape(len(d), -1), d2.reshape(len(d2), -1))


def _matmul(a: Any, b: Any) -> Any:
    """a bᵀ, as the one call that every backend has: `einsum` would bring transposed copies along."""
    return jax.lax.dot_general(a, b, (((1,), (1,)), ((), ())))


def _input_gram(term: Term, a: Any, a2: Any, dtype: Any) -> Any:
    """(S, N, T, M, T): a·a' at each pair of positions, with the carried biases."""
    product = term.product
    if product.lookup:
        return _equal(a[:, :, None, None], a2[None, None], dtype)[None]
    if product.single:
        gram = _matmul(a[:, 0, 0], a2[:, 0, 0])[None, :, None, :, None]
    else:
        gram = jnp.einsum("nsti,msui->sntmu", a, a2)
    if (values := term.carried_inputs) is None:
        return gram
    return gram + jnp.asarray((values.T @ values)[:, None], gram.dtype)


def _same_position_gram(term: Term, a: Any, a2: Any, dtype: Any) -> Any:
    """(N, M, S, T), likewise."""
    if term.product.lookup:
        return _equal(a[:, None, None], a2[None, :, None], dtype)
    gram = jnp.einsum("nsti,msti->nmst", a, a2)
    values = term.carried_inputs
    return gram if values is None else gram + jnp.asarray((values**2).sum(0), gram.dtype)


def _equal(rows: Any, rows2: Any, dtype: Any) -> Any:
    """1 where two lookups take the same row; a row of −1 is none."""
    return ((rows == rows2) & (rows >= 0)).astype(dtype)


def _gram(gram: Any, g: Any, g2: Any, outputs: Outputs) -> Any:
    if outputs == "full":
        if g.shape[2] == g.shape[3] == 1:
            return gram[0, :, 0, :, 0][:, None, :, None] * _inner(g[:, :, 0, 0], g2[:, :, 0, 0], outputs)
        return jnp.sum(gram[:, :, None, :, :, None] * jnp.einsum("nostj,mpsuj->snotmpu", g, g2), (0, 3, 6))
    if outputs == "diagonal":
        summed = jnp.sum(gram[:, None] * jnp.einsum("nostj,mosuj->sontmu", g, g2), (0, 3, 5))
        return summed.transpose(1, 2, 0)
    if g.shape[2] == g.shape[3] == 1:
        return gram[0, :, 0, :, 0] * _inner(g, g2, outputs)
    return jnp.sum(gram * jnp.einsum("nostj,mosuj->sntmu", g, g2), (0, 2, 4))


def _half(gram: Any, g: Any, g2: Any) -> Any:
    """(N, O, M, O). Everything stays in the order in which it comes, or is moved in runs of T·J numbers.

    `einsum` would transpose the cotangents of both sides, and what lies between: twice the time of the products (seen:
    XLA's CPU backend, jaxlib 0.10.2). So the grams, which are smaller, are repeated for each output instead.
    """
    (N, O, S, T, J), M = g.shape, len(g2)
    rows = gram.transpose(3, 0, 4, 1, 2).reshape(M, 1, S, T, N * T)
    rows = jnp.broadcast_to(rows, (M, O, S, T, N * T))
    pushed = jax.lax.dot_general(rows, g2, (((3,), (3,)), ((0, 1, 2), (0, 1, 2))))
    pushed = pushed.reshape(M, O, S, N, T, J).transpose(3, 0, 1, 2, 4, 5).reshape(N, M * O, S * T * J)
    kernel = jax.lax.dot_general(g.reshape(N, O, S * T * J), pushed, (((2,), (2,)), ((0,), (0,))))
    return kernel.reshape(N, O, M, O)


def _top(term: Term, gram: Any, outputs: Outputs, dtype: Any) -> Any:
    """With the identity for g, pairs of outputs (s, t, j), (s', u, k) meet only where s = s' and j = k."""
    product, place = term.product, term.order
    S, T, J, scale = product.shared, product.positions, product.outputs, term.top_scale
    if outputs == "full":
        N, M = gram.shape[1], gram.shape[3]
        same = (jnp.eye(S, dtype=dtype)[:, None, None, None, :, None, None]
                * jnp.eye(J, dtype=dtype)[:, None, None, None, :])
        wide = (scale * gram.transpose(1, 0, 2, 3, 4))[:, :, :, None, :, None, :, None] * same
        wide = wide.reshape(N, S * T * J, M, S * T * J)
        return wide if place is None else wide[:, place][..., place]
    if outputs == "trace":
        return scale * J * gram.sum((2, 3))
    wide = scale * jnp.repeat(gram.reshape(*gram.shape[:2], S * T), J, 2)
    return wide if place is None else wide[..., place]


def _cross(term: Term, left: Arrays, right: Arrays, outputs: Outputs, dtype: Any) -> Any:
    """Between the first use on the left and the transposed one on the right: Σ_{t,u} (g_t·a'_u) (a_t·g'_u)."""
    assert term.group is not None
    assert term.other is not None
    a, a2 = (_dense(side[f"{term.name}.{k}.a"], group.product, dtype)
             for k, (side, group) in enumerate(((left, term.group), (right, term.other))))
    g, g2 = (_cotangent(side[f"{term.name}.{k}.g"], group.product)[:, :, 0]
             for k, (side, group) in enumerate(((left, term.group), (right, term.other))))
    outer, inner = jnp.einsum("notj,muj->notmu", g, a2), jnp.einsum("nti,mpui->ntmpu", a, g2)
    if outputs == "full":
        return jnp.einsum("notmu,ntmpu->nomp", outer, inner)
    return jnp.einsum("notmu,ntmou->nmo" if outputs == "diagonal" else "notmu,ntmou->nm", outer, inner)


def _dense(a: Any, product: Product, dtype: Any) -> Any:
    """(N, T, I), row numbers written out as one-hot."""
    return jax.nn.one_hot(a, product.inputs, dtype=dtype) if product.lookup else _inflow(a, product)[:, 0]
