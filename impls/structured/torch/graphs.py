"""On a GPU, the calls of an engine replayed as one CUDA graph.

Where layers are small, to launch their operations takes several times as long as the operations do, and the GPU waits.
A graph is what a call launched, kept; all of it is then launched at once. It reads and writes the memory that the call
did. So the parameters have to lie where they lay, the examples are copied to a place of their own, and the kernel is
copied from its.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.forward_ad import unpack_dual

from impls.frameworks.torch.internals import is_functorch_wrapped_tensor
from impls.frameworks.torch.support import Params
from impls.programs.torch.replay import Replayed
from impls.structured.planner import Plan

Kernels = dict[str, Tensor]
Function = Callable[[Params, Tensor, Tensor | None], Kernels]

MOST_KERNEL_BYTES = 64 * 2**20
"""Of all kernels of a call: larger ones take longer than their launches, and would lie in two places."""

MOST_HELD_BYTES = 2**32
"""Of a call beyond its kernels, all of which a graph keeps; as the plan counts, which is several times too much for the
passes (seen: 2.3 GiB for a transformer that held 0.3)."""

MOST_CAPTURES = 4
"""A capture takes as long as some tens of calls: one that is thrown away every few calls does not pay."""

_CAPTURING = Lock()
"""One graph is captured at a time, and takes a stream that no other has."""

_STREAMS_OF_PYTORCH = 64
"""More than there are, and than it takes to see each of them."""

_STREAMS: set[int] = set()
"""Of the graphs that there are. cuBLAS keeps its memory by the stream: two graphs of one stream would share it, and
lose it with the first of them."""


def worth_a_graph(plan: Plan, n_kernels: int) -> bool:
    """Whether what a graph would hold is small; a call that was given a memory limit holds no graph."""
    held = plan.task.memory_limit is None and plan.held_bytes <= MOST_HELD_BYTES
    return held and n_kernels * plan.task.kernel_bytes <= MOST_KERNEL_BYTES


class Graphed:
    """One function f of parameters, x1 and x2 (or None), which is given with each call, so that it may own this object.
    Called on a GPU for the second time in a row with parameters at the same places and examples of the same shapes it
    is captured, and replayed from then on.

    `parts`: all that f does, but for allocations and copies; what one of them cannot repeat, a graph cannot. A graph
    holds the memory of a call for as long as this object lives. `refused`: why there will be no graph any more.
    """

    def __init__(self, parts: Iterable[Replayed]) -> None:
        self.parts = tuple(parts)
        self.refused: str | None = None
        self._lock = Lock()
        self._seen: object = None
        self._capture: Capture | None = None
        self._captures = 0

    def __call__(self, f: Function, params: Params, x1: Tensor, x2: Tensor | None) -> Kernels:
        examples = [x1] if x2 is None else [x1, x2]
        read = [*params.values(), *(constant for part in self.parts for constant in part.constants)]
        if self.refused is not None or not _can_be_graphed([*read, *examples]):
            return f(params, x1, x2)
        with self._lock, torch.cuda.device(x1.device):
            if torch.cuda.is_current_stream_capturing():  # somebody makes a graph of what goes on here
                return f(params, x1, x2)
            now = (tuple(params), *_circumstances(read, examples))
            if now != self._seen:
                self._seen = self._capture = None
                kernels = f(params, x1, x2)
                self._seen = now  # only now: it has been done once
                return kernels
            if self._capture is None:
                self._capture = self._captured(f, params, examples)
            return f(params, x1, x2) if self._capture is None else self._capture(examples)

    def _captured(self, f: Function, params: Params, examples: Sequence[Tensor]) -> Capture | None:
        self.refused = self._reason()
        if self.refused is not None or not all(x.is_contiguous() for x in examples):
            return None
        self._captures += 1
        places = [x.clone() for x in examples]
        try:
            return capture(lambda: f(params, places[0], places[1] if len(places) > 1 else None), places)
        except RuntimeError as error:
            self.refused = f"it cannot be captured ({type(error).__name__}: {str(error).splitlines()[0]})"
            return None

    def _reason(self) -> str | None:
        if self._captures == MOST_CAPTURES:
            return (f"it has been captured {MOST_CAPTURES} times, each for parameters at other places, other shapes, "
                    "another stream or other settings")  # fmt: skip
        reasons = (reason for part in self.parts for reason in (*part.refused.values(), *part.waits.values()))
        return next(reasons, None)

    def __reduce__(self) -> Any:
        return Graphed, (self.parts,)  # a copy has a graph of its own


@dataclass(frozen=True, eq=False)
class Capture:
    """A graph, the places where it reads the examples, and the kernels that it writes."""

    graph: torch.cuda.CUDAGraph
    stream: torch.cuda.Stream
    """On which it was captured: no other graph's, for as long as this one is there."""
    places: Sequence[Tensor]
    kernels: Kernels

    def __call__(self, examples: Sequence[Tensor]) -> Kernels:
        for place, x in zip(self.places, examples, strict=True):
            place.copy_(x)
        self.graph.replay()
        return {name: kernel.clone() for name, kernel in self.kernels.items()}


def capture(f: Callable[[], Kernels], places: Sequence[Tensor]) -> Capture:
    """What f launches, which reads examples at these places, without its being done. PyTorch waits for the GPU before,
    and gives the memory that it keeps for later back.

    Raises `RuntimeError` where f waits for the GPU, copies from or to the CPU, or finds no memory. (PyTorch's allocator
    may then go on as within a capture; so what is known to fail is not tried.)
    """
    graph = torch.cuda.CUDAGraph()
    with _CAPTURING:
        stream = _free_stream()
        with (
            torch.cuda.stream(torch.cuda.current_stream()),  # put back where the end of a failed capture raises, too
            torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"),
        ):
            kernels = f()
        captured = Capture(graph, stream, places, kernels)
        _STREAMS.add(stream.cuda_stream)
        weakref.finalize(captured, _STREAMS.discard, stream.cuda_stream)
    return captured


def _free_stream() -> torch.cuda.Stream:
    """Of the current device; PyTorch hands the same few out in turn. Raises `RuntimeError` where each has a graph."""
    for _ in range(_STREAMS_OF_PYTORCH):
        stream = torch.cuda.Stream()
        if stream.cuda_stream not in _STREAMS:
            return stream
    raise RuntimeError(f"{len(_STREAMS)} graphs are there already, and no stream is left for another")


def _can_be_graphed(tensors: Sequence[Tensor]) -> bool:
    """Whether all of them are on one GPU, plain, and nobody differentiates by them in forward mode."""
    plain = all(type(tensor) in (Tensor, nn.Parameter) and _is_on_gpu(tensor) for tensor in tensors)
    if not plain or len({tensor.device for tensor in tensors}) > 1:
        return False
    return not any(is_functorch_wrapped_tensor(tensor) or unpack_dual(tensor).tangent is not None for tensor in tensors)


def _is_on_gpu(tensor: Tensor) -> bool:
    return tensor.is_cuda


def _circumstances(read: Sequence[Tensor], examples: Sequence[Tensor]) -> tuple[object, ...]:
    """All that has to be the same for a graph to be what f would do."""
    return (
        [(tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype) for tensor in read],
        [(x.shape, x.stride(), x.dtype) for x in examples],
        torch.cuda.current_stream(),
        torch.are_deterministic_algorithms_enabled(),
    )
