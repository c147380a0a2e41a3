"""The PyTorch engine beside its matrix-product bound: ``python -m bench.engine_bound [W] [N] [O] [depth] [pairs]``.

The bound is the time of the matrix products that the kernel of an MLP cannot do without, as plain calls of PyTorch
and in full (no symmetry): forward and backward through each hidden layer, and the two Gram matrices of each layer.
The two are timed in turn; what is printed are medians and the median of the ratios of neighbours, in seconds of the
processor (one thread), which other processes on the machine disturb less than the clock's.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from impls.structured.torch_engine import Engine
from impls.torch_func import jacobian_contraction
from impls.torch_support import module_function
from reference import Request

INPUTS = 784


def main(width: int = 1024, n: int = 64, n_outputs: int = 10, depth: int = 3, pairs: int = 9) -> None:
    """Print the ratios for one MLP, float32 on the CPU."""
    torch.manual_seed(0)
    widths = [INPUTS, *[width] * depth, n_outputs]
    layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())][:-1]
    f, params = module_function(nn.Sequential(*layers).eval())
    x1, other = torch.randn(n, INPUTS), torch.randn(n, INPUTS)
    for label, x2 in (("x2 = x1", None), ("x2 ≠ x1", other)):
        engine = Engine(f, params, x1, x2, outputs="full")
        products = _products(widths, n, 1 if x2 is None else 2)
        _report(f"{label}: engine / bound", lambda e=engine, x2=x2: e(params, x1, x2), products, pairs)
    once = _seconds(lambda: jacobian_contraction(f, params, x1, None, Request()))
    again = _seconds(lambda: Engine(f, params, x1, None, outputs="full")(params, x1, None))
    print(f"torch_func.jacobian_contraction {once * 1e3:.0f} ms; engine with trace and plan {again * 1e3:.1f} ms")


def _products(widths: list[int], n: int, panels: int) -> Callable[[], None]:
    n_outputs = widths[-1]
    weights = [torch.randn(o, i) for i, o in pairwise(widths)]
    a = [torch.randn(n, width) for width in widths[:-1]]
    g = [torch.randn(n * n_outputs, width) for width in widths[1:-1]]

    def run() -> None:
        for _ in range(panels):
            for inputs, weight in zip(a, weights, strict=True):
                torch.mm(inputs, weight.T)
            for cotangents, weight in zip(g[1:], weights[1:-1], strict=True):
                torch.mm(cotangents, weight)
        for each in (*a, *g):
            torch.mm(each, each.T)

    return run


def _report(label: str, one: Callable[[], Tensor], other: Callable[[], None], pairs: int) -> None:
    one()
    other()
    times = [(_seconds(one), _seconds(other)) for _ in range(pairs)]
    ratio = statistics.median(a / b for a, b in times)
    first, second = (statistics.median(column) * 1e3 for column in zip(*times, strict=True))
    fastest = min(a for a, _ in times) / min(b for _, b in times)
    print(f"{label}: {first:.1f} ms / {second:.1f} ms, ratio {ratio:.2f}, of the fastest {fastest:.2f}")


def _seconds(f: Callable[[], object]) -> float:
    start = time.process_time()
    f()
    return time.process_time() - start


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
