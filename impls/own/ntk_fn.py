"""`ntk_fn`: the kernel as a function of parameters and examples, for use inside other programs."""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from impls.own.halves import half
from impls.own.recognise import as_network
from reference import InputError
from reference.case import Outputs

METHODS = {"jax": ("structured_jax", "equinox.exact"), "torch": ("torch_func.jacobian_contraction",
                                                                 "torch_autograd.per_example")}
"""By framework; the first of them by default, and PyTorch's second where the first fails."""


@dataclass(frozen=True, eq=False)
class KernelFunction:
    """``kernel(params, x1, x2=None)``; see `impls.ntk_fn`.

    `params`: the parameters of the model that it was made from, as it takes them; None for a function, whose they are
    the user's.
    """

    compute: Callable[[Any, Any, Any], Any]
    params: Any = None

    def __call__(self, params: Any, x1: Any, x2: Any = None) -> Any:
        return self.compute(params, x1, x2)


def ntk_fn(model: Any, *, params: Any = None, outputs: Outputs = "full", method: str = "auto") -> KernelFunction:
    """`impls.ntk_fn`, which says what it is."""
    if outputs not in get_args(Outputs):
        raise InputError(f"outputs={outputs!r} is not one of {', '.join(get_args(Outputs))}")
    if method != "auto" and not any(method in names for names in METHODS.values()):
        raise InputError(f"ntk_fn has no method {method!r}; choose auto or one of "
                         f"{', '.join(name for names in METHODS.values() for name in names)}")
    network = as_network(model)
    if network is not None and network.framework == "torch":
        from impls.own.torch import ntk_fn as ntk_fn_torch

        if params is not None:
            raise InputError("a torch.nn.Module carries its parameters: leave params out here, and give them to the "
                             "function that ntk_fn returns")
        f, params = ntk_fn_torch.of_module(network.model)
        compute = ntk_fn_torch.kernel_function(f, outputs, _method(method, "torch"), of_module=True)
        return KernelFunction(compute, params)
    if network is not None and network.framework == "equinox":
        from impls.frameworks.jax import equinox

        f, params = equinox.of_part(network.model, params)
        return KernelFunction(half("jax").kernel_function(f, outputs, _method(method, "jax")), params)
    if isinstance(model, type) or not callable(model):
        raise InputError(f"model must be a torch.nn.Module, an Equinox module or a function f(params, x), got "
                         f"{reprlib.repr(model)}")
    return KernelFunction(_of_function(model, outputs, method), params)


def _of_function(f: Callable[[Any, Any], Any], outputs: Outputs, method: str) -> Callable[[Any, Any, Any], Any]:
    """The framework is that of the parameters, which come later."""
    made: dict[str, Callable[[Any, Any, Any], Any]] = {}

    def compute(params: Any, x1: Any, x2: Any) -> Any:
        framework = _framework_of(params)
        if framework not in made:
            made[framework] = half(framework).kernel_function(f, outputs, _method(method, framework))
        return made[framework](params, x1, x2)

    return compute


def _method(method: str, framework: Literal["jax", "torch"]) -> str:
    if method == "auto":
        return method if framework == "torch" else METHODS[framework][0]
    if method not in METHODS[framework]:
        raise InputError(f"{method} does not work on this model, which is of {framework}; choose one of "
                         f"{', '.join(METHODS[framework])}")
    return method


def _framework_of(params: Any) -> Literal["jax", "torch"]:
    torch = sys.modules.get("torch")
    is_torch = torch is not None and isinstance(params, Mapping) and any(
        isinstance(value, torch.Tensor) for value in params.values())
    return "torch" if is_torch else "jax"
