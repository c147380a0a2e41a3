"""The parameters of a PyTorch network as the methods take them: real, of one dtype, those that are asked for.

Complex ones are pairs (re, im) on a last axis, complex outputs likewise (reference/DEFINITION.md); those of 16 bits are
computed in float32, those of several dtypes in the widest. The module's own parameters stay what they are.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from impls.frameworks.torch.module import ModuleFunction, check_held, differentiable
from impls.frameworks.torch.support import DTYPES, Forward, Params
from impls.given.asked import Asked
from impls.given.selection import names_where, selected
from reference import InputError
from reference.case import DType

NARROW = (torch.float16, torch.bfloat16)
PREFIXES = ("module.", "_orig_mod.")
"""Of the names in the state of what `unwrapped` unwraps."""

WIDE = (torch.float32, torch.float64, torch.complex64, torch.complex128)


class Real(NamedTuple):
    """`params`: real ones of `dtype`, to which `wrapped` adapts a function of the network's own."""

    params: Params
    fixed: Params
    """Further values that the network is given by name: parameters left out by `where`, and converted constants."""
    out: frozenset[str]
    """Those of `fixed` that `where` left out."""
    pairs: frozenset[str]
    dtype: DType
    select: Any

    def wrapped(self, f: Forward, *, alive: bool = False) -> Forward:
        """f of the network's own parameters as a function of these, with real outputs.

        `alive`: parameters that are left out require gradients all the same, of a call's own, for a network that
        differentiates with respect to them itself (in its forward pass, or in a backward pass of its own).
        """

        def forward(params: Params, x: Tensor) -> Tensor:
            own = {name: _as_complex(p) if name in self.pairs else p for name, p in params.items()}
            fixed = {**self.fixed, **{name: self.fixed[name].detach().requires_grad_() for name in self.out}}
            return _real_output(selected(f({**(fixed if alive else self.fixed), **own}, x), self.select))

        return forward


def real(params: Mapping[str, Tensor], constants: Mapping[str, Tensor], asked: Asked) -> Real:
    """`params` are those that are trained, `constants` the network's other tensors.

    Warns of parameters of 16 bits. Raises `InputError` for other dtypes, and where `asked.where` fits none.
    """
    if asked.params2 is not None:
        params, constants, changed = _exchanged(params, constants, asked.params2)
    else:
        changed = {}
    dtype = _widest(params, constants)
    used = {name: _converted(p, DTYPES[dtype]) for name, p in params.items()}
    chosen = names_where(used, asked.where)
    fixed = {name: p for name, p in used.items() if name not in chosen} | changed
    of_dtype = {p.dtype for p in (*params.values(), *constants.values()) if _is_inexact(p)}
    if len({torch.empty((), dtype=each).abs().dtype for each in of_dtype}) > 1 or of_dtype & set(NARROW):
        fixed |= {name: _converted(value, DTYPES[dtype]) for name, value in constants.items() if _is_inexact(value)}
    pairs = frozenset(name for name in chosen if used[name].is_complex())
    given = {name: torch.view_as_real(used[name]) if name in pairs else used[name] for name in chosen}
    return Real(given, fixed, frozenset(used).difference(chosen), pairs, dtype, asked.select)


def _exchanged(params: Mapping[str, Tensor], constants: Mapping[str, Tensor], values: Mapping[str, Tensor]
               ) -> tuple[Params, Params, Params]:
    """Parameters and constants with other values, and the constants among these. Raises `InputError` for a parameter
    that has none, and for unlike shapes."""
    known = {**params, **constants}
    for prefix in PREFIXES:
        if not any(name in known for name in values) and all(name.startswith(prefix) for name in values):
            values = {name.removeprefix(prefix): value for name, value in values.items()}
    if missing := [name for name in params if name not in values]:
        raise InputError(f"params2 has no {', '.join(missing[:5])}; it holds a value for each of the module's "
                         "parameters, as its state_dict() does")
    for name, value in values.items():
        if name in known and tuple(value.shape) != tuple(known[name].shape):
            raise InputError(f"params2[{name!r}] is of shape {tuple(value.shape)}, and the module's of "
                             f"{tuple(known[name].shape)}")
        check_held(value, f"params2[{name!r}]")
    changed = {name: differentiable(values[name].detach()) for name in constants if name in values}
    return {name: differentiable(values[name].detach()) for name in params}, {**constants, **changed}, changed


def constants_of(f: ModuleFunction) -> Params:
    """Frozen parameters and buffers, by the names under which the module takes others."""
    return {name: value.detach() for name, value in f.held.items() if name not in f.trained}


def _widest(params: Mapping[str, Tensor], constants: Mapping[str, Tensor]) -> DType:
    if not params:
        raise InputError("the model has no trainable floating-point parameter, so it has no tangent kernel")
    for name, p in params.items():
        if p.dtype not in (*NARROW, *WIDE):
            raise InputError(f"parameter {name!r} is {str(p.dtype).removeprefix('torch.')}; kernels are computed in "
                             "float32 or float64: convert it first")
    narrow = sorted({str(p.dtype).removeprefix("torch.") for p in (*params.values(), *constants.values())
                     if p.dtype in NARROW})
    wide = any(p.dtype in (torch.float64, torch.complex128) for p in params.values())
    dtype: DType = "float64" if wide else "float32"
    if narrow:
        warnings.warn(f"parameters of {' and '.join(narrow)} are computed in {dtype}, as fewer bits lose the kernel",
                      UserWarning, stacklevel=2)
    return dtype


def _converted(p: Tensor, dtype: torch.dtype) -> Tensor:
    if p.is_complex():
        return p.detach().resolve_conj().to(torch.complex128 if dtype == torch.float64 else torch.complex64)
    return p.detach().to(dtype)


def _is_inexact(p: Tensor) -> bool:
    return p.is_floating_point() or p.is_complex()


def _as_complex(pair: Tensor) -> Tensor:
    return torch.view_as_complex(pair.contiguous())


def _real_output(y: Any) -> Any:
    return torch.view_as_real(y.resolve_conj()) if isinstance(y, Tensor) and y.is_complex() else y


def of_function(f: Callable[[Any, Any], Any], rest: Mapping[str, Any]) -> Forward:
    """A function of the user's own, which is given its other entries of `params` as well."""
    return lambda params, x: f({**rest, **params}, x)
