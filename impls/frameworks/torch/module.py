"""A PyTorch module as a function of its trainable parameters: run as it is, and left as it was.

No copy is made of the module, which may hold what cannot be copied (results of earlier passes, locks), and whose
parameters a copy would have to share. Instead the values take the parameters' places for the time of one call, all
parts are in evaluation mode for that time, and whatever the call changes is put back: attributes, containers, modes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from functools import wraps
from threading import RLock
from typing import Any

import torch
from torch import Tensor, nn

from impls.frameworks.torch.cotangents import ContiguousCotangents
from impls.frameworks.torch.internals import FakeTensor, is_mapped
from impls.frameworks.torch.places import Places
from reference import InputError

Params = Mapping[str, Tensor]

# The places of a module's parameters are its own: one call at a time, whatever module shares them.
ONE_AT_A_TIME = RLock()


class ModuleFunction:
    """``f(params, *args, **kwargs)``; a tied parameter has one entry, and its value takes every one of its places,
    those in plain attributes, lists and dicts too. Frozen parameters and buffers are constants, unless `params` names
    them.

    Evaluation mode is the flag ``training`` of every part, set without calling ``train``: a module whose own ``train``
    does more (merges weights, say) keeps what it is. `written`: tensors of the module's that its forward pass writes
    into, as `find_written` found; each call works on copies of them.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        # What a class of the user's own says of its parts and parameters is for its user.
        with ONE_AT_A_TIME:  # else another thread's values might be in their places
            self.parts = list(nn.Module.modules(module))
            self.trained = {name: p for name, p in nn.Module.named_parameters(module) if p.requires_grad}
            self.held = {**dict(nn.Module.named_buffers(module)), **dict(nn.Module.named_parameters(module))}
        self.written: set[int] = set()
        self._watched: dict[int, tuple[Tensor, int, Tensor]] | None = None
        self._staying: ExitStack | None = None

    @property
    def params(self) -> dict[str, Tensor]:
        """The values of the trainable parameters, detached, in the module's own memory where they can be differentiated
        there."""
        return {name: differentiable(p.detach()) for name, p in self.trained.items()}

    def __call__(self, params: Params, *args: Any, **kwargs: Any) -> Any:
        if self._writes_parameters and any(is_mapped(value) for value in (*params.values(), *args)):
            raise NotImplementedError("the model writes into its parameters in its forward pass, which is followed on "
                                      "numbers alone, one example at a time")
        with ONE_AT_A_TIME, torch.enable_grad(), ContiguousCotangents(), ExitStack() as this_call:
            (self._staying or this_call).enter_context(self._exchanged(params))
            for part in self.parts if self._staying is not None else ():
                part.__dict__["forward"] = self._mended(part.forward)  # put back with all other attributes
            return self.module(*args, **kwargs)

    @property
    def _writes_parameters(self) -> bool:
        return any(isinstance(t, nn.Parameter) and id(t) in self.written for t in self.held.values())

    @contextmanager
    def staying(self) -> Iterator[None]:
        """Inside, the parameters of a call stay in their places after it, as those of a module in training do."""
        with ONE_AT_A_TIME, ExitStack() as self._staying:
            try:
                yield
            finally:
                stack, self._staying = self._staying, None
                stack.close()

    @contextmanager
    def _exchanged(self, params: Params) -> Iterator[None]:
        """Inside, `params` are the module's parameters, and it is in evaluation mode; outside it is as it was."""
        values = {id(self.held[name]): value for name, value in params.items()}
        copies: dict[int, Tensor] = {}

        def taken(tensor: Tensor) -> Tensor:
            value = differentiable(values.get(id(tensor), tensor))
            if self._watched is not None and value is not tensor and value.requires_grad:
                return value  # the caller's own, who looks after it
            if id(tensor) in self.written or self._watched is not None:
                before, value = value, copies.setdefault(id(tensor), value.clone())
                if self._watched is not None:
                    self._watched[id(tensor)] = value, _version(value), before
            return value

        places = Places(self.parts)
        try:
            for part in self.parts:
                part.training = False
            places.exchange(taken)
            yield
        finally:
            places.put_back()

    def _mended(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """A part's forward pass as PyTorch's backward pass runs it again while the parameters stay, in which no mode is
        left of those around. One that was kept is that of the part afterwards."""

        def run(*args: Any, **kwargs: Any) -> Any:
            with nullcontext() if self._staying is None else ContiguousCotangents():
                return forward(*args, **kwargs)

        return run

    def find_written(self, run: Callable[[], Any]) -> None:
        """Which of the module's tensors `run`, which calls this function, writes into; it is given copies of them, but
        of values that require gradients, which `run` takes for this alone."""
        with ONE_AT_A_TIME:
            self._watched = {}
            try:
                run()
                self.written = {key for key, (copy, version, before) in self._watched.items()
                                if _version(copy) != version or not _same(copy.detach(), before.detach())}
            finally:
                self._watched = None


def differentiable(tensor: Tensor) -> Tensor:
    """It, or a copy of one that PyTorch does not differentiate as others: made in ``torch.inference_mode``, or the
    negative of what stands in memory."""
    if tensor.is_inference() and not torch.is_inference_mode_enabled():
        tensor = tensor.clone()
    return tensor.resolve_neg()


def check_held(tensor: Tensor, what: str) -> None:
    """Raise `InputError` for a tensor that has no numbers, or not in a row."""
    if tensor.is_meta or isinstance(tensor, FakeTensor):
        raise InputError(f"{what} is on the device meta, or of FakeTensorMode: it has a shape, and no numbers to "
                         "compute a kernel from; give it some, e.g. by to_empty(device=...) and load_state_dict")
    if tensor.is_nested or tensor.is_quantized or tensor.layout != torch.strided:
        kind = "nested" if tensor.is_nested else "quantized" if tensor.is_quantized else str(tensor.layout)
        remedy = "dequantize" if tensor.is_quantized else "to_padded_tensor" if tensor.is_nested else "to_dense"
        raise InputError(f"{what} is a tensor of the kind {kind.removeprefix('torch.')}, of which PyTorch has few "
                         f"derivatives; convert it by {remedy}()")


def one_at_a_time(function: Any) -> Any:
    """A function that looks at a module as it is, in which no other thread may have put values, hooks or gradients."""

    @wraps(function)
    def alone(*args: Any, **kwargs: Any) -> Any:
        with ONE_AT_A_TIME:
            return function(*args, **kwargs)

    return alone


def with_gradients(f: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """f with gradients on, as a network that differentiates in its forward pass needs, whoever calls it."""

    def forward(params: Any, x: Any) -> Any:
        with torch.enable_grad(), ContiguousCotangents():
            y = f(params, x)
        return y if torch.is_grad_enabled() or not isinstance(y, Tensor) else y.detach()

    return forward


def on_copies(f: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """f of inputs that it writes into."""
    return lambda params, x: f(params, x.clone())


def _version(tensor: Tensor) -> int:
    """How often it was written into. Tensors of inference mode do not count."""
    return 0 if tensor.is_inference() else tensor._version


def _same(left: Tensor, right: Tensor) -> bool:
    """Bit for bit, as NaN is not equal to itself."""
    if left.shape != right.shape:
        return False
    return torch.equal(left, right) or bool(torch.where(left == left, left == right, right != right).all())


def unwrapped(model: Any) -> Any:
    """The module within what computes the same on several devices or compiled; another module as it is."""
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        if isinstance(model, wrappers):
            model = model.module
        elif isinstance(model, nn.Module) and "_orig_mod" in model._modules:  # of torch.compile
            model = model._modules["_orig_mod"]
        else:
            return model


def copied(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode that shares nothing with the module, but what cannot be copied (locks, open files)."""
    memo: dict[int, Any] = {}
    for part in module.modules():
        for value in part.__dict__.values():
            if isinstance(value, Tensor) and not value.is_leaf:  # a result of an earlier pass
                memo[id(value)] = value.detach().clone()
            elif not isinstance(value, Tensor | dict | list):
                try:
                    copy.deepcopy(value)
                except Exception:  # whatever it is, its class says that there is one of it
                    memo[id(value)] = value
    copy_of = copy.deepcopy(module, memo)
    for part in copy_of.modules():
        part.training = False
    return copy_of
