"""The matrix products of a plan, free of any framework: those of the contraction, and those of the passes.

Passes: each product with a parameter goes forward for every example and, unless it is the first or the top layer,
backward for every example and output; a convolution counts as the product with its patches. Products without a
parameter (the scores of attention) and everything that is no product are left out, and a symmetric kernel is counted in
full: what is missing makes the bound lower, what symmetry saves can take an engine below it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from impls.structured.planner import Plan, Product, Step, Task, Way

LARGEST = 1 << 20
"""Numbers in one matrix: what is larger is made by several calls on the same operands, which stay in the caches."""


@dataclass(frozen=True)
class Gemm:
    """`batch` products of (m, k) with (k, n)."""

    m: int
    k: int
    n: int
    batch: int = 1
    place: int = 0
    """Which product this is a piece of: each has operands of its own, as each layer has its own weight."""

    @property
    def operands(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Names of the two: the place and the shape."""
        return (self.place, 0, self.batch, self.m, self.k), (self.place, 1, self.batch, self.k, self.n)

    @property
    def flops(self) -> int:
        return 2 * self.batch * self.m * self.k * self.n


def products(plan: Plan) -> list[Gemm]:
    """All of them, in pieces of which none has a matrix of more than `LARGEST` numbers (where m and batch allow)."""
    whole = [*_passes(plan), *(gemm for step in plan.steps for gemm in _contraction(step, plan.task))]
    return [piece for place, gemm in enumerate(whole) for piece in _pieces(gemm, place)]


def _passes(plan: Plan) -> Iterator[Gemm]:
    task, first = plan.task, True
    for step in plan.steps:
        for product in step.parameter.products:
            if product.lookup:
                first = False
                continue
            T, I, J = product.positions, product.inputs, product.outputs
            yield Gemm(task.examples * T, I, J, product.shared)
            if not first and not product.top:
                yield Gemm(task.examples * task.n_outputs * T, J, I, product.shared)
            first = False


def _contraction(step: Step, task: Task) -> Iterator[Gemm]:
    n1, n2 = task.n1, task.n1 if task.n2 is None else task.n2
    if step.ways == ("direct",):
        yield _inner(n1, n2, step.parameter.size, task)
        return
    products = step.parameter.products if step.ways else ()  # none: carried by another parameter, or not used
    for way, product in zip(step.ways, products, strict=True):
        yield from _of_way(way, product, n1, n2, task)


def _of_way(way: Way, product: Product, n1: int, n2: int, task: Task) -> Iterator[Gemm]:
    S, T, I, J, O = product.shared, product.positions, product.inputs, product.outputs, task.n_outputs
    if way == "gradient":
        yield Gemm(I, T, O * J, task.examples * S)
        yield _inner(n1, n2, product.size, task)
        return
    if way == "separable":
        yield from _separable(product, n1, n2, task)
        return
    if not product.lookup:
        together = T if way != "top" or task.outputs == "full" else 1  # a top layer's diagonal needs t = u alone
        yield Gemm(n1 * together, I, n2 * together, S * (T // together))
    if way == "half":
        yield Gemm(T, T, O * J, n1 * n2 * S)
        yield Gemm(O, S * T * J, O, n1 * n2)
    if way == "gram":
        rows, batch = (O, 1) if task.outputs == "full" else (1, O)
        yield Gemm(n1 * rows * T, J, n2 * rows * T, S * batch)


def _separable(product: Product, n1: int, n2: int, task: Task) -> Iterator[Gemm]:
    """In the outputs as well without symmetry: all O² products of the factors that are the same for all examples."""
    S, T, I, J = product.shared, product.positions, product.inputs, product.outputs
    if product.single:
        yield Gemm(n1, I, n2)
    else:
        yield Gemm(I, T, J, task.examples * S)
        yield Gemm(n1, I, n2, S * J)
    weights = {"full": task.n_outputs**2, "diagonal": task.n_outputs, "trace": 1}[task.outputs]
    yield Gemm(weights, S * J, n1 * n2)


def _inner(n1: int, n2: int, size: int, task: Task) -> Gemm:
    """Of gradients: for the trace one product over outputs and parameters."""
    O = task.n_outputs
    if task.outputs == "full":
        return Gemm(n1 * O, size, n2 * O)
    return Gemm(n1, size, n2, O) if task.outputs == "diagonal" else Gemm(n1, O * size, n2)


def _pieces(gemm: Gemm, place: int) -> Iterator[Gemm]:
    widest = max(gemm.k, gemm.n)
    rows = max(1, min(gemm.m, LARGEST // widest))
    batch = max(1, min(gemm.batch, LARGEST // max(rows * widest, gemm.k * gemm.n)))
    for start, stop in pairwise([*range(0, gemm.batch, batch), gemm.batch]):
        for top, bottom in pairwise([*range(0, gemm.m, rows), gemm.m]):
            yield Gemm(bottom - top, gemm.k, gemm.n, stop - start, place)
