"""The contraction of two panels of examples, term by term, as the plan says.

The kernel is made in the layout (O, N, O, M), the trace in (N, M), the diagonal in (O, N, M): as the backward pass
leaves the cotangents, so that a dense layer's share is one matrix product, multiplied into the kernel while it is in
the caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from impls.structured.passes import Arrays
from impls.structured.planner import Outputs, Plan, Product
from impls.structured.terms import Term
from impls.structured.torch import separable
from impls.structured.torch.gradients import carried_inputs
from impls.structured.torch.rows import add_product, add_symmetric, slices, starts
from impls.structured.torch.sizes import Sizes


@dataclass(frozen=True)
class Contraction:
    """What is contracted; of the plan the outputs, and how many pairs of examples at once where positions have to be
    summed over."""

    terms: Sequence[Term]
    plan: Plan
    sizes: Sizes
    pairs: separable.Pairs | None = None
    """Where there are separable terms, and outputs are "full"."""

    def __call__(self, left: Arrays, right: Arrays, kernel: Tensor, *, symmetric: bool) -> None:
        """Write the kernel of two panels to `kernel`; `symmetric`: the panels are one."""
        kernel.zero_()
        for term in self.terms:
            if term.in_rows:
                self._add_rows(term, left, right, kernel, symmetric)
        if symmetric:
            self._mirror(kernel)
        for term in self.terms:
            if term.way == "separable":
                share = self._separable(term, left, right, symmetric=symmetric)
                separable.add(kernel, share, self.outputs, self.pairs, self.sizes.gathered_bytes)
            elif not term.in_rows:
                self._add_blocks(term, left, right, kernel, symmetric)

    @property
    def outputs(self) -> Outputs:
        return self.plan.task.outputs

    @property
    def constants(self) -> list[Tensor]:
        """The tensors that it reads besides the panels."""
        orders = [term.order for term in self.terms]
        return [constant for constant in (*orders, *(self.pairs or ())) if constant is not None]

    def shape(self, n1: int, n2: int) -> tuple[int, ...]:
        o = self.plan.task.n_outputs
        return {"full": (o, n1, o, n2), "diagonal": (o, n1, n2), "trace": (n1, n2)}[self.outputs]

    def _add_rows(self, term: Term, left: Arrays, right: Arrays, kernel: Tensor, symmetric: bool) -> None:
        rows, columns = _rows(term, left), _rows(term, right)  # (O, N, P), (O, M, P)
        factor = None
        if term.way == "gram":
            factor = _input_gram(term, left[f"{term.name}.a"], right[f"{term.name}.a"])[0, :, 0, :, 0]
        add, most = (add_symmetric, self.sizes.rows) if symmetric else (add_product, self.sizes.wide_rows)
        if self.outputs == "full":
            add([(rows.flatten(0, 1), columns.flatten(0, 1))], factor, self._matrices(kernel)[0], rows.shape[1], most)
        elif self.outputs == "trace":
            add(list(zip(rows, columns, strict=True)), factor, kernel, rows.shape[1], most)
        else:
            for pair, matrix in zip(zip(rows, columns, strict=True), kernel, strict=True):
                add([pair], factor, matrix, rows.shape[1], most)

    def _separable(self, term: Term, left: Arrays, right: Arrays, *, symmetric: bool) -> Tensor:
        """(W, N, M)."""
        c, most = separable.weights(left[f"{term.name}.c"], self.outputs, self.pairs), self.sizes.separable_numbers
        if not term.product.single:
            e, e2 = left[f"{term.name}.e"], right[f"{term.name}.e"]
            return separable.of_gradients(c, e, e2, most, symmetric=symmetric)
        gram = _input_gram(term, left[f"{term.name}.a"], right[f"{term.name}.a"])[0, :, 0, :, 0]
        d, d2 = left[f"{term.name}.d"], right[f"{term.name}.d"]
        return separable.of_single(c, d, d2, gram, most, symmetric=symmetric)

    def _matrices(self, kernel: Tensor) -> Sequence[Tensor]:
        """The kernel as the matrices that are each symmetric where the panels are one."""
        if self.outputs == "full":
            o, n, _, m = kernel.shape
            return (kernel.view(o * n, o * m),)
        return (kernel,) if self.outputs == "trace" else tuple(kernel)

    def _mirror(self, kernel: Tensor) -> None:
        """Below the blocks of the diagonal, what lies above."""
        for matrix in self._matrices(kernel):
            for start, stop in starts(len(matrix), kernel.shape[-1], self.sizes.rows):
                matrix[stop:, start:stop] = matrix[start:stop, stop:].T

    def _add_blocks(self, term: Term, left: Arrays, right: Arrays, kernel: Tensor, symmetric: bool) -> None:
        n, m = kernel.shape[-3 if self.outputs == "full" else -2], kernel.shape[-1]
        whole = term.way == "top" and term.product.single
        for i in slices(n, n if whole else self.plan.block1):
            for j in slices(m, m if whole else self.plan.block2):
                if symmetric and j.start < i.start:
                    continue
                share = _share(term, _cut(left, term, i), _cut(right, term, j), self.outputs, self.sizes.pair_flops)
                self._place(kernel, i, j).add_(share)
                if symmetric and i != j:
                    self._place(kernel, j, i).add_(mirrored(share, self.outputs))

    def _place(self, kernel: Tensor, i: slice, j: slice) -> Tensor:
        return kernel[:, i, :, j] if self.outputs == "full" else kernel[..., i, j]


def mirrored(block: Tensor, outputs: Outputs) -> Tensor:
    """The block at (j, i) of a symmetric kernel from the one at (i, j)."""
    return block.permute(2, 3, 0, 1) if outputs == "full" else block.mT


def _rows(term: Term, arrays: Arrays) -> Tensor:
    return arrays[term.name] if term.way == "gradient" else arrays[f"{term.name}.g"].flatten(2)


def _cut(arrays: Arrays, term: Term, examples: slice) -> Arrays:
    """What the term needs of these examples."""
    prefix = f"{term.name}."
    return {
        name: array[:, examples] if name.endswith("g") else array[examples]
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def _share(term: Term, left: Arrays, right: Arrays, outputs: Outputs, pair_flops: int) -> Tensor:
    if term.way == "cross":
        return _cross(term, left, right, outputs) + mirrored(_cross(term, right, left, outputs), outputs)
    a, a2 = left[f"{term.name}.a"], right[f"{term.name}.a"]
    if term.way == "top":
        return _top(term, a, a2, outputs)
    g, g2 = left[f"{term.name}.g"], right[f"{term.name}.g"]
    gram = _input_gram(term, a, a2)
    return _half(gram, g, g2, pair_flops) if term.way == "half" else _gram(gram, g, g2, outputs)


def _input_gram(term: Term, a: Tensor, a2: Tensor) -> Tensor:
    """(S, N, T, M, T): a·a' at each pair of positions, with the carried biases."""
    assert term.group is not None
    if term.product.lookup:
        return _equal(a[:, :, None, None], a2)[None].to(_dtype(term))
    n, S, T, I = a.shape
    rows, columns = (each.transpose(0, 1).reshape(S, -1, I) for each in (a, a2))
    gram = (rows @ columns.mT).view(S, n, T, len(a2), T)
    if not term.group.carried:
        return gram
    if T == 1:
        return gram.add_(sum(value**2 for (value,) in (values for _, values in term.group.carried)))
    values = carried_inputs(term.group, gram)
    return gram.add_((values.T @ values)[:, None])


def _dtype(term: Term) -> torch.dtype:
    assert term.group is not None
    return term.group.uses[0].y.dtype


def _equal(rows: Tensor, rows2: Tensor) -> Tensor:
    """Whether two lookups take the same row; a row of −1 is none."""
    return (rows == rows2) & (rows >= 0)


def _gram(gram: Tensor, g: Tensor, g2: Tensor, outputs: Outputs) -> Tensor:
    (o, n, S, T, J), m = g.shape, g2.shape[1]
    if outputs == "trace":  # the outputs are one more axis to sum over
        rows, columns = (each.permute(2, 1, 3, 0, 4).reshape(S, -1, o * J) for each in (g, g2))
        return (rows @ columns.mT).view(S, n, T, m, T).mul_(gram).sum((0, 2, 4))
    if outputs == "diagonal":
        rows, columns = (each.permute(0, 2, 1, 3, 4).reshape(o, S, -1, J) for each in (g, g2))
        return (rows @ columns.mT).view(o, S, n, T, m, T).mul_(gram).sum((1, 3, 5))
    rows, columns = (each.permute(2, 0, 1, 3, 4).reshape(S, -1, J) for each in (g, g2))
    products = (rows @ columns.mT).view(S, o, n, T, o, m, T)
    return products.mul_(gram[:, None, :, :, None]).sum((0, 3, 6))


def _half(gram: Tensor, g: Tensor, g2: Tensor, pair_flops: int) -> Tensor:
    """(O, N, O, M), in calls for single pairs of examples where these are large: their cotangents are then multiplied
    as they lie, while products for many pairs at once need copies in another order."""
    (n_outputs, n, S, T, J), m = g.shape, g2.shape[1]
    if 2 * n_outputs * T * T * J < pair_flops:
        return torch.einsum("onstj,nmpstj->onpm", g, torch.einsum("sntmu,pmsuj->nmpstj", gram, g2))
    turned = g2.stride(-1) != 1 and g2.stride(-2) == 1  # as a convolution's lie
    rows, columns = (g.mT.contiguous(), g2.mT) if turned else (g.contiguous(), g2)
    kernel, pushed = g.new_zeros(n_outputs, n, n_outputs, m), g.new_empty(n_outputs, *rows.shape[3:])
    for i, k, s in product(range(n), range(m), range(S)):
        pair = gram[s, i, :, k]
        factors = (columns[:, k, s], pair.T) if turned else (pair, columns[:, k, s])
        left, right = (each.expand(n_outputs, *each.shape[-2:]) for each in factors)
        torch.bmm(left, right, out=pushed)
        kernel[:, i, :, k].addmm_(rows[:, i, s].flatten(1), pushed.flatten(1).T)
    return kernel


def _top(term: Term, a: Tensor, a2: Tensor, outputs: Outputs) -> Tensor:
    """With the identity for g, pairs of outputs (s, t, j), (s', u, k) meet only where s = s' and j = k."""
    S, T, J = term.product.shared, term.product.positions, term.product.outputs
    place, scale = term.order, term.top_scale
    if outputs == "full":
        wide = torch.zeros(S, T, J, len(a), S, T, J, len(a2), dtype=_dtype(term), device=a.device)
        for s, gram in enumerate(_input_gram(term, a, a2) * scale):
            wide[s, :, :, :, s].diagonal(dim1=1, dim2=4).copy_(gram.permute(1, 0, 3, 2)[..., None])
        wide = wide.flatten(4, 6).flatten(0, 2)
        return wide if place is None else wide[place][:, :, place]
    gram = _same_position_gram(term, a, a2) * scale  # (S, T, N, M)
    if outputs == "trace":
        return J * gram.sum((0, 1))
    gram = gram.flatten(0, 1).repeat_interleave(J, 0)
    return gram if place is None else gram[place]


def _same_position_gram(term: Term, a: Tensor, a2: Tensor) -> Tensor:
    """(S, T, N, M)."""
    assert term.group is not None
    if term.product.lookup:
        return _equal(a.T[:, :, None], a2.T[:, None])[None].to(_dtype(term))
    gram = a.permute(1, 2, 0, 3) @ a2.permute(1, 2, 3, 0)
    if not term.group.carried:
        return gram
    return gram.add_((carried_inputs(term.group, gram) ** 2).sum(0)[:, None, None])


def _cross(term: Term, left: Arrays, right: Arrays, outputs: Outputs) -> Tensor:
    """Between the first use on the left and the transposed one on the right: Σ_{t,u} (g_t·a'_u) (a_t·g'_u)."""
    assert term.group is not None
    assert term.other is not None
    g, g2 = left[f"{term.name}.0.g"][:, :, 0], right[f"{term.name}.1.g"][:, :, 0]
    a = _dense(left[f"{term.name}.0.a"], term.group.product, g.dtype)
    a2 = _dense(right[f"{term.name}.1.a"], term.other.product, g.dtype)
    outer, inner = torch.einsum("ontj,muj->onmtu", g, a2), torch.einsum("nti,pmui->npmtu", a, g2)
    result = {"full": "onmtu,npmtu->onpm", "diagonal": "onmtu,nomtu->onm", "trace": "onmtu,nomtu->nm"}[outputs]
    return torch.einsum(result, outer, inner)


def _dense(a: Tensor, product: Product, dtype: torch.dtype) -> Tensor:
    """(N, T, I), row numbers written out as one-hot."""
    if not product.lookup:
        return a[:, 0]
    return (a[..., None] == torch.arange(product.inputs, device=a.device)).to(dtype)
