"""What one call of `ntk` takes in PyTorch, before anything is traced: whether an engine is worth it at all.

Tracing a network and planning for it takes milliseconds for each of its operations, which a kernel of a few examples of
a deep network never earns back. One pass forward and back of one example, and a count of its operations, tell enough.
The constants below are estimates from single runs of a dozen networks of 3 to 16 examples
(`bench.commands.one_call_cases`, one thread), to be fitted anew: predictions are within a factor of three of what was
measured.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from impls import registry
from impls.frameworks.torch.operations import Clock, with_outputs
from impls.frameworks.torch.support import precision
from impls.given.network import OwnNetwork
from impls.methods.known_wrong import known_wrong
from reference import Request

ENGINE, MAPPED, LOOP = "structured_torch", "torch_func.jacobian_contraction", "torch_autograd.per_example"

TRACED_S = 3.5e-3
"""For each operation: it is recorded, analysed, planned for, and its passes are prepared."""

MAPPED_S = 5e-4
"""For each operation: torch.func maps it over examples and cotangents."""

COUNTED_S = 2e-5
"""For each operation: it is counted, in the pass whose time is taken."""

COMPILER, COMPILER_S = "torch._dynamo", 1.1
"""What PyTorch imports for torch.func and for a trace, at the first call of a process, and the seconds of that."""

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


def seconds(outline: Outline, *, imported: bool = True, check: bool = False) -> dict[str, float]:
    """Of the whole call, by method. `imported`: whether PyTorch's compiler is; `check`: whether the kernel is checked
    by two backward passes, which a loop's is not."""
    N, O = outline.examples, outline.n_outputs
    beside = (0.0 if imported else COMPILER_S) + (2 * (outline.forward_s + outline.backward_s) if check else 0.0)
    held = N * outline.jacobian_bytes
    passes = N * outline.flops / FLOPS
    return {ENGINE: beside + TRACED_S * outline.operations + (2 + O) * passes,
            MAPPED: beside + MAPPED_S * outline.operations + (1 + 2 * O) * passes + MAPPED_BYTE_S * held,
            LOOP: N * (outline.forward_s + O * outline.backward_s) + LOOP_BYTE_S * held}


def untraced(own: OwnNetwork, *, check: bool = True) -> Mapping[str, float] | None:
    """Seconds of the methods that need no trace, and of the engine; None where the engine is the fastest of them, or
    nothing is known of it. Methods that are known to be wrong for the network are left out."""
    leaves = {name: p.detach().requires_grad_() for name, p in own.params.items()}
    counted, y = with_outputs(own.f, leaves, own.x1)
    forward_s = max(counted.seconds / 2, counted.seconds - COUNTED_S * sum(counted.names.values()))
    begin = Clock()
    with precision(own.dtype):
        torch.autograd.grad(y.reshape(-1)[0], tuple(leaves.values()), allow_unused=True)
    backward_s = begin.elapsed()
    if any(name.startswith(LONG) for name in counted.names):
        long = 10 * int(own.x1.shape[1])
    else:
        long = 0
    n2 = 0 if own.x2 is None else len(own.x2)
    outline = Outline(len(own.x1) + n2, own.n_outputs, own.jacobian_bytes, len(counted) + long,
                      counted.matmul_flops + counted.convolution_flops, forward_s, backward_s)
    found = {name: each for name, each in seconds(outline, imported=COMPILER in sys.modules, check=check).items()
             if known_wrong(name, counted.names) is None}
    return found if min(found, key=found.__getitem__) != ENGINE else None


def ready(name: str, own: OwnNetwork, request: Request) -> Callable[..., Any]:
    """The method's kernel as a function of `params`, x1 and x2, without another look for operations that it is known to
    be wrong for: `untraced` has looked."""
    method: Any = registry.load(name)
    return lambda params, x1, x2: method.compute(own.f, params, x1, x2, request)
