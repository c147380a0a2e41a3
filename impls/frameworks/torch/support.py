"""What the PyTorch methods share: device and precision, and a module as a function of its parameters, checked.

Everything here leaves PyTorch's global state (grad mode, random generator, default dtype, precision flags) and the
user's module (training flags, `requires_grad`, dtype, device) as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from threading import Lock
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import UninitializedParameter

from impls.frameworks.torch.checks import check_output
from impls.frameworks.torch.internals import without_saved_hooks
from impls.frameworks.torch.module import ModuleFunction
from reference import InputError

Params = dict[str, Tensor]
Forward = Callable[..., Tensor]
"""Batched: (params, x of shape (N, …)) to outputs of shape (N, …). That of a module takes all its other inputs too."""

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def device(name: str) -> torch.device:
    """The device of that name ("cpu" or "cuda"). Raises `InputError` where there is no such device."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device='cuda' was asked for, but PyTorch sees no CUDA device here; use device='cpu', or run "
                         "on a machine with a GPU and a CUDA build of PyTorch")
    return torch.device(name)


@contextmanager
def with_derivatives() -> Iterator[None]:
    """Inside, PyTorch takes derivatives though the caller is in ``torch.inference_mode``, where it takes all for 0."""
    if not torch.is_inference_mode_enabled():
        yield
        return
    with torch.inference_mode(False), torch.set_grad_enabled(False):  # as in `torch.no_grad`
        yield


@contextmanager
def apart() -> Iterator[None]:
    """Inside, numbers are what they are elsewhere, whatever the caller has switched on around: no autocast, no TF32,
    no bfloat16 inside float32, no ``torch.inference_mode``, no hooks of saved tensors.

    Attention runs unfused: the fused kernels may use TF32, and lack forward mode and batching rules. These settings of
    PyTorch hold for the whole process; they are put back when the last thread leaves.
    """
    with (with_derivatives(), without_saved_hooks(), _OF_THE_PROCESS,
          torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False)):
        yield


@contextmanager
def precision(dtype: str | torch.dtype) -> Iterator[None]:
    """Products in the full precision of `dtype`, as `apart` says."""
    if dtype not in (*DTYPES, *DTYPES.values()):
        raise InputError(f"dtype {dtype} is not one of {', '.join(DTYPES)}; convert the parameters and the inputs")
    with apart():
        yield


class WhileAnyoneIsInside:
    """Of a context of the whole process: the first thread enters it, and the last one leaves it. Else one would put
    back what another had set, or still needs."""

    def __init__(self, *contexts: Callable[[], AbstractContextManager[Any]]) -> None:
        self.contexts, self.inside = contexts, 0
        self.lock, self.entered = Lock(), ExitStack()

    def __enter__(self) -> None:
        with self.lock:
            if not self.inside:
                with ExitStack() as stack:
                    for context in self.contexts:
                        stack.enter_context(context())
                    self.entered = stack.pop_all()
            self.inside += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self.entered.close()


@contextmanager
def _ieee_float32() -> Iterator[None]:
    backends: Any = torch.backends  # its type stubs lack most of these
    operations = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn,
                  backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn)  # fmt: skip
    before = [operation.fp32_precision for operation in operations]
    try:
        for operation in operations:
            operation.fp32_precision = "ieee"
        yield
    finally:
        for operation, value in zip(operations, before, strict=True):
            operation.fp32_precision = "none"  # inherit from the backend; most had their value from there
            if operation.fp32_precision != value:
                operation.fp32_precision = value


@contextmanager
def _no_attention_fastpath() -> Iterator[None]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def differentiating(by: str, run: Callable[[], Any], remedy: str = "") -> Iterator[None]:
    """Inside, an operation of the network that `by` cannot differentiate or map raises `NotImplementedError` saying so.

    PyTorch raises errors of all kinds there, told apart from the model's own by whether it can be evaluated: by `run`.
    """
    try:
        yield
    except RuntimeError as error:
        if "memory" in str(error):
            raise
        if "Nested forward mode" in str(error):
            raise NotImplementedError(f"{by} needs forward mode, of which PyTorch has none inside another: the call "
                                      "stands within torch.autograd.forward_ad.dual_level; make it outside, or choose "
                                      "a method of backward passes") from error
        run()
        raise NotImplementedError(f"{by} cannot map or differentiate an operation of this network "
                                  f"({type(error).__name__}: {str(error).strip().splitlines()[0]})"
                                  f"{remedy and f'; {remedy}'}") from error


_OF_THE_PROCESS = WhileAnyoneIsInside(_ieee_float32, _no_attention_fastpath, lambda: sdpa_kernel(SDPBackend.MATH))


def dtype_of(params: Params) -> torch.dtype:
    """That of the parameters, and so of the kernel; inputs may be integers."""
    return next(iter(params.values())).dtype


def module_function(module: nn.Module) -> tuple[ModuleFunction, Params]:
    """`module` in evaluation mode as a batched function of its trainable parameters, and those parameters.

    The parameters share the module's memory, detached; the module stays as it is (`impls.frameworks.torch.module`).
    """
    for name, part in module.named_modules():
        if isinstance(part, _BatchNorm) and part.running_mean is None:
            raise InputError(f"module {name!r} ({part}) keeps no running statistics, so that an example's output "
                             "depends on the others and has no kernel of its own; use track_running_stats=True")
        if isinstance(part, torch.jit.ScriptModule):
            raise InputError(f"module {name!r} is compiled by TorchScript, which keeps its parameters where no other "
                             "value can take their place; give the module that it was made from")
    if any(isinstance(p, UninitializedParameter) for p in module.parameters()):
        raise InputError(f"{type(module).__name__} is lazy, and its parameters have no shape yet: run it once")
    function = ModuleFunction(module)
    if not function.trained:
        raise InputError(f"{type(module).__name__} has no trainable parameter (requires_grad=True), hence no kernel")
    return function, function.params


def one_example(f: Forward) -> Forward:
    """f for one example without the batch axis; the outputs flattened in C order, shape (O,)."""
    return lambda params, x: _single(f, params, x)  # where shapes are checked, each definition of a function takes long


def _single(f: Forward, params: Params, x: Shaped[Tensor, "..."]) -> Float[Tensor, " O"]:
    y = f(params, x.unsqueeze(0))
    check_output(y, 1)
    return y.reshape(-1)
