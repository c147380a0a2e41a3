"""On a GPU, the calls of an engine replayed as one CUDA graph.

Where layers are small, to launch their operations takes several times as long as the operations do, and the GPU waits.
A graph is what a call launched, kept; all of it is then launched at once. It reads and writes the memory that the call
did. So the parameters have to lie where they lay, the examples are copied to a place of their own, and the kernel is
copied from its.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Lock

import torch
from torch import Tensor, nn

from impls.structured.planner import Plan
from impls.structured.torch_internals import is_functorch_wrapped_tensor
from impls.structured.torch_replay import Replayed
from impls.torch_support import Params

Kernels = dict[str, Tensor]
Function = Callable[[Params, Tensor, Tensor | None], Kernels]

MOST_BYTES = 64 * 2**20
"""Of a kernel: a larger one is not worth a second place, and takes longer than the launches."""

MOST_CAPTURES = 4
"""Parameters that lie elsewhere at each call, as with an optimizer that makes new ones, are not worth another."""

_CAPTURING = Lock()
"""PyTorch captures one graph at a time: all on one stream."""


def worth_a_graph(plan: Plan, n_kernels: int) -> bool:
    """Whether there is room for each kernel to lie in two places."""
    return plan.task.memory_limit is None and n_kernels * plan.task.kernel_bytes <= MOST_BYTES


class Graphed:
    """One function f of parameters, x1 and x2 (or None). Called on a GPU for the second time with parameters at the
    same places and examples of the same shapes it is captured, and replayed from then on.

    `parts`: all that f does, but for allocations and copies; what one of them cannot repeat, a graph cannot. A graph
    holds the memory of a call for as long as this object lives. `refused`: why f goes on being called, if it does.
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
        inputs = [*params.values(), *examples]
        if self.refused is not None or not _are_on_one_gpu(inputs) or any(map(is_functorch_wrapped_tensor, inputs)):
            return f(params, x1, x2)
        with self._lock, torch.cuda.device(x1.device):
            if torch.cuda.is_current_stream_capturing():  # somebody makes a graph of what goes on here
                return f(params, x1, x2)
            now = _circumstances(params, examples)
            if now != self._seen:
                self._seen, self._capture = now, None
                return f(params, x1, x2)
            if self._capture is None:
                self._capture = self._captured(f, params, examples)
            return f(params, x1, x2) if self._capture is None else self._capture(examples)

    def _captured(self, f: Function, params: Params, examples: Sequence[Tensor]) -> Capture | None:
        self.refused = self._reason(examples)
        if self.refused is not None:
            return None
        self._captures += 1
        places = [torch.empty_like(x) for x in examples]
        try:
            return capture(lambda: f(params, places[0], places[1] if len(places) > 1 else None), places)
        except RuntimeError as error:
            self.refused = f"it cannot be captured ({type(error).__name__}: {str(error).splitlines()[0]})"
            return None

    def _reason(self, examples: Sequence[Tensor]) -> str | None:
        if self._captures == MOST_CAPTURES:
            return f"its parameters have moved {MOST_CAPTURES} times"
        if reasons := [reason for part in self.parts for reason in part.refused.values()]:
            return reasons[0]
        if not all(_is_on_gpu(constant) for part in self.parts for constant in part.constants):
            return "it reads a tensor that is not on the GPU"
        if not all(x.is_contiguous() for x in examples):
            return "its examples do not lie one after the other"
        return None


@dataclass(frozen=True)
class Capture:
    """A graph, where it reads the examples, and where it leaves the kernels."""

    graph: torch.cuda.CUDAGraph
    examples: Sequence[Tensor]
    kernels: Kernels

    def __call__(self, examples: Sequence[Tensor]) -> Kernels:
        for place, x in zip(self.examples, examples, strict=True):
            place.copy_(x)
        self.graph.replay()
        return {name: kernel.clone() for name, kernel in self.kernels.items()}


def capture(f: Callable[[], Kernels], examples: Sequence[Tensor]) -> Capture:
    """What f launches, without its being done. Raises `RuntimeError` where it waits for the GPU."""
    graph = torch.cuda.CUDAGraph()
    with (
        _CAPTURING,
        torch.cuda.stream(torch.cuda.current_stream()),  # put back where the end of a failed capture raises, too
        torch.cuda.graph(graph, capture_error_mode="thread_local"),
    ):
        kernels = f()
    return Capture(graph, examples, kernels)


def _are_on_one_gpu(tensors: Sequence[Tensor]) -> bool:
    plain = all(type(tensor) in (Tensor, nn.Parameter) and _is_on_gpu(tensor) for tensor in tensors)
    return plain and len({tensor.device for tensor in tensors}) == 1


def _is_on_gpu(tensor: Tensor) -> bool:
    return tensor.is_cuda


def _circumstances(params: Params, examples: Sequence[Tensor]) -> object:
    """All that has to be the same for a graph to be what `f` would do."""
    return (
        [(p.data_ptr(), p.shape, p.stride(), p.dtype) for p in params.values()],
        [(x.shape, x.stride(), x.dtype) for x in examples],
        torch.cuda.current_stream(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_inference_mode_enabled(),
    )
