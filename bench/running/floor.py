"""The least time that a kernel can take: it shows a method that computes in its set-up and then copies."""

from __future__ import annotations

import math

from reference import MLP, Case, ConvNet

FLOPS_PER_SECOND = 4e11
"""Of one core, more than any has: two fused multiply-adds of 16 float32 numbers a cycle, at 6 GHz."""


def least_seconds(case: Case, threads: int) -> float:
    """On the CPU, for the forward pass without the last layer, which no exact method can do without.

    0 for networks of which it is not known: an embedding, say, looks its parameters up. A set-up that is slow while
    calls are not below this is shown beside them in a column of its own, and proves nothing: compilers work there.
    """
    network = case.network
    if not isinstance(network, MLP | ConvNet):
        return 0.0
    weights = [math.prod(shape) for shape in network.param_shapes().values() if len(shape) > 1]
    examples = len(case.x1) + (0 if case.x2 is None else len(case.x2))
    return 2 * examples * sum(weights[:-1]) / (FLOPS_PER_SECOND * threads)
