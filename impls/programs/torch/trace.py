"""Capture: the network runs once on tensors without memory, and each of its operations is written down.

What reads numbers (``if x.sum() > 0``, ``.item()``, ``.numpy()``) cannot be written down and raises `Untraceable`; so
does a derivative of the user's own (`torch.autograd.Function`, a hook), for running the operations again would not
repeat it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import functionalize

from impls.frameworks.torch.internals import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    OpOverload,
    Watching,
    argument_types,
    changes_arguments,
    gives_nothing,
    has_hooks,
    is_random,
    memory,
    overload_name,
)
from impls.frameworks.torch.support import Forward, Params, WhileAnyoneIsInside, one_example
from impls.programs.program import Constant, Operand, Value, alive
from impls.programs.torch.parts import parted
from impls.programs.torch.program import (
    Program,
    Step,
    Untraceable,
    check_known,
    is_differentiable,
    operands,
    replaced,
)
from impls.programs.torch.rewrites import rewritten
from impls.programs.torch.strides import entries, taken

aten = torch.ops.aten


def trace(f: Forward, params: Params, example: Tensor) -> Program:
    """The program of f for one example, without its batch axis. Raises `Untraceable`."""
    try:
        try:
            return _trace(f, params, example)
        except _StaleView:
            return _trace(f, params, example, pure=True)
    except DataDependentOutputException as error:
        raise Untraceable(f"what it does depends on the numbers in a tensor ({error.func})") from error
    except DynamicOutputShapeException as error:
        raise Untraceable(f"the shape of a result is not known without numbers ({error.func})") from error
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        # PyTorch's own, mostly; on real tensors the function works, or says itself why it does not
        raise Untraceable(
            f"it does not run without numbers ({type(error).__name__}: {str(error).splitlines()[0]})"
        ) from error


def _trace(f: Forward, params: Params, example: Tensor, *, pure: bool = False) -> Program:
    """`pure`: let PyTorch turn operations in place into ones that are not, which custom derivatives do not survive."""
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    tensors = [fake.from_tensor(p.detach()).requires_grad_() for p in params.values()]
    x = fake.from_tensor(example.detach())
    recorder = Recorder()
    inputs = [recorder.enter(t, Value(tuple(t.shape), t.dtype, frozenset({i}))) for i, t in enumerate(tensors)]
    x_value = recorder.enter(x, Value(tuple(x.shape), x.dtype, on_example=True))

    def run(*tensors: Tensor) -> Tensor:
        return one_example(f)(dict(zip(params, tensors[:-1], strict=True)), tensors[-1])

    with torch.enable_grad(), _OF_THE_PROCESS, fake, recorder:
        y = (functionalize(run) if pure else run)(*tensors, x)
        output = recorder.operand(y)
    steps = alive(recorder.steps, [output])
    check_known(steps, output)
    return Program(tuple(inputs), x_value, parted(steps), output)


@contextmanager
def _separate_operations() -> Iterator[None]:
    """Recurrent layers as products, not as one operation of oneDNN or cuDNN. The settings are put back on leaving."""
    backends: Any = (torch.backends.mkldnn, torch.backends.cudnn)
    before = [backend.enabled for backend in backends]
    try:
        for backend in backends:
            backend.enabled = False
        yield
    finally:
        for backend, enabled in zip(backends, before, strict=True):
            backend.enabled = enabled


_OF_THE_PROCESS = WhileAnyoneIsInside(_separate_operations)


class _StaleView(Untraceable):
    """A tensor is read after another one that shares its memory was changed in place."""


@dataclass
class _Known:
    """What a tensor is. `hidden`: it was made where gradients are off, so a gradient through it is of the user's
    making. `stale`: its memory was changed through another view. `resolved`: it was made below autograd, which does
    not know it: from a tensor whose mark (conjugated, negative) was taken into its numbers, or inside an operation."""

    tensor: Tensor
    operand: Operand
    hidden: bool = False
    stale: bool = False
    resolved: bool = False


class Recorder(Watching):
    """Writes down the operations that it sees, in the simpler form that `rewrites` gives them."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.known: dict[int, _Known] = {}
        self.cut: dict[Value, Value] = {}
        self.shapes: dict[Operand, Tensor] = {}
        self.inside = False
        """An operation that autograd has seen is taken apart."""

    def __torch_dispatch__(self, func: OpOverload, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "prim" or func.name().startswith("aten::sym_") or gives_nothing(func):
            return func(*args, **kwargs)
        composite = self._decomposed(func, args, kwargs)
        if composite is not NotImplemented:
            return composite
        if is_random(func) and not _draws_nothing(func, args):
            raise Untraceable(f"it draws random numbers ({func}), which another run would draw anew")
        some = replaced(tuple(args), self.operand)
        named = {name: replaced(arg, self.operand) for name, arg in kwargs.items()}
        turned = RESHAPED_IN_PLACE.get(func)  # other axes for the same numbers
        if turned is not None and isinstance(some[0], Value):
            self.shapes[some[0]] = args[0].detach()  # as it was
        places = entries(*args, **kwargs) if func in STRIDED else None
        outs = func(*args, **kwargs)
        changed = turned is None and changes_arguments(func) and not is_random(func)  # in evaluation: the noise is not
        pure = turned or (_pure(func) if changed else func)
        values = rewritten(self, pure, some, named) if places is None else taken(self, some[0], *places)
        values = self.record(pure, some, named, outs) if values is None else values
        if changed:
            self._outdate(outs)
        self._leave(outs, values, resolved=func is aten.clone.default and (args[0].is_conj() or args[0].is_neg()))
        return outs

    def _decomposed(self, func: OpOverload, args: Any, kwargs: Any) -> Any:
        """What an operation that stands for others gives, which it shows; autograd has seen that operation alone."""
        outer, self.inside = self.inside, True
        try:
            with self:
                outs = func.decompose(*args, **kwargs)
        finally:
            self.inside = outer
        for out in outs if isinstance(outs, (tuple, list)) else (outs,):
            if not outer and (known := self.known.get(id(out))) is not None:
                known.resolved = False
        return outs

    def _outdate(self, changed: Tensor) -> None:
        for known in self.known.values():
            known.stale |= _overlap(known.tensor, changed)

    def enter(self, tensor: Tensor, value: Value) -> Value:
        self.known[id(tensor)] = _Known(tensor, value)
        self.shapes[value] = tensor.detach()
        return value

    def operand(self, tensor: Tensor) -> Operand:
        """What a tensor that an operation reads stands for."""
        known = self.known.get(id(tensor))
        if known is None:
            if isinstance(tensor, FakeTensor):
                raise Untraceable(
                    "a tensor comes from nowhere: a custom torch.autograd.Function, or data read directly"
                )
            return Constant(tensor)
        if known.stale:
            raise _StaleView("memory that is changed in place is read through another view")
        if known.resolved:
            return known.operand
        differentiated = tensor.requires_grad and torch.is_grad_enabled()
        if differentiated and (known.hidden or has_hooks(tensor)):
            raise Untraceable("a derivative of its own (torch.autograd.Function, or a hook)")
        if isinstance(known.operand, Value) and bool(known.operand.parameters) is not differentiated:
            if differentiated:
                raise Untraceable("a derivative that it takes itself, or TorchScript")
            return self._detached(known.operand)
        return known.operand

    def _detached(self, value: Value) -> Value:
        if value not in self.cut:
            self.cut[value] = Value(value.shape, value.dtype, frozenset(), value.on_example)
            self.shapes[self.cut[value]] = self.shapes[value]
            self.steps.append(Step(aten.detach.default, (value,), {}, (self.cut[value],)))
        return self.cut[value]

    def emit(self, op: OpOverload, *args: Any, **kwargs: Any) -> Any:
        """Write an operation on operands down; gives its value, or its values where it has several."""
        outs = op(*replaced(args, self._shape), **{name: replaced(arg, self._shape) for name, arg in kwargs.items()})
        return self.record(op, args, kwargs, outs)

    def record(self, op: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], outs: Any) -> Any:
        """The same where the shapes of its results are known from `outs`."""
        inputs = [v for v in operands((args, tuple(kwargs.values()))) if isinstance(v, Value)]
        parameters, on_example = (
            frozenset[int]().union(*(v.parameters for v in inputs)),
            any(v.on_example for v in inputs),
        )
        tensors = tuple(outs) if isinstance(outs, (tuple, list)) else (outs,)
        if op is aten._local_scalar_dense.default:
            raise Untraceable("what it does depends on the numbers in a tensor (.item())")
        if not all(isinstance(tensor, Tensor) for tensor in tensors):
            raise Untraceable(f"{op} gives something else than tensors")
        values = tuple(
            Value(tuple(t.shape), t.dtype, parameters if is_differentiable(t.dtype) else frozenset(), on_example)
            for t in tensors
        )
        self.shapes.update(zip(values, tensors, strict=True))
        self.steps.append(Step(op, args, kwargs, values))
        return values[0] if isinstance(outs, Tensor) else values

    def device(self, operand: Operand) -> torch.device:
        """Where its numbers lie."""
        return self._shape(operand).device

    def _shape(self, operand: Operand) -> Tensor:
        return operand.value if isinstance(operand, Constant) else self.shapes[operand]

    def _leave(self, outs: Any, values: Any, *, resolved: bool) -> None:
        hidden = not torch.is_grad_enabled()
        pairs = [(outs, values)] if isinstance(outs, Tensor) else zip(outs, values, strict=True)
        for tensor, value in pairs:
            if isinstance(tensor, Tensor):
                self.known[id(tensor)] = _Known(tensor, value, hidden, resolved=resolved or self.inside)


RESHAPED_IN_PLACE: dict[OpOverload, OpOverload] = {
    aten.t_.default: aten.t.default,
    aten.transpose_.default: aten.transpose.int,
    aten.squeeze_.default: aten.squeeze.default,
    aten.squeeze_.dim: aten.squeeze.dim,
    aten.unsqueeze_.default: aten.unsqueeze.default,
    aten.as_strided_.default: aten.as_strided.default,
}


def _draws_nothing(op: OpOverload, args: Sequence[Any]) -> bool:
    """Of a layer that draws in training alone."""
    return op is aten.rrelu_with_noise.default and not (len(args) > 4 and args[4])


STRIDED = (aten.as_strided.default, aten.as_strided_.default)
"""What addresses memory itself."""


def _pure(op: OpOverload) -> OpOverload:
    """The operation that does the same without changing its first argument: of the same arguments, and of the same
    overload's name where there is one (that of ``pow_.Scalar`` is ``pow.Tensor_Scalar``)."""
    name = op.name().removeprefix("aten::").split(".")[0]
    packet = getattr(aten, name.removesuffix("_"), None) if name.endswith("_") else None
    overloads = [] if packet is None else [getattr(packet, overload) for overload in packet.overloads()]
    alike = [each for each in overloads if argument_types(each) == argument_types(op)]
    if not alike:
        raise Untraceable(f"{op} changes a tensor in place")
    return next((each for each in alike if overload_name(each) == overload_name(op)), alike[0])


def _overlap(left: Tensor, right: Tensor) -> bool:
    """Whether they may share a number: the stretches of memory that they lie in overlap."""
    if memory(left) != memory(right):
        return False
    return left.storage_offset() <= _last(right) and right.storage_offset() <= _last(left)


def _last(tensor: Tensor) -> int:
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    return int(tensor.storage_offset()) + sum((size - 1) * stride for size, stride in steps)
