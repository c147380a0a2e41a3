"""Functions of tensors that are called again and again, run as the plain operations that they come to.

Below `vmap` and autograd an operation of a small layer takes several times as long to find as to do. What the passes
of an engine do depends on shapes alone, so a call with some shapes is written down, and from the next on its operations
run one after the other, each result let go after its last use. The numbers are the same but for rounding: a few of
autograd's formulas are others while somebody watches.

A call that reads a tensor which nobody vouches for, writes to one that is kept from call to call, or takes a number
out of a tensor, cannot be repeated; then the function itself goes on being called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from impls.frameworks.torch.internals import OpOverload, gives_tensor, is_functorch_wrapped_tensor
from impls.programs.program import Constant, Operand, Value, freed_after
from impls.programs.torch.program import operands
from impls.programs.torch.recording import Recorder, Short, shortened, waits

Argument = Tensor | Sequence[Tensor] | Mapping[str, Tensor]
Result = dict[str, Tensor]
Replay = Callable[..., Result]

aten = torch.ops.aten

CALLED_AS: dict[OpOverload, Callable[..., Any]] = {
    aten.add.Tensor: torch.add,
    aten.add_.Tensor: Tensor.add_,
    aten.addcmul_.default: Tensor.addcmul_,
    aten.as_strided.default: torch.as_strided,
    aten.bmm.default: torch.bmm,
    aten.mm.default: torch.mm,
    aten.mm.out: torch.mm,
    aten.mul.Tensor: torch.mul,
    aten.relu.default: torch.relu,
}
"""The same operations, whose arguments PyTorch reads in half the time (seen: 1.0 for 3.7 µs, ``as_strided``)."""


class Replayed:
    """`f` of tensors, or of lists or dictionaries of them, that gives a dictionary of tensors or nothing, and may write
    to its arguments. What it does must follow from their shapes and from the settings given by name, and not from what
    it has written to them before.

    `constants`: all other tensors that it reads. Their numbers may change between calls. `once`: it will rather not be
    called again with the same shapes, so that only the second such call is worth writing down.
    """

    def __init__(
        self, f: Callable[..., Result | None], constants: Iterable[Tensor] = (), *, once: bool = False
    ) -> None:
        self.f, self.constants, self.once = f, tuple(constants), once
        self.replays: dict[object, Replay | None] = {}
        """By shapes and settings; None where a call is yet to be written down, or cannot be."""
        self.refused: dict[object, str] = {}
        """Why the calls with some shapes and settings cannot be repeated."""
        self.waits: dict[object, str] = {}
        """Why calls that can be repeated cannot be launched as a whole."""

    def __call__(self, *arguments: Argument, **settings: Any) -> Result:
        tensors = [tensor for argument in arguments for tensor in _tensors(argument)]
        if any(map(is_functorch_wrapped_tensor, tensors)):  # somebody differentiates or batches what goes on here
            return self.f(*arguments, **settings) or {}
        key = (_layouts((*tensors, *self.constants)), *settings.items())
        replay = self.replays.get(key)
        if replay is not None:
            try:
                return replay(*tensors)
            except OtherLayout as error:
                self.refused[key] = str(error)
        if key in self.refused or (self.once and key not in self.replays):
            self.replays[key] = None
            return self.f(*arguments, **settings) or {}
        recorder = Recorder(tensors, self.constants)
        with recorder:
            result = self.f(*arguments, **settings) or {}
        outputs = [recorder.operand(tensor) for tensor in result.values()]
        if recorder.refused is None:
            short = shortened(recorder, outputs)
            self.replays[key] = compiled(short, recorder.inputs, tuple(result))
            if (reason := waits(recorder, short.steps)) is not None:
                self.waits[key] = reason
        else:
            self.refused[key] = recorder.refused
        return result


def _tensors(argument: Argument) -> Iterable[Tensor]:
    if isinstance(argument, Tensor):
        return (argument,)
    return argument.values() if isinstance(argument, Mapping) else argument


def _layouts(tensors: Sequence[Tensor]) -> object:
    """All of these tensors that operations may depend on, with which of them are one and the same."""
    first = {id(tensor): i for i, tensor in reversed([*enumerate(tensors)])}
    return tuple((t.shape, t.stride(), t.dtype, t.device, first[id(t)]) for t in tensors)


class OtherLayout(Exception):
    """A result lies in memory otherwise than when it was written down."""


def _check(tensor: Tensor, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
    if tensor.shape != shape or tensor.stride() != strides:
        now = f"of shape {tuple(tensor.shape)} has strides {tensor.stride()}"
        raise OtherLayout(f"a result {now}, where one of shape {shape} had {strides}")


def compiled(short: Short, inputs: Sequence[Operand], names_of_outputs: Sequence[str]) -> Replay:
    """The steps as one Python function of the inputs in order, in which only its own operations take time.

    It raises `OtherLayout` where PyTorch lays a result out in another way, as after a change of its settings, or gives
    it another shape.
    """
    steps, outputs = short.steps, dict(zip(names_of_outputs, short.outputs, strict=True))
    names = {value: f"x{i}" for i, value in enumerate(inputs)}
    known: dict[str, object] = {"check": _check}
    """What the function reads that none of its steps makes: operations, constants, sizes."""

    def written(arg: Any) -> str:
        if isinstance(arg, Value):
            return names.setdefault(arg, f"v{len(names)}")
        if isinstance(arg, (tuple, list)) and any(True for _ in operands(arg)):
            return f"[{', '.join(map(written, arg))}]"
        known[f"c{len(known)}"] = arg.value if isinstance(arg, Constant) else arg
        return f"c{len(known) - 1}"

    lines = [f"def replay({', '.join(names.values())}):"]
    for step, freed in zip(steps, freed_after(steps, {*inputs, *outputs.values()}), strict=True):
        args = [*map(written, step.args), *(f"{name}={written(arg)}" for name, arg in step.kwargs.items())]
        left = [written(out) for out in step.outputs]
        target = f"{left[0]} = " if gives_tensor(step.op) else f"[{', '.join(left)}] = " if left else ""
        lines.append(f"{target}{written(CALLED_AS.get(step.op, step.op))}({', '.join(args)})")
        for value in step.outputs:
            if (layout := short.relied_on.get(value)) is not None:
                lines.append(f"check({names[value]}, {written(layout.shape)}, {written(layout.strides)})")
        lines += [f"del {names[value]}" for value in freed]
    lines.append(f"return {{{', '.join(f'{name!r}: {written(operand)}' for name, operand in outputs.items())}}}")
    exec("\n    ".join(lines), known)
    replay: Any = known.pop("replay")
    return replay
