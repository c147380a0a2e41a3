"""What one call of `ntk` takes in PyTorch, before anything is traced: whether an engine is worth it at all.

Tracing a network and planning for it takes milliseconds for each of its operations, which a kernel of a few examples of
a deep network never earns back. One pass forward and back of one example, and a count of its operations, tell enough.
The constants below were fitted to twelve networks of 3 to 16 examples (`bench.one_call_cases`, one thread).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from impls.known_wrong import known_wrong
from impls.own.network import OwnNetwork
from impls.torch_operations import operations
from impls.torch_support import precision

ENGINE, MAPPED, LOOP = "structured_torch", "torch_func.jacobian_contraction", "torch_autograd.per_example"

TRACED_S = 3.5e-3
"""For each operation: it is recorded, analysed, planned for, and its passes are prepared."""

MAPPED_S = 5e-4
"""For each operation: torch.func maps it over examples and cotangents."""

FLOPS = 3e10
"""Per second, in passes of small batches."""

LOOP_BYTE_S, MAPPED_BYTE_S = 3e-9, 1e-9
"""For each byte of Jacobians: rows that are put together, or written in one piece; and their products."""

LONG = ("aten::lstm", "aten::gru", "aten::rnn", "aten::mkldnn_rnn_layer")
"""One operation here, and dozens for each position when it is traced."""


@dataclass(frozen=True)
class Outline:
    """Of a network with its examples. `forward_s`, `backward_s`: of one example; backward from one output."""

    examples: int
    n_outputs: int
    jacobian_bytes: int
    operations: int
    flops: float
    forward_s: float
    backward_s: float


def seconds(outline: Outline) -> dict[str, float]:
    """Of the whole call, by method."""
    N, O = outline.examples, outline.n_outputs
    held = N * outline.jacobian_bytes
    passes = N * outline.flops / FLOPS
    return {ENGINE: TRACED_S * outline.operations + (2 + O) * passes,
            MAPPED: MAPPED_S * outline.operations + (1 + 2 * O) * passes + MAPPED_BYTE_S * held,
            LOOP: N * (outline.forward_s + O * outline.backward_s) + LOOP_BYTE_S * held}


def untraced(own: OwnNetwork) -> Mapping[str, float] | None:
    """Seconds of the methods that need no trace, and of the engine; None where the engine is the fastest of them, or
    nothing is known of it. Methods that are known to be wrong for the network are left out."""
    counted = operations(own.f, own.params, own.x1)
    if any(name.startswith(LONG) for name in counted.names):
        long = 10 * int(own.x1.shape[1])
    else:
        long = 0
    forward_s, backward_s = _passes(own)
    n2 = 0 if own.x2 is None else len(own.x2)
    outline = Outline(len(own.x1) + n2, own.n_outputs, own.jacobian_bytes, len(counted) + long,
                      counted.matmul_flops + counted.convolution_flops, forward_s, backward_s)
    found = {name: each for name, each in seconds(outline).items() if known_wrong(name, counted.names) is None}
    return found if min(found, key=found.__getitem__) != ENGINE else None


def _passes(own: OwnNetwork) -> tuple[float, float]:
    leaves = {name: p.detach().requires_grad_() for name, p in own.params.items()}
    with precision(own.dtype), torch.enable_grad():
        begin = time.perf_counter()
        y = own.f(leaves, own.x1[:1]).reshape(-1)
        between = time.perf_counter()
        torch.autograd.grad(y[0], tuple(leaves.values()), allow_unused=True)
    return between - begin, time.perf_counter() - between
