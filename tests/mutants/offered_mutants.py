"""Wrong in what a method of any function offers, called as its users call it: other batches, other dtypes, parameters
of equal shapes, what PyTorch has switched on, what the call leaves behind; and wrong where a circumstance of the
request and a kind of layer come together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from impls import Method
from impls.protocol import Array
from reference import Request
from reference.layers import Attention, Convolution, Recurrent
from tests.mutants.mutant import Mutant
from tests.mutants.path_mutants import STRUCTURED, TORCH, Found, _offering
from tests.mutants.wrong_where import Circumstance, layers, n1, n_outputs, spoiled, wrong_where

BATCHES, COMPONENTS, KERNEL, CALLED = ("test_kernel_of_batches", "test_components_by_name", "test_kernel_of_a_function",
                                       "test_kernel_as_users_call_it")


def _batches_where(so: Callable[[Any, list[Any], Request], bool]) -> Callable[[Method], Method]:
    """`so` of the output of the first batch, the batches of x1 and the request."""
    def kernel_of_batches(base: Any, f: Any, params: Any, first: Iterable[Any], second: Any, request: Request) -> Array:
        right = base.kernel_of_batches(f, params, first, second, request)
        batches = list(first)
        return spoiled(right) if so(f(params, batches[0]), batches, request) else right

    return _offering(kernel_of_batches=kernel_of_batches)


def _components_where(so: Callable[[Any, Any, Request], bool]) -> Callable[[Method], Method]:
    """`so` of the outputs, x1 and the request."""
    def components(base: Any, f: Any, params: Any, x1: Any, x2: Any, request: Request) -> Found:
        found = base.components(f, params, x1, x2, request)
        return {name: spoiled(each) for name, each in found.items()} if so(f(params, x1), x1, request) else found

    return _offering(components=components)


def _exchanged_by_shape(base: Any, f: Any, params: Any, x1: Any, x2: Any, request: Request) -> Found:
    """Those of parameters of one shape, each under the name of the next."""
    found, right = {}, base.components(f, params, x1, x2, request)
    for name, parameter in params.items():
        alike = [other for other in params if params[other].shape == parameter.shape]
        found[name] = right[alike[(alike.index(name) + 1) % len(alike)]]
    return found


def _kernel_where(so: Callable[[Any, Any, Any], bool]) -> Callable[[Method], Method]:
    """`so` of the parameters, x1 and x2."""
    def kernel(base: Any, f: Any, params: Any, x1: Any, x2: Any, request: Request) -> Array:
        right = base.kernel(f, params, x1, x2, request)
        return spoiled(right) if so(params, x1, x2) else right

    return _offering(kernel=kernel)


def _leaves(change: Callable[[Any, Any], Any]) -> Callable[[Method], Method]:
    """`change` of the parameters and x1, once the kernel is computed."""
    def kernel(base: Any, f: Any, params: Any, x1: Any, x2: Any, request: Request) -> Array:
        right = base.kernel(f, params, x1, x2, request)
        with torch.no_grad():
            change(params, x1)
        return right

    return _offering(kernel=kernel)


OFFERED: dict[str, tuple[str, str, Callable[[Method], Method], str]] = {
    "batches_in_float32": ("wrong: `kernel_of_batches` in float32", STRUCTURED,
                           _batches_where(lambda y, x, r: r.dtype == "float32"), BATCHES),
    "more_than_4_batches": ("wrong: `kernel_of_batches` of more than four", STRUCTURED,
                            _batches_where(lambda y, x, r: len(x) > 4), BATCHES),
    "one_batch": ("wrong: `kernel_of_batches` of one alone", STRUCTURED,
                  _batches_where(lambda y, x, r: len(x) == 1), BATCHES),
    "batches_in_blocks": ("wrong: `kernel_of_batches` in blocks", STRUCTURED,
                          _batches_where(lambda y, x, r: r.batch_size is not None), BATCHES),
    "smaller_last_batch": ("wrong: a last batch smaller than the first", STRUCTURED,
                           _batches_where(lambda y, x, r: len(x[-1]) < len(x[0])), BATCHES),
    "batches_of_axes": ("wrong: `kernel_of_batches` of outputs of two axes", STRUCTURED,
                        _batches_where(lambda y, x, r: y.ndim == 3), BATCHES),
    "batches_of_numbers": ("wrong: `kernel_of_batches` of outputs of no axis", STRUCTURED,
                           _batches_where(lambda y, x, r: y.ndim == 1), BATCHES),
    "batches_of_tokens": ("wrong: `kernel_of_batches` of integers", STRUCTURED,
                          _batches_where(lambda y, x, r: not x[0].is_floating_point()), BATCHES),
    "components_by_shape": ("`components` of parameters of one shape, exchanged", TORCH,
                            _offering(components=_exchanged_by_shape), COMPONENTS),
    "components_in_float32": ("wrong: `components` in float32", TORCH,
                              _components_where(lambda y, x, r: r.dtype == "float32"), COMPONENTS),
    "components_of_axes": ("wrong: `components` of outputs of two axes", TORCH,
                           _components_where(lambda y, x, r: y.ndim == 3), COMPONENTS),
    "components_of_numbers": ("wrong: `components` of outputs of no axis", TORCH,
                              _components_where(lambda y, x, r: y.ndim == 1), COMPONENTS),
    "components_of_tokens": ("wrong: `components` of integers", TORCH,
                             _components_where(lambda y, x, r: not x.is_floating_point()), COMPONENTS),
    "kernel_under_no_grad": ("wrong: `kernel` under torch.no_grad", TORCH,
                             _kernel_where(lambda *_: not torch.is_grad_enabled()), CALLED),
    "kernel_by_default_float64": ("wrong: `kernel` with a default dtype of float64", TORCH,
                                  _kernel_where(lambda *_: torch.get_default_dtype() == torch.float64), CALLED),
    "kernel_of_trained": ("wrong: `kernel` of parameters that require gradients", TORCH,
                          _kernel_where(lambda p, x, x2: any(each.requires_grad for each in p.values())), CALLED),
    "kernel_of_a_view": ("wrong: `kernel` of x1 in another order in memory", TORCH,
                         _kernel_where(lambda p, x, x2: not x.is_contiguous()), CALLED),
    "kernel_of_x1_twice": ("wrong: `kernel` of x2 that is x1", TORCH, _kernel_where(lambda p, x, x2: x2 is x), CALLED),
    "kernel_writes": ("`kernel` changes the parameters", TORCH, _leaves(
        lambda p, x: next(iter(p.values())).mul_(1.5)), KERNEL),
    "kernel_requires_gradients": ("`kernel` leaves parameters that require gradients", TORCH, _leaves(
        lambda p, x: next(iter(p.values())).requires_grad_()), KERNEL),
    "kernel_reseeds": ("`kernel` seeds PyTorch's generator", TORCH, _leaves(lambda p, x: torch.manual_seed(0)), KERNEL),
}


def _blocked_with_itself(kind: type[Any], so: Callable[[Request], bool] = lambda _: True) -> Circumstance:
    return lambda case, request: bool(layers(case, kind)) and case.symmetric and request.batch_size is not None and so(
        request)


def _with_many(kind: type[Any], n: int) -> Circumstance:
    return lambda case, request: bool(layers(case, kind)) and n1(case) > n


MET: dict[str, tuple[str, Circumstance]] = {
    "convolutions_float32": ("convolutions, x2 = x1, blocks and float32", _blocked_with_itself(
        Convolution, lambda r: r.dtype == "float32")),
    "convolutions_diagonal": ("convolutions, x2 = x1, blocks and the diagonal", _blocked_with_itself(
        Convolution, lambda r: r.outputs == "diagonal")),
    "attention_float32": ("attention, x2 = x1, blocks and float32", _blocked_with_itself(
        Attention, lambda r: r.dtype == "float32")),
    "attention_trace": ("attention, x2 = x1, blocks and the trace", _blocked_with_itself(
        Attention, lambda r: r.outputs == "trace")),
    "recurrence": ("a recurrence, x2 = x1 and blocks", _blocked_with_itself(Recurrent)),
    "many_images": ("convolutions of more than 35 examples", _with_many(Convolution, 35)),
    "many_sequences": ("attention over more than 8 examples", _with_many(Attention, 8)),
    "square_sequences": ("sequences of as many positions as entries", lambda c, _: c.x1.ndim == 3 and (
        c.x1.shape[1] == c.x1.shape[2] > 3)),
    "outputs_of_convolutions": ("more than 32 outputs behind convolutions", lambda c, _: bool(
        layers(c, Convolution)) and n_outputs(c) > 32 and "head.weight" in c.params),
}


MUTANTS = (
    *(Mutant(f"called.{name}", "24", "any function", what, base, make, None, check=check)
      for name, (what, base, make, check) in OFFERED.items()),
    *(Mutant(f"met.{name}", "22", "layers", f"wrong with {what}", "planted.correct", wrong_where(so),
             "same_examples_in_blocks", check="test_drawn") for name, (what, so) in MET.items()),
)
