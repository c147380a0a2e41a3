"""What one call of `ntk` takes in PyTorch, before anything is traced: whether an engine is worth it at all.

Tracing a network and planning for it takes milliseconds for each of its operations, which a kernel of a few examples of
a deep network never earns back. The pass forward and back of one example that the checks of the network make, and its
operations, tell enough. The seconds are those after the checks, which every method needs. The constants are fitted by
eye to a dozen networks of `tests.models` (one thread); what came of it is in docs/one_call.md.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch

from impls.choice.costs import CHECKED_OUTPUTS
from impls.frameworks.torch.operations import Clock, uncounted, with_outputs
from impls.frameworks.torch.support import precision
from impls.given.network import OwnNetwork
from impls.methods.known_wrong import known_wrong
from reference.case import Outputs

ENGINE, MAPPED, LOOP = "structured_torch", "torch_func.jacobian_contraction", "torch_autograd.per_example"

TRACED_S = 3.5e-3
"""For each operation: it is recorded, analysed, planned for, and its passes are prepared."""

MAPPED_S = 5e-4
"""For each operation: torch.func maps it over examples and cotangents."""

CALLED_S, RETURNED_S = 4e-5, 1.5e-5
"""For each operation of a pass forward, and back: it is called, whatever it computes. Who maps it over examples and
cotangents calls it once."""

TOGETHER = 0.6
"""What is computed for all examples and cotangents at once takes this share of what it takes one by one."""

COMPILER, COMPILER_S = "torch._dynamo", 1.0
"""What PyTorch imports at the first call of a process, and the seconds of that: `torch.func.vjp` asks it whether it
compiles (``torch._dynamo.compiled_autograd``), and tensors without memory for their settings
(``torch._dynamo.config``). There is no public way around it."""

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
    forward_s: float
    backward_s: float


def seconds(outline: Outline, outputs: Outputs = "full", *, imported: bool = True, check: bool = False
            ) -> dict[str, float]:
    """Of the whole call but for the checks of the network, by method. `imported`: whether PyTorch's compiler is;
    `check`: whether the kernel is checked, which a loop's is not."""
    N, O = outline.examples, outline.n_outputs
    forward, back = outline.forward_s, outline.backward_s
    # What each example and cotangent takes where operations are called once for all of them.
    mapped = TOGETHER * N * (max(0.0, forward - CALLED_S * outline.operations)
                             + O * max(0.0, back - RETURNED_S * outline.operations))
    imports = 0.0 if imported else COMPILER_S
    held = N * outline.jacobian_bytes
    return {ENGINE: imports + TRACED_S * outline.operations + mapped + check * _check_s(outline, outputs),
            MAPPED: imports + MAPPED_S * outline.operations + mapped + MAPPED_BYTE_S * held + check * (forward + back),
            LOOP: N * (forward + O * back) + LOOP_BYTE_S * held}


def _check_s(outline: Outline, outputs: Outputs) -> float:
    """Of the engine's check of itself (`impls.own.selfcheck`)."""
    passes, cotangents = (1, 1) if outputs == "full" else (2, 2 * min(outline.n_outputs, CHECKED_OUTPUTS))
    return passes * outline.forward_s + cotangents * outline.backward_s


def predicted(own: OwnNetwork, outputs: Outputs = "full", *, check: bool = True) -> Mapping[str, float]:
    """Seconds of the methods that need no trace, and of the engine, but for those that are known to be wrong for the
    network."""
    first = _first(own)
    names = first.operations.names
    long = 10 * int(own.x1.shape[1]) if any(name.startswith(LONG) for name in names) else 0
    n2 = 0 if own.x2 is None else len(own.x2)
    outline = Outline(len(own.x1) + n2, own.n_outputs, own.jacobian_bytes, len(first.operations) + long,
                      first.forward_s, first.backward_s)
    found = seconds(outline, outputs, imported=COMPILER in sys.modules, check=check)
    return {name: each for name, each in found.items() if known_wrong(name, names) is None}


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
