"""What a PyTorch function consists of: its operations in one forward pass of one example, counted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

from impls.frameworks.torch.internals import OpOverload, Watching, is_random
from impls.frameworks.torch.support import Forward, Params, precision

# They hand out views of what is there, and cost next to nothing.
_VIEWS = frozenset(("aten::view", "aten::t", "aten::transpose.int", "aten::expand", "aten::permute", "aten::detach",
                    "aten::unsqueeze", "aten::select.int", "aten::slice.Tensor", "aten::alias", "aten::_unsafe_view"))


COUNTED_S = 2e-5
"""For each operation: it is counted, in the pass whose time is taken."""


@dataclass
class Operations:
    """`names`: how often each operation is called. `bytes`: that they write. `seconds`: that the pass took; counting
    takes a part of them. `random`: whether one of them draws numbers."""

    names: Counter[str] = field(default_factory=Counter)
    matmul_flops: float = 0.0
    convolution_flops: float = 0.0
    bytes: float = 0.0
    seconds: float = 0.0
    random: bool = False

    def __len__(self) -> int:
        return sum(times for name, times in self.names.items() if name not in _VIEWS)


class _Counting(Watching):
    def __init__(self) -> None:
        super().__init__()
        self.found = Operations()

    def __torch_dispatch__(self, func: OpOverload, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        found, name = self.found, func.name()
        found.names[name] += 1
        found.random = found.random or is_random(func)
        if name not in _VIEWS:
            for tensor in (out,) if isinstance(out, Tensor) else out if isinstance(out, tuple | list) else ():
                if isinstance(tensor, Tensor):
                    found.bytes += tensor.numel() * tensor.element_size()
        if (count := flop_registry.get(func.overloadpacket)) is not None:
            flops = count(*args, **(kwargs or {}), out_val=out)
            if "conv" in name:
                found.convolution_flops += flops
            else:
                found.matmul_flops += flops
        return out


def operations(f: Forward, params: Params, x: Tensor) -> Operations:
    """Of the batched f on the first example of x; gradients are on, as f may take some itself, of parameters too."""
    return with_outputs(f, {name: p.detach().requires_grad_() for name, p in params.items()}, x)[0]


def with_outputs(f: Forward, leaves: Params, x: Tensor) -> tuple[Operations, Tensor]:
    """The same, and the outputs, which can be differentiated where `leaves` require gradients."""
    with torch.enable_grad(), precision(next(iter(leaves.values())).dtype), counting() as found:
        y = f(leaves, x[:1])
    return found, y


@contextmanager
def counting() -> Iterator[Operations]:
    """Of what is done inside."""
    begin = Clock()
    with _Counting() as mode:
        yield mode.found
    mode.found.seconds = begin.elapsed()


def uncounted(found: Operations) -> float:
    """The seconds of the pass without the counting."""
    return max(found.seconds / 2, found.seconds - COUNTED_S * sum(found.names.values()))


class Clock:
    """Seconds from now on: of the processor where others share it, of the wall where several threads compute."""

    def __init__(self) -> None:
        self.begin = time.perf_counter(), time.process_time()

    def elapsed(self) -> float:
        return min(time.perf_counter() - self.begin[0], time.process_time() - self.begin[1])
