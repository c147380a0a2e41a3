"""What a method would hide that has read the gate: right in every size, wrong where numbers, objects or the order of
calls are those of some user and of no test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from impls import Method
from impls.protocol import Array
from reference import Case, Layered, Request
from tests.mutants.call_mutants import _arrays, _cached, _shapes
from tests.mutants.mutant import Mutant, wrapped
from tests.mutants.path_mutants import _offering, _projections, _with_number
from tests.mutants.wrong_where import n1, n2, n_outputs, n_params, spoiled, wrong_where

NUMPY, TORCH, JAX, RANDOM = ("planted.correct", "torch_func.jacobian_contraction", "equinox.exact",
                             "planted.right_projections")

DRAWN, CALLED, KERNEL, COMPONENTS = ("test_drawn", "test_changed_in_place", "test_kernel_of_a_function",
                                     "test_components_by_name")


def _distinct(arrays: list[np.ndarray]) -> int:
    return len({(array.shape, array.tobytes()) for array in arrays})


def _equal_parameters(case: Case, request: Request) -> bool:
    """Two of one shape with the same entries, taken for one that is tied."""
    return _distinct(list(case.params.values())) < len(case.params)


def _alike(x: np.ndarray) -> bool:
    """Two different examples of one sum of squares."""
    flat = x.reshape(len(x), -1)
    return len(np.unique(np.square(np.sort(flat, 1)).sum(1))) < len(np.unique(flat, axis=0))


def _one_entry_apart(case: Case, request: Request) -> bool:
    """x2 of the shape of x1, with the same first and last example, and not x1."""
    x1, x2 = case.x1, case.x2
    return x2 is not None and x2.shape == x1.shape and len(x1) > 3 and not np.array_equal(x1, x2) and all(
        np.array_equal(x1[i], x2[i]) for i in (0, -1))


def _any_entry(so: Callable[[np.ndarray], np.ndarray]) -> Callable[[Case, Request], bool]:
    return lambda case, request: case.x1.dtype.kind == "f" and bool(so(case.x1).any())


def _large_constant(case: Case, request: Request) -> bool:
    return any(np.abs(array).max() > 1000 for array in case.constants.values())


def _one_unit(case: Case, request: Request) -> bool:
    return any(array.ndim == 2 and array.shape[0] == 1 and name != "dense2.weight"
               for name, array in case.params.items())


def _block_between(case: Case, request: Request) -> bool:
    """A block that holds x2 and not x1."""
    return request.batch_size is not None and 1 < n2(case) <= request.batch_size < n1(case) - 1


# name: (what is wrong, the dimension, where)
VALUES: dict[str, tuple[str, str, Callable[[Case, Request], bool]]] = {
    "equal_parameters": ("two parameters that are equal, and not tied", "parameters_alike", _equal_parameters),
    "last_layer_0": ("a last layer of 0", "parameters_alike", lambda c, _: not c.params.get(
        "dense3.weight", np.ones(1)).any()),
    "biases_0": ("every bias is 0", "parameters_alike", lambda c, _: not any(
        array.any() for name, array in c.params.items() if name.endswith("bias"))
        and "dense0.bias" in c.params),
    "examples_alike": ("examples of one norm", "examples_alike", lambda c, _: c.x1.dtype.kind == "f" and _alike(c.x1)),
    "one_entry_apart": ("x2 is x1 but for an entry inside", "examples_alike", _one_entry_apart),
    "smallest_numbers": ("inputs of less than float32's smallest normal number", "unusual_numbers", _any_entry(
        lambda x: (x != 0) & (np.abs(x) < np.finfo(np.float32).tiny))),
    "minus_0": ("an input of −0", "unusual_numbers", _any_entry(lambda x: (x == 0) & np.signbit(x))),
    "whole_numbers": ("inputs that are whole numbers", "unusual_numbers", lambda c, _: c.x1.dtype.kind == "f" and bool(
        (c.x1 == np.round(c.x1)).all()) and len(np.unique(c.x1)) == 4),
    "large_constants": ("a constant beyond 1000", "unusual_numbers", _large_constant),
    "large_weights": ("a weight beyond 500", "unusual_numbers", lambda c, _: any(
        np.abs(array).max() > 500 for array in c.params.values())),
    "large_biases": ("a bias beyond 30", "unusual_numbers", lambda c, _: any(
        np.abs(array).max() > 30 for array in c.params.values() if array.ndim == 1)),
    "one_unit": ("a hidden layer of one unit", "sizes_of_one", _one_unit),
    "one_channel": ("a convolution of one channel to one", "sizes_of_one", lambda c, _: any(
        array.shape[:2] == (1, 1) and array.ndim == 4 for array in c.params.values())),
    "one_position": ("a sequence of one position", "sizes_of_one", lambda c, _: isinstance(
        c.network, Layered) and c.x1.ndim == 3 and c.x1.shape[1] == 1),
    "one_output": ("one output of more than 32 examples", "sizes_of_one",
                   lambda c, _: n_outputs(c) == 1 and n1(c) > 32),
    "seed_0": ("seed 0, which does not matter", "many_blocks", lambda c, r: r.seed == 0 and n1(c) > 2),
    "seed_of_40_bits": ("a seed of 40 bits, which does not matter", "many_blocks", lambda c, r: r.seed > 2**39),
    "block_between": ("a block that holds all of x2, and not of x1", "many_blocks", _block_between),
}


def _by_id_and(of: Callable[[np.ndarray], Any]) -> Callable[[Case], Any]:
    kept: list[Case] = []  # so that no other arrays have their ids

    def key(case: Case) -> Any:
        kept.append(case)
        return case.network, _shapes(case), *((id(array), of(array)) for array in _arrays(case))

    return key


def _reversed(case: Case, request: Request) -> bool:
    return any(stride < 0 for array in _arrays(case) for stride in array.strides)


def _inside_x2(case: Case, request: Request) -> bool:
    return case.x2 is not None and len(case.x1) < len(case.x2) and np.shares_memory(case.x1, case.x2)


def _one_buffer(case: Case, request: Request) -> bool:
    bases = [array.base for array in case.params.values()]
    return bases[0] is not None and all(base is bases[0] for base in bases)


def _last_by_function(base: Any, name: str) -> Callable[..., Any]:
    """What was computed for this function at first, for ever after."""
    kept: dict[Any, Any] = {}

    def offered(base: Any, f: Any, params: Any, x1: Any, x2: Any, request: Request) -> Any:
        key = f, request.outputs, request.dtype, len(x1), None if x2 is None else len(x2)
        if key not in kept:
            kept[key] = getattr(base, name)(f, params, x1, x2, request)
        return kept[key]

    return offered


def _after_kernel() -> dict[str, Callable[..., Any]]:
    """`components` are wrong once `kernel` was asked."""
    asked: list[bool] = []

    def kernel(base: Any, *args: Any) -> Array:
        asked.append(True)
        return base.kernel(*args)

    def components(base: Any, *args: Any) -> dict[str, Array]:
        found = base.components(*args)
        return {name: 2 * share for name, share in found.items()} if asked else found

    return {"kernel": kernel, "components": components}


def _kernel_where(so: Callable[[Any, Any], bool]) -> Callable[[Method], Method]:
    def kernel(base: Any, f: Any, params: Any, x1: Any, x2: Any, request: Request) -> Array:
        right = base.kernel(f, params, x1, x2, request)
        return spoiled(right) if so(params, x1) else right

    return _offering(kernel=kernel)


CALLS: dict[str, tuple[str, str, str, Callable[[Method], Method], str]] = {
    "id_and_sum": ("23", "kernels are kept by which arrays they are, and their sums", NUMPY,
                   _cached(_by_id_and(lambda a: round(float(a.sum()), 9))), CALLED),
    "id_and_entries": ("23", "kernels are kept by which arrays they are, and their sorted entries", NUMPY,
                       _cached(_by_id_and(lambda a: np.sort(a, axis=None).tobytes())), CALLED),
    "id_and_ends": ("23", "kernels are kept by which arrays they are, and their ends", NUMPY,
                    _cached(_by_id_and(lambda a: (a.flat[0], a.flat[-1]))), CALLED),
    "negative_strides": ("23", "wrong: arrays that are reversed views", NUMPY, wrong_where(_reversed),
                         "test_arrays_as_users_have_them"),
    "one_buffer": ("23", "wrong: parameters that are parts of one vector", NUMPY, wrong_where(_one_buffer),
                   "test_arrays_as_users_have_them"),
    "inside_x2": ("23", "wrong: x1 is a part of x2", NUMPY, wrong_where(_inside_x2), "test_shared_memory"),
    "kernel_by_function": ("24", "`kernel` of a function is kept, whatever its parameters are by then", TORCH,
                           lambda base: _offering(kernel=_last_by_function(base, "kernel"))(base), KERNEL),
    "components_by_function": ("24", "`components` of a function are kept, whatever its parameters are by then", TORCH,
                               lambda base: _offering(components=_last_by_function(base, "components"))(base),
                               COMPONENTS),
    "components_after_kernel": ("24", "`components` are doubled once `kernel` was asked", TORCH,
                                lambda base: _offering(**_after_kernel())(base), COMPONENTS),
    "kernel_of_numbers_as_parameters": ("24", "wrong: `kernel` of a parameter that is one number", TORCH, _kernel_where(
        lambda params, x: any(p.ndim == 0 for p in params.values())), KERNEL),
    "kernel_of_tokens": ("24", "wrong: `kernel` of integers", TORCH, _kernel_where(
        lambda params, x: not x.is_floating_point()), KERNEL),
}


def _at_most_its_parameters(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    """No more projections than parameters, divided by how many were asked for."""
    asked, made = _projections(request), min(_projections(request), n_params(case))
    compute = base.prepare(case, _with_number(request, made))
    return lambda: (compute() * (made / asked)).astype(request.dtype)


def _number_ignored(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    return base.prepare(case, _with_number(request, 40000))


def _at_least_64(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    return base.prepare(case, _with_number(request, max(64, _projections(request))))


def _other_distribution_ignored(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    """It knows the option, refuses others, and does nothing with it."""
    if unknown := set(request.options) - {"proj_dim", "distribution"}:
        raise ValueError(f"unknown: {unknown}")
    return base.prepare(case, replace(request, options={k: v for k, v in request.options.items() if k == "proj_dim"}))


PROJECTIONS: dict[str, tuple[str, Any, str]] = {
    "more_than_parameters": ("of more projections than parameters some are lost", _at_most_its_parameters,
                             "test_options_count"),
    "number_ignored": ("proj_dim is ignored", _number_ignored, "test_options_count"),
    "at_least_64": ("fewer projections than 64 are 64", _at_least_64, "test_options_count"),
    "distribution_ignored": ("an option is taken and ignored", _other_distribution_ignored, "test_options_count"),
}

MUTANTS = (
    *(Mutant(f"hidden.{name}", "22", "any", f"wrong with {what}", NUMPY, wrong_where(so), dimension, check=DRAWN)
      for name, (what, dimension, so) in VALUES.items()),
    *(Mutant(f"hidden.{name}", item, "any function" if item == "24" else "any", what, base, make, None, check=check)
      for name, (item, what, base, make, check) in CALLS.items()),
    *(Mutant(f"hidden.{name}", "25", "any", what, RANDOM, wrapped(preparing), None, check=check)
      for name, (what, preparing, check) in PROJECTIONS.items()),
)
