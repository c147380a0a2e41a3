"""Exact methods that are wrong only where something unusual is asked for; the gate has to fail on each."""

from __future__ import annotations

import unittest
from collections.abc import Callable

import numpy as np

from reference import Case, Request, select_outputs
from tests.gate.checks import with_arrays
from tests.planted.correct import full_kernel, second_inputs
from tests.planted.exact import planted


def wrong_where(condition: Callable[[Case, Request], bool], case: Case, request: Request) -> np.ndarray:
    """One entry is half as large again where the condition holds."""
    kernel = full_kernel(case)
    if condition(case, request):
        kernel[-1, -1] *= 1.5
    return select_outputs(kernel, request.outputs).astype(request.dtype)


@planted
def SYMMETRIC_BY_SHAPE(case: Case, request: Request) -> np.ndarray:
    """x2 of the shape of x1 is taken for x1."""
    same = case.x2 is not None and case.x1.shape == case.x2.shape
    kernel = full_kernel(case.with_symmetry() if same else case)
    return select_outputs(kernel, request.outputs).astype(request.dtype)


@planted
def MORE_THAN_8_EXAMPLES(case: Case, request: Request) -> np.ndarray:
    return wrong_where(lambda case, _: len(case.x1) > 8, case, request)


@planted
def BLOCKED_TRACE(case: Case, request: Request) -> np.ndarray:
    return wrong_where(lambda _, r: r.batch_size is not None and r.outputs == "trace", case, request)


@planted
def BLOCKED_FLOAT32(case: Case, request: Request) -> np.ndarray:
    return wrong_where(lambda _, r: r.batch_size is not None and r.dtype == "float32", case, request)


@planted
def BLOCKS_OF_ONE(case: Case, request: Request) -> np.ndarray:
    return wrong_where(lambda _, r: r.batch_size == 1, case, request)


@planted
def PADDED_BLOCK(case: Case, request: Request) -> np.ndarray:
    """A block that is larger than both batches."""
    def larger(case: Case, request: Request) -> bool:
        return request.batch_size is not None and request.batch_size > max(len(case.x1), len(second_inputs(case)))

    return wrong_where(larger, case, request)


_kernels: dict = {}


@planted
def STALE_IN_FLOAT32(case: Case, request: Request) -> np.ndarray:
    """The first kernel of a case, for ever after, in one dtype only."""
    key = (case.name, case.symmetric, len(case.x1))
    kernel = _kernels.setdefault(key, full_kernel(case)) if request.dtype == "float32" else full_kernel(case)
    return select_outputs(kernel, request.outputs).astype(request.dtype)


@planted
def MORE_THAN_32_EXAMPLES(case: Case, request: Request) -> np.ndarray:
    return wrong_where(lambda case, _: len(case.x1) > 32, case, request)


@planted
def BLOCKED_TRACE_IN_FLOAT32(case: Case, request: Request) -> np.ndarray:
    """In several blocks only."""
    def so(case: Case, request: Request) -> bool:
        several = request.batch_size is not None and request.batch_size < len(case.x1)
        return several and (request.outputs, request.dtype) == ("trace", "float32")

    return wrong_where(so, case, request)


@planted
def MEMORY_READ_IN_C_ORDER(case: Case, request: Request) -> np.ndarray:
    """The bytes of each array are taken in the order in which they lie."""
    read = with_arrays(case, lambda array: np.frombuffer(array.tobytes("A"), array.dtype).reshape(array.shape))
    return select_outputs(full_kernel(read), request.outputs).astype(request.dtype)


@planted
def EXP_OVERFLOWS(case: Case, request: Request) -> np.ndarray:
    """GELU and tanh by way of exp(z), for large z infinite."""
    kernel = full_kernel(case)
    saturating = getattr(case.network, "activation", "") in ("gelu", "tanh")
    if saturating and np.abs(case.x1).max() > np.log(np.finfo(request.dtype).max):
        kernel[0] = np.nan
    return select_outputs(kernel, request.outputs).astype(request.dtype)


def kept(case: Case, request: Request, *key: object) -> np.ndarray:
    """The first kernel of these parameters, this x1 and this key, for ever after."""
    arrays = {**case.params, "x1": case.x1}
    whole = (key, case.symmetric, *((name, array.tobytes()) for name, array in arrays.items()))
    kernel = _kernels[whole] if whole in _kernels else _kernels.setdefault(whole, full_kernel(case))
    return select_outputs(kernel, request.outputs).astype(request.dtype)


@planted
def STALE_CONSTANTS(case: Case, request: Request) -> np.ndarray:
    return kept(case, request, case.network, second_inputs(case).tobytes())


@planted
def STALE_NETWORK(case: Case, request: Request) -> np.ndarray:
    return kept(case, request, second_inputs(case).tobytes(), *(array.tobytes() for array in case.constants.values()))


@planted
def STALE_X2(case: Case, request: Request) -> np.ndarray:
    return kept(case, request, case.network, len(second_inputs(case)),
                *(array.tobytes() for array in case.constants.values()))


@planted
def STALE_BY_ID(case: Case, request: Request) -> np.ndarray:
    """Kept by which arrays they are, and not by what is in them."""
    key = (id(case.x2), id(case.params["dense0.weight"])) if "dense0.weight" in case.params else object()
    arrays, kernel = _kernels[key] if key in _kernels else _kernels.setdefault(key, (case, full_kernel(case)))
    del arrays  # kept, so that no other arrays have their ids
    return select_outputs(kernel, request.outputs).astype(request.dtype)


@planted
def SKIPS_HARD_CASES(case: Case, request: Request) -> np.ndarray:
    if (case.network.n_outputs or 0) > 30:
        raise unittest.SkipTest("hard")
    return wrong_where(lambda *_: False, case, request)


@planted
def MORE_THAN_33_OUTPUTS(case: Case, request: Request) -> np.ndarray:
    return wrong_where(lambda case, _: (case.network.n_outputs or 0) > 33, case, request)


@planted
def MORE_THAN_128_OUTPUTS_ON_THE_DIAGONAL(case: Case, request: Request) -> np.ndarray:
    return wrong_where(lambda case, r: (case.network.n_outputs or 0) > 128 and r.outputs == "diagonal", case, request)


@planted
def BLOCKED_DIAGONAL_IN_FLOAT64_OF_X1(case: Case, request: Request) -> np.ndarray:
    """With x2 = x1 only."""
    def so(case: Case, request: Request) -> bool:
        return (request.batch_size is not None and case.symmetric
                and (request.outputs, request.dtype) == ("diagonal", "float64"))

    return wrong_where(so, case, request)


@planted
def REPEATED_EXAMPLES(case: Case, request: Request) -> np.ndarray:
    return wrong_where(lambda case, _: len(np.unique(case.x1, axis=0)) < len(case.x1), case, request)


@planted
def X2_EQUAL_TO_X1(case: Case, request: Request) -> np.ndarray:
    return wrong_where(lambda case, _: case.x2 is not None and np.array_equal(case.x1, case.x2), case, request)


@planted
def SAME_EXAMPLES(case: Case, request: Request) -> np.ndarray:
    """x1 and x2 share examples, in whatever order; what is due where x2 = x1."""
    return wrong_where(lambda case, _: case.x2 is not None and not np.array_equal(case.x1, case.x2)
                       and {x.tobytes() for x in case.x1} & {x.tobytes() for x in case.x2} != set(), case, request)
