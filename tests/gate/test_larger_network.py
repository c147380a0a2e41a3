"""A network of the size that people use, as far as a test can be that large: compilers change what they do with size.

XLA of jaxlib 0.10.2 computes the Jacobians of this one wrongly on the CPU, and those of smaller ones rightly, unless it
is told to leave out a step (impls/frameworks/jax/xla.py).
"""

from __future__ import annotations

from functools import cache

from impls import Method
from reference import Case, Expected, Layered, Request, compare, float64_expected, random_case
from reference.cases import transformer_block
from reference.layers import Dense, LayerNorm, Positions
from tests.gate.checks import prepare, skip_unsupported
from tests.gate.selection import Selection

WIDTH, LENGTH = 128, 64


@cache
def transformer() -> tuple[Case, Expected]:
    """One layer, one output at each position, 200,000 parameters."""
    layers = (Dense("embed", WIDTH), Positions("positions"), *transformer_block("block", WIDTH, 4, expansion=4),
              LayerNorm("norm"), Dense("head", 1))
    case = random_case("one layer of a transformer", Layered((LENGTH, 16), layers), 1, None)
    return case, float64_expected(case, (0,), (0,))


def test_larger_network(exact_method: Method, selection: Selection) -> None:
    """In float32, whose programs are those that are fused and handed to libraries."""
    (case, truth), request = transformer(), Request(dtype="float32", device=selection.device)
    skip_unsupported(exact_method, case, request)
    comparison = compare(prepare(exact_method, case, request)(), truth, outputs="full", dtype="float32", symmetric=True)
    assert comparison.ok, f"width {WIDTH}, {LENGTH} positions: {comparison.reason}"
