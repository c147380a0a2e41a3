"""The contraction of two blocks of examples, term by term, as the plan says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from impls.structured.jax_factors import Arrays, Term, carried_inputs
from impls.structured.planner import Outputs, Product


def contract(terms: Sequence[Term], left: Arrays, right: Arrays, outputs: Outputs, dtype: Any) -> Any:
    """The kernel of two blocks of examples: (N, M, O, O), (N, M, O) or (N, M)."""
    total = None
    for term in terms:
        share = _term(term, left, right, outputs, dtype)
        total = share if total is None else total + share
    assert total is not None
    return total.transpose(0, 2, 1, 3) if outputs == "full" else total


def _term(term: Term, left: Arrays, right: Arrays, outputs: Outputs, dtype: Any) -> Any:
    """For "full" in the layout (N, O, M, O), in which the matrix products leave it."""
    if term.way == "gradient":
        return _inner(left[term.name], right[term.name], outputs)
    if term.way == "cross":
        pairs = [(left, right), (right, left)]
        first, second = (_cross(term, *pair, outputs, dtype) for pair in pairs)
        return first + second.transpose({"full": (2, 3, 0, 1), "diagonal": (1, 0, 2), "trace": (1, 0)}[outputs])
    a, a2 = (_inflow(side[f"{term.name}.a"], term.product) for side in (left, right))
    if term.way == "top":
        return _top(term, a, a2, outputs, dtype)
    g, g2 = (_cotangent(side[f"{term.name}.g"], term.product) for side in (left, right))
    gram = _input_gram(term, a, a2, dtype)
    return _half(gram, g, g2) if term.way == "half" else _gram(gram, g, g2, outputs)


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
    product, group = term.product, term.group
    assert group is not None
    if product.lookup:
        return _equal(a[:, :, None, None], a2[None, None], dtype)[None]
    if product.shared == product.positions == 1:
        gram = _matmul(a[:, 0, 0], a2[:, 0, 0])[None, :, None, :, None]
    else:
        gram = jnp.einsum("nsti,msui->sntmu", a, a2)
    if not group.carried:
        return gram
    values = carried_inputs(group)
    return gram + jnp.asarray((values.T @ values)[:, None, :], dtype)


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
    return jnp.einsum("nostj,nmpstj->nomp", g, jnp.einsum("sntmu,mpsuj->nmpstj", gram, g2))


def _top(term: Term, a: Any, a2: Any, outputs: Outputs, dtype: Any) -> Any:
    """With the identity for g, pairs of outputs (s, t, j), (s', u, k) meet only where s = s' and j = k."""
    product, group = term.product, term.group
    assert group is not None
    assert group.top is not None
    (use,) = group.uses
    S, T, J = product.shared, product.positions, product.outputs
    scale = group.top**2 * (use.view.scale**2 if product.lookup else 1.0)
    place = np.argsort(use.arrange(np.arange(S * T * J).reshape(use.y.shape)).ravel())  # of each output in (s, t, j)
    if outputs == "full":
        gram = scale * _input_gram(term, a, a2, dtype).transpose(1, 0, 2, 3, 4)  # (N, S, T, M, T)
        same = (jnp.eye(S, dtype=dtype)[:, None, None, None, :, None, None]
                * jnp.eye(J, dtype=dtype)[:, None, None, None, :])
        wide = gram[:, :, :, None, :, None, :, None] * same
        wide = wide.reshape(len(a), S * T * J, len(a2), S * T * J)
        return wide if (place == np.arange(len(place))).all() else wide[:, place][..., place]
    gram = scale * _same_position_gram(term, a, a2, dtype)
    if outputs == "trace":
        return J * gram.sum((2, 3))
    return jnp.repeat(gram.reshape(len(a), len(a2), S * T), J, 2)[..., place]


def _same_position_gram(term: Term, a: Any, a2: Any, dtype: Any) -> Any:
    """(N, M, S, T)."""
    assert term.group is not None
    if term.product.lookup:
        return _equal(a[:, None, None], a2[None, :, None], dtype)
    gram = jnp.einsum("nsti,msti->nmst", a, a2)
    return gram + jnp.asarray((carried_inputs(term.group)**2).sum(0), dtype) if term.group.carried else gram


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
