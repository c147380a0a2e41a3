"""What one call of `ntk` takes in PyTorch, before anything is traced: whether an engine is worth it at all.

Tracing a network and planning for it takes milliseconds for each of its operations, which a kernel of a few examples of
a deep network never earns back. One pass forward and back of one example, and a count of its operations, tell enough.
The constants below are estimates from single runs of a dozen networks of 3 to 16 examples
(`bench.commands.one_call_cases`, one thread), to be fitted anew: predictions are within a factor of three of what was
measured.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch

from impls import registry
from impls.frameworks.torch.operations import Clock, uncounted, with_outputs
from impls.frameworks.torch.support import precision
from impls.given.network import OwnNetwork
from impls.methods.known_wrong import known_wrong
from reference import Request
from reference.tolerances import tolerance

ENGINE, MAPPED, LOOP = "structured_torch", "torch_func.jacobian_contraction", "torch_autograd.per_example"

TRACED_S = 3.5e-3
"""For each operation: it is recorded, analysed, planned for, and its passes are prepared."""

MAPPED_S = 5e-4
"""For each operation: torch.func maps it over examples and cotangents."""

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


def predicted(own: OwnNetwork, *, check: bool = True) -> Mapping[str, float]:
    """Seconds of the methods that need no trace, and of the engine, but for those that are known to be wrong for the
    network."""
    first = _first(own)
    names = first.operations.names
    long = 10 * int(own.x1.shape[1]) if any(name.startswith(LONG) for name in names) else 0
    n2 = 0 if own.x2 is None else len(own.x2)
    outline = Outline(len(own.x1) + n2, own.n_outputs, own.jacobian_bytes, len(first.operations) + long,
                      first.operations.matmul_flops + first.operations.convolution_flops, first.forward_s,
                      first.backward_s)
    return {name: each for name, each in seconds(outline, imported=COMPILER in sys.modules, check=check).items()
            if known_wrong(name, names) is None}


def _first(own: OwnNetwork) -> Any:
    """What the checks saw, or a pass of its own where they were made one by one."""
    if own.first is not None:
        return own.first
    leaves = {name: p.detach().requires_grad_() for name, p in own.params.items()}
    counted, y = with_outputs(own.f, leaves, own.x1)
    back = Clock()
    with precision(own.dtype):
        torch.autograd.grad(y.reshape(-1)[0], tuple(leaves.values()), allow_unused=True)
    return SimpleNamespace(operations=counted, forward_s=uncounted(counted), backward_s=back.elapsed())


def ready(name: str, own: OwnNetwork, request: Request, *, check: bool) -> tuple[Any, bool]:
    """The kernel by that method, without another look for operations that it is known to be wrong for, as `predicted`
    has looked; and whether it is known to be right: Jacobians are checked themselves, in one backward pass."""
    method: Any = registry.load(name)
    if name != MAPPED or not check or own.first is None:
        return method.compute(own.f, own.params, own.x1, own.x2, request), name != MAPPED
    look = LooksAtJacobians(own)
    kernel = method.compute(own.f, own.params, own.x1, own.x2, request, look)
    return kernel, look.right(SLACK * tolerance(own.dtype))
