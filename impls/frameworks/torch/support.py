"""What the PyTorch methods share: device and precision, a case as a function of its parameters, and their common shape.

Everything here leaves PyTorch's global state (grad mode, random generator, default dtype, precision flags) and the
user's module (training flags, `requires_grad`, dtype, device) as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import UninitializedParameter

from impls.frameworks.crossing import ways as crossing
from impls.frameworks.torch.checks import believed, check_batched, check_output
from impls.frameworks.torch.module import ModuleFunction, copied, on_copies, unwrapped, with_gradients
from impls.given.user_network import UserNetwork
from impls.methods.known_wrong import has_entries, known_wrong
from impls.methods.options import check_options
from impls.networks.torch import build
from reference import Case, Described, InputError, Layered, Request
from reference.layers import WeightNormDense

Params = dict[str, Tensor]
Forward = Callable[..., Tensor]
"""Batched: (params, x of shape (N, …)) to outputs of shape (N, …). That of a module takes all its other inputs too."""

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Functional(NamedTuple):
    """A case, ready to be differentiated: `params` holds exactly the trainable parameters, each tied one once."""

    f: Forward
    params: Params
    x1: Tensor
    x2: Tensor | None


KernelFunction = Callable[[Forward, Params, Tensor, Tensor | None, Request], Tensor]
ComponentsFunction = Callable[[Forward, Params, Tensor, Tensor | None, Request], dict[str, Tensor]]


@dataclass(frozen=True)
class FunctionalMethod:
    """A method that works on any batched function of its parameters: `compute` does."""

    name: str
    compute: KernelFunction
    compute_components: ComponentsFunction | None = None
    """Where the kernel of each parameter comes with that of all of them; else they are computed one after the other."""
    forward_mode: bool = False
    """Whether it needs forward-mode derivatives, which PyTorch does not have of every operation."""
    framework: Literal["torch"] = "torch"
    kind: Literal["exact"] = "exact"

    def unsupported(self, case: Case, request: Request) -> str | None:
        return unsupported_function(case) or (unsupported_forward_mode(case) if self.forward_mode else None)

    def prepare(self, case: Case, request: Request) -> Callable[[], Tensor]:
        check_options(self.name, request, {})
        f, params, x1, x2 = functional(case, request)
        self._refuse_known_wrong(f, params, x1)
        return lambda: self.compute(f, params, x1, x2, request)

    def kernel(self, f: Forward, params: Params, x1: Tensor, x2: Tensor | None, request: Request) -> Tensor:
        """The kernel of f, in the dtype of `params` and on their device; x2=None means x2 = x1."""
        check_options(self.name, request, {})
        self._refuse_known_wrong(f, params, x1)
        return self.compute(f, params, x1, x2, request)

    def components(
        self, f: Forward, params: Params, x1: Tensor, x2: Tensor | None, request: Request
    ) -> dict[str, Tensor]:
        """The kernel of each parameter by its name; they sum to `kernel`."""
        check_options(self.name, request, {})
        self._refuse_known_wrong(f, params, x1)
        if self.compute_components is not None:
            return self.compute_components(f, params, x1, x2, request)
        return {name: self.compute(_with_others_frozen(f, params, name), {name: p}, x1, x2, request)
                for name, p in params.items()}  # fmt: skip

    def _refuse_known_wrong(self, f: Forward, params: Params, x: Tensor) -> None:
        """Raise `NotImplementedError` where it would compute a wrong kernel of f without a word."""
        if not has_entries(self.name):
            return
        from impls.frameworks.torch.operations import operations

        if (reason := known_wrong(self.name, operations(f, params, x).names)) is not None:
            raise NotImplementedError(f"{self.name} is known to be wrong for this network: {reason}")


def _with_others_frozen(f: Forward, params: Params, name: str) -> Forward:
    """f as a function of the parameter of that name alone."""
    others = {other: p.detach() for other, p in params.items() if other != name}
    return lambda some, x: f({**others, **some}, x)


def unsupported(case: Case) -> str | None:
    """Why PyTorch cannot build this case's network, or None."""
    network = case.network
    if isinstance(network, UserNetwork):
        return None if network.framework == "torch" else (
            f"it reads the layers of a PyTorch module, and the network is of {network.framework}")
    if isinstance(network, Described):
        return None
    return f"PyTorch has no build of a {type(network).__name__}"


def unsupported_function(case: Case) -> str | None:
    """The same for methods that take any function, which one of JAX can be made into."""
    return crossing.obstacle("torch") if crossing.foreign(case, "torch") else unsupported(case)


def unsupported_forward_mode(case: Case) -> str | None:
    """Why PyTorch has no forward-mode derivative of this network, or None."""
    network = case.network
    if isinstance(network, Layered) and any(isinstance(layer, WeightNormDense) for layer in network.all_layers()):
        return ("PyTorch has no forward-mode derivative of weight normalisation (NotImplementedError: "
                "_weight_norm_interface)")
    return None


def device(name: str) -> torch.device:
    """The device of that name ("cpu" or "cuda"). Raises `InputError` where there is no such device."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device='cuda' was asked for, but PyTorch sees no CUDA device here; use device='cpu', or run "
                         "on a machine with a GPU and a CUDA build of PyTorch")
    return torch.device(name)


@contextmanager
def precision(dtype: str | torch.dtype) -> Iterator[None]:
    """Products in the full precision of `dtype`: no TF32, no bfloat16 inside float32, no autocast.

    Attention runs unfused: the fused kernels may use TF32, and lack forward mode and batching rules. These settings of
    PyTorch hold for the whole process; they are put back when the last thread leaves.
    """
    if dtype not in (*DTYPES, *DTYPES.values()):
        raise InputError(f"dtype {dtype} is not one of {', '.join(DTYPES)}; convert the parameters and the inputs")
    with _OF_THE_PROCESS, torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        yield


class _WhileAnyoneIsInside:
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
def differentiating(by: str, run: Callable[[], Any]) -> Iterator[None]:
    """Inside, an operation of the network that `by` cannot differentiate or map raises `NotImplementedError` saying so.

    PyTorch raises errors of all kinds there, told apart from the model's own by whether it can be evaluated: by `run`.
    """
    try:
        yield
    except RuntimeError as error:
        if "memory" in str(error):
            raise
        run()
        raise NotImplementedError(f"{by} cannot map or differentiate an operation of this network "
                                  f"({type(error).__name__}: {str(error).strip().splitlines()[0]})") from error


_OF_THE_PROCESS = _WhileAnyoneIsInside(_ieee_float32, _no_attention_fastpath, lambda: sdpa_kernel(SDPBackend.MATH))


class Built(NamedTuple):
    """A case as a module in evaluation mode, as a function of its parameters, and its inputs."""

    module: nn.Module
    f: Forward
    params: Params
    x1: Tensor
    x2: Tensor | None


def built(case: Case, request: Request) -> Built:
    """`case` in the request's dtype and on its device; of a user's own module, a copy.

    Raises `InputError` for a module whose kernel is not defined: one that is not batched, whose outputs do not depend
    on a trainable parameter, or whose examples depend on each other.
    """
    dtype, where = DTYPES[request.dtype], device(request.device)
    if isinstance(case.network, UserNetwork):
        module = _converted(case.network.model, dtype, where)
    else:
        module = build(case, dtype, where)
    f, params = module_function(module)
    x1 = _examples(case.x1, dtype, where)
    x2 = None if case.x2 is None else _examples(case.x2, dtype, where)
    return Built(module, checked(f, params, x1, f)[0], params, x1, x2)


def functional(case: Case, request: Request) -> Functional:
    """`case` as a function of its trainable parameters; raises as `built` does."""
    if crossing.foreign(case, "torch"):
        f, params, x1, x2 = crossing.cross_case(case, request, "torch")
        where = device(request.device)
        return Functional(f, {name: p.to(where) for name, p in params.items()}, x1.to(where),
                          None if x2 is None else x2.to(where))
    _, f, params, x1, x2 = built(case, request)
    return Functional(f, params, x1, x2)


def _examples(x: np.ndarray, dtype: torch.dtype, where: torch.device) -> Tensor:
    return torch.tensor(x, dtype=dtype if x.dtype.kind == "f" else torch.int64, device=where)


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


def checked(f: Forward, params: Params, x: Tensor, base: ModuleFunction | None) -> tuple[Forward, int]:
    """f, or what stands for it, once it is known that it has a kernel (`impls.frameworks.torch.checks`); and O, the
    number of its outputs. Raises `InputError`.

    `base`: the function of a module that f calls, if there is one.
    """
    with precision(dtype_of(params)):
        f, given = with_gradients(f), x[:1].clone()
        f(params, given) if base is None else base.find_written(lambda: f(params, given))
        if not torch.equal(given, x[:1]):
            f = on_copies(f)
        check_batched(f, params, x)
        return believed(f, params, x, base)


def one_example(f: Forward) -> Forward:
    """f for one example without the batch axis; the outputs flattened in C order, shape (O,)."""

    def single(params: Params, x: Shaped[Tensor, "..."]) -> Float[Tensor, " O"]:
        y = f(params, x.unsqueeze(0))
        check_output(y, 1)
        return y.reshape(-1)

    return single


def _converted(model: Any, dtype: torch.dtype, where: torch.device) -> nn.Module:
    """A copy of the user's module in evaluation mode; the module itself stays as it is."""
    if not isinstance(model, nn.Module):
        raise InputError(f"a PyTorch model must be a torch.nn.Module, got {type(model).__name__}")
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if value.is_complex():
            raise InputError(f"{name!r} is {value.dtype}, which cannot be converted to {dtype}; use real parameters")
    return copied(unwrapped(model)).to(device=where, dtype=dtype)
