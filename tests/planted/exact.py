"""Exact methods with a mistake each; the numbers are those of the list of known bugs in NTK libraries' issue trackers.

Every object here is a method on which the gate has to fail. Named by what is wrong with it, in capitals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from impls import Method
from impls.protocol import Framework, Kind
from reference import Case, Request, select_outputs
from reference.tolerances import tolerance
from tests.planted.correct import full_kernel, jacobians, product, second_inputs

Compute = Callable[[Case, Request], np.ndarray]


@dataclass(frozen=True)
class Planted:
    """A method whose kernel is what `compute` makes of the case and the request, rounded to the dtype or not."""

    name: str
    compute: Compute
    framework: Framework = "numpy"
    kind: Kind = "exact"

    def prepare(self, case: Case, request: Request) -> Callable[[], np.ndarray]:
        return lambda: self.compute(case, request)


def planted(compute: Compute) -> Method:
    """The method that `compute` is; its name is the function's."""
    return Planted(f"planted.{compute.__name__}", compute)


def right(case: Case, request: Request) -> np.ndarray:
    return select_outputs(full_kernel(case), request.outputs).astype(request.dtype)


@planted
def BIASES_FORGOTTEN(case: Case, request: Request) -> np.ndarray:
    weights = [name for name in case.params if name.endswith(".weight")]
    kernel = product(jacobians(case, case.x1, weights), jacobians(case, second_inputs(case), weights))
    return select_outputs(kernel, request.outputs).astype(request.dtype)


@planted
def SUM_OVER_ALL_PAIRS(case: Case, request: Request) -> np.ndarray:
    """A cotangent of ones for the trace."""
    return full_kernel(case).sum((2, 3)).astype(request.dtype) if request.outputs == "trace" else right(case, request)


@planted
def MEAN_FOR_TRACE(case: Case, request: Request) -> np.ndarray:
    scale = case.network.n_outputs if request.outputs == "trace" else 1
    return (right(case, request) / scale).astype(request.dtype)


@planted
def TRACE_FOR_DIAGONAL(case: Case, request: Request) -> np.ndarray:
    """The trace where each output's own kernel is asked for: dynamics O times too fast."""
    if request.outputs != "diagonal":
        return right(case, request)
    trace = select_outputs(full_kernel(case), "trace")
    return np.repeat(trace[:, :, None], case.network.n_outputs or 1, axis=2).astype(request.dtype)


@planted
def OUTPUTS_TRANSPOSED(case: Case, request: Request) -> np.ndarray:
    return right(case, request).swapaxes(2, 3) if request.outputs == "full" else right(case, request)


@planted
def INPUTS_SWAPPED(case: Case, request: Request) -> np.ndarray:
    kernel = product(jacobians(case, second_inputs(case)), jacobians(case, case.x1))
    return select_outputs(kernel, request.outputs).astype(request.dtype)


@planted
def OUTPUTS_BEFORE_X2(case: Case, request: Request) -> np.ndarray:
    """(N1, O, N2, O)."""
    return right(case, request).swapaxes(1, 2) if request.outputs == "full" else right(case, request)


def round_mantissa(array: np.ndarray, bits: int) -> np.ndarray:
    """The nearest numbers with that many bits after the leading one."""
    mantissa, exponent = np.frexp(array)
    return np.ldexp(np.round(mantissa * 2.0 ** (bits + 1)), exponent - bits - 1)


@planted
def TF32_PRODUCTS(case: Case, request: Request) -> np.ndarray:
    """Matrix products of numbers rounded to 10 bits."""
    left, right = (round_mantissa(jacobians(case, x), 10) for x in (case.x1, second_inputs(case)))
    return select_outputs(product(left, right), request.outputs).astype(request.dtype)


@planted
def FLOAT16_SUMS(case: Case, request: Request) -> np.ndarray:
    left, right = (jacobians(case, x).astype(np.float16) for x in (case.x1, second_inputs(case)))
    total = np.zeros(product(left[..., :1], right[..., :1]).shape, np.float16)
    for p in range(left.shape[-1]):
        total += product(left[..., p:p + 1], right[..., p:p + 1])
    return select_outputs(total, request.outputs).astype(request.dtype)


@planted
def FLOAT32_INSIDE(case: Case, request: Request) -> np.ndarray:
    """float64 asked for and given, float32 computed."""
    left, right = (jacobians(case, x).astype(np.float32) for x in (case.x1, second_inputs(case)))
    return select_outputs(product(left, right), request.outputs).astype(request.dtype)


@planted
def FLOAT32_ALWAYS(case: Case, request: Request) -> np.ndarray:
    return right(case, request).astype(np.float32)


@planted
def NOT_FINITE(case: Case, request: Request) -> np.ndarray:
    kernel = right(case, request)
    kernel[(-1,) * kernel.ndim] = np.nan
    return kernel


def asymmetric(case: Case, request: Request, share: float) -> np.ndarray:
    """Not symmetric, each entry off by that share of the tolerance."""
    kernel = full_kernel(case)
    if case.symmetric and len(case.x1) > 1:
        scale = np.sqrt(kernel[0, 0, 0, 0] * kernel[1, 1, 0, 0])
        kernel[0, 1, 0, 0] += share * tolerance(request.dtype) * scale
        kernel[1, 0, 0, 0] -= share * tolerance(request.dtype) * scale
    return select_outputs(kernel, request.outputs).astype(request.dtype)


@planted
def BARELY_ASYMMETRIC(case: Case, request: Request) -> np.ndarray:
    """Each entry within the tolerance, and yet not symmetric."""
    return asymmetric(case, request, 0.9)


@planted
def NOT_POSITIVE(case: Case, request: Request) -> np.ndarray:
    """Symmetric, with a negative eigenvalue."""
    kernel = full_kernel(case)
    identity = np.einsum("nm,ab->nmab", np.eye(*kernel.shape[:2]), np.eye(*kernel.shape[2:]))
    return select_outputs(kernel - 0.24 * identity, request.outputs).astype(request.dtype)


@planted
def LAST_BLOCK_DROPPED(case: Case, request: Request) -> np.ndarray:
    """Of examples that batch_size does not divide."""
    kernel, size = right(case, request), request.batch_size
    if size is not None:
        kernel[len(kernel) // size * size:] = 0
    return kernel


_first_params: dict = {}


@planted
def STALE_PARAMETERS(case: Case, request: Request) -> np.ndarray:
    """Those of the first call with this network, for ever after."""
    params = _first_params.setdefault((case.name, case.network), case.params)
    return right(replace(case, params=params), request)


_kernels: dict = {}


@planted
def CACHED_BY_SIZE(case: Case, request: Request) -> np.ndarray:
    key = (case.network.n_outputs, len(case.x1), case.symmetric, request.outputs, request.dtype)
    return _kernels.setdefault(key, right(case, request))


@planted
def INPUTS_OVERWRITTEN(case: Case, request: Request) -> np.ndarray:
    kernel = right(case, request)
    np.multiply(case.x1, 2, out=case.x1)
    return kernel


@planted
def GENERATOR_RESEEDED(case: Case, request: Request) -> np.ndarray:
    np.random.seed(np.random.randint(2**31))  # noqa: NPY002  (the mistake; another state than any test left)
    return right(case, request)


@dataclass(frozen=True)
class LeavesFloat64:
    """PyTorch's default dtype is another one afterwards; PyTorch is imported no sooner than needed."""

    name: str = "planted.LEAVES_FLOAT64"
    framework: Framework = "torch"
    kind: Kind = "exact"

    def prepare(self, case: Case, request: Request) -> Callable[[], np.ndarray]:
        import torch

        torch.set_default_dtype(torch.float64)
        return lambda: right(case, request)


LEAVES_FLOAT64 = LeavesFloat64()


@planted
def NO_OUTPUT_AXES(case: Case, request: Request) -> np.ndarray:
    """One output only."""
    return full_kernel(case)[:, :, 0, 0].astype(request.dtype)


@planted
def A_LIST(case: Case, request: Request) -> np.ndarray:
    return right(case, request).tolist()


@planted
def RAISES(case: Case, request: Request) -> np.ndarray:
    raise RuntimeError("no kernel today")


@dataclass(frozen=True)
class SkipsAll:
    """Supports nothing, and says so."""

    name: str = "planted.SKIPS_ALL"
    framework: Framework = "numpy"
    kind: Kind = "exact"

    def unsupported(self, case: Case, request: Request) -> str:
        return "supports nothing"

    def prepare(self, case: Case, request: Request) -> Callable[[], np.ndarray]:
        raise AssertionError("an unsupported case was prepared")


SKIPS_ALL = SkipsAll()


@dataclass(frozen=True)
class SkipsWithoutReason(SkipsAll):
    name: str = "planted.SKIPS_WITHOUT_REASON"

    def unsupported(self, case: Case, request: Request) -> str:
        return ""


SKIPS_WITHOUT_REASON = SkipsWithoutReason()


class IncompleteMethod:
    """Breaks the protocol: no `kind`, no `prepare`."""

    name = "planted.INCOMPLETE"
    framework = "numpy"


INCOMPLETE = IncompleteMethod()
