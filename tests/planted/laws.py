"""Methods that break one law slightly, and keep the others as far as they can; the gate has to name the law.

Named by what is wrong with them. The factor is far above the tolerance of float64, and far below what is seen by eye.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from impls import Method
from impls.protocol import Framework, Kind
from reference import MLP, Case, ConvNet, Layered, Request, has_limit, infinite_width, seed_of, select_outputs
from tests.planted.correct import full_kernel, jacobians, product, second_inputs
from tests.planted.exact import asymmetric, planted
from tests.planted.stochastic import Projections

SLIGHTLY = 1 + 1e-6


def off_where(condition: bool, case: Case, request: Request, factor: float = SLIGHTLY) -> np.ndarray:
    kernel = full_kernel(case) * (factor if condition else 1.0)
    return select_outputs(kernel, request.outputs).astype(request.dtype)


@planted
def VALUE(case: Case, request: Request) -> np.ndarray:
    return off_where(True, case, request, 1 + 1e-11)


@planted
def SYMMETRY(case: Case, request: Request) -> np.ndarray:
    """Each entry within the tolerance."""
    return asymmetric(case, request, 0.6)


@planted
def POSITIVITY(case: Case, request: Request) -> np.ndarray:
    """A constant taken off the diagonal entries: seen where the kernel is singular."""
    kernel = full_kernel(case)
    if case.symmetric:
        np.einsum("nnaa->na", kernel)[...] -= 1e-9
    return select_outputs(kernel, request.outputs).astype(request.dtype)


@planted
def FIRST_EXAMPLE(case: Case, request: Request) -> np.ndarray:
    """The first example of x1 = x2 weighs more."""
    kernel = full_kernel(case)
    if case.symmetric:
        kernel[0] *= SLIGHTLY
        kernel[:, 0] *= SLIGHTLY
    return select_outputs(kernel, request.outputs).astype(request.dtype)


@planted
def X2_GIVEN(case: Case, request: Request) -> np.ndarray:
    return off_where(not case.symmetric, case, request)


@planted
def MORE_ROWS(case: Case, request: Request) -> np.ndarray:
    """Wrong where x1 has fewer examples than x2: only when the two are swapped."""
    return off_where(len(case.x1) < len(second_inputs(case)), case, request)


@planted
def DIAGONAL(case: Case, request: Request) -> np.ndarray:
    return off_where(request.outputs == "diagonal", case, request)


@planted
def TRACE(case: Case, request: Request) -> np.ndarray:
    return off_where(request.outputs == "trace", case, request)


@planted
def LAST_BLOCK(case: Case, request: Request) -> np.ndarray:
    """The rows of the smaller last block."""
    kernel, size = full_kernel(case), request.batch_size
    if size is not None and len(kernel) % size:
        kernel[len(kernel) // size * size:] *= SLIGHTLY
    return select_outputs(kernel, request.outputs).astype(request.dtype)


@planted
def FLOAT32(case: Case, request: Request) -> np.ndarray:
    return off_where(request.dtype == "float32", case, request, 1 + 1e-4)


@planted
def FIRST_OUTPUT(case: Case, request: Request) -> np.ndarray:
    kernel = full_kernel(case)
    kernel[:, :, 0] *= SLIGHTLY
    kernel[:, :, :, 0] *= SLIGHTLY
    return select_outputs(kernel, request.outputs).astype(request.dtype)


@planted
def ALPHABET(case: Case, request: Request) -> np.ndarray:
    """Right where parameters come in the order of their first use."""
    return off_where(list(case.params) != list(case.network.param_shapes()), case, request)


_first: dict[Any, dict[str, np.ndarray]] = {}


def first_params(case: Case) -> dict[str, np.ndarray]:
    """Those with which this network was asked for first."""
    return _first.setdefault((case.name, case.network), {name: value.copy() for name, value in case.params.items()})


@planted
def LARGE_LAST_WEIGHT(case: Case, request: Request) -> np.ndarray:
    """Larger than at first: clipped, say."""
    first = first_params(case)
    last = [name for name in first if name.endswith("weight")][-1:]
    grown = any(np.linalg.norm(case.params[name]) > 1.5 * np.linalg.norm(first[name]) for name in last)
    return off_where(grown, case, request)


@planted
def LARGE_W_STD(case: Case, request: Request) -> np.ndarray:
    return off_where(isinstance(case.network, MLP) and case.network.W_std > 1.9, case, request)


@planted
def LARGE_B_STD(case: Case, request: Request) -> np.ndarray:
    network = case.network
    return off_where(isinstance(network, MLP) and network.b_std > 1.9 > network.W_std, case, request)


@planted
def FROZEN(case: Case, request: Request) -> np.ndarray:
    """A millionth of what is frozen is counted."""
    kernel = full_kernel(case)
    if isinstance(case.network, Layered) and case.network.frozen:
        frozen = list(case.network.frozen)
        kernel += 1e-6 * product(jacobians(case, case.x1, frozen), jacobians(case, second_inputs(case), frozen))
    return select_outputs(kernel, request.outputs).astype(request.dtype)


@planted
def STALE(case: Case, request: Request) -> np.ndarray:
    """A millionth of the kernel of the first parameters, in that of others."""
    stale = full_kernel(replace(case, params=first_params(case)))
    kernel = full_kernel(case) * (1 - 1e-6) + 1e-6 * stale
    return select_outputs(kernel, request.outputs).astype(request.dtype)


@planted
def RESEEDS(case: Case, request: Request) -> np.ndarray:
    np.random.seed(len(case.x1))  # noqa: NPY002  (the mistake)
    return off_where(False, case, request)


@dataclass(frozen=True)
class Tired:
    """What is prepared is right so many times."""

    name: str = "planted.TIRED"
    n_right: int = 1
    framework: Framework = "numpy"
    kind: Kind = "exact"

    def prepare(self, case: Case, request: Request) -> Callable[[], np.ndarray]:
        kernels = iter(range(10**6))
        return lambda: off_where(next(kernels) >= self.n_right, case, request)


TIRED: Method = Tired()
TIRED_IN_THE_FOURTH: Method = Tired("planted.TIRED_IN_THE_FOURTH", 3)


@dataclass(frozen=True)
class Components:
    """A right kernel, and shares of the parameters of which one is off."""

    name: str = "planted.COMPONENTS"
    factor: float = SLIGHTLY
    framework: Framework = "numpy"
    kind: Kind = "exact"

    def prepare(self, case: Case, request: Request) -> Callable[[], np.ndarray]:
        return lambda: off_where(False, case, request)

    def components(self, case: Case, request: Request) -> dict[str, np.ndarray]:
        last = list(case.params)[-1]
        return {name: product(jacobians(case, case.x1, [name]), jacobians(case, second_inputs(case), [name]))
                * (self.factor if name == last else 1) for name in case.params}


COMPONENTS: Method = Components()
RIGHT_COMPONENTS: Method = Components("planted.right_components", 1.0)


@planted
def RAISES_FOR_TRACE(case: Case, request: Request) -> np.ndarray:
    if request.outputs == "trace":
        raise RuntimeError("no trace today")
    return off_where(False, case, request)


@dataclass(frozen=True)
class OneSeedARequest(Projections):
    """Other projections for each kind of `field` of the request, though the seed is the same."""

    field: str = "outputs"

    def prepare(self, case: Case, request: Request) -> Callable[[], np.ndarray]:
        asked = {"outputs": request.outputs, "batch_size": request.batch_size, "x2": case.symmetric}[self.field]
        return super().prepare(case, replace(request, seed=seed_of(f"{request.seed} {asked}")))


OTHER_SEED_FOR_OUTPUTS = OneSeedARequest("planted.OTHER_SEED_FOR_OUTPUTS")
OTHER_SEED_FOR_BLOCKS = OneSeedARequest("planted.OTHER_SEED_FOR_BLOCKS", field="batch_size")


@dataclass(frozen=True)
class OtherSeedForSwapped(Projections):
    """Projections drawn for the number of examples in x1."""

    def prepare(self, case: Case, request: Request) -> Callable[[], np.ndarray]:
        return super().prepare(case, replace(request, seed=request.seed + len(case.x1)))


OTHER_SEED_FOR_SWAPPED = OtherSeedForSwapped("planted.OTHER_SEED_FOR_SWAPPED")


@dataclass(frozen=True)
class Limit:
    """The infinite-width kernel (x1·x2 where it has no closed form), or what `mistake` makes of it."""

    name: str
    mistake: Callable[[Case, Request], float] = lambda case, request: 1.0
    framework: Framework = "numpy"
    kind: Kind = "limit"

    def prepare(self, case: Case, request: Request) -> Callable[[], np.ndarray]:
        products = (case.x1 @ second_inputs(case).T)[:, :, None, None] * np.eye(case.network.n_outputs or 1)
        full = (infinite_width(case).full if has_limit(case.network) else products) * self.mistake(case, request)
        return lambda: select_outputs(full, request.outputs).astype(request.dtype)


RIGHT_LIMIT: Method = Limit("planted.right_limit")
LIMIT_OF_X2: Method = Limit("planted.LIMIT_OF_X2", lambda case, _: 1.0 if case.symmetric else SLIGHTLY)
LIMIT_OF_LARGE_INPUTS: Method = Limit("planted.LIMIT_OF_LARGE_INPUTS",
                                      lambda case, _: SLIGHTLY if getattr(case.network, "b_std", 0) > 1.9 else 1.0)


def without_bias(activation: str) -> Method:
    """2 % off for that activation without biases."""
    def mistake(case: Case, request: Request) -> float:
        network = case.network
        assert isinstance(network, MLP | ConvNet)
        return 1.02 if network.activation == activation and not network.bias else 1.0

    return Limit(f"planted.limit_of_{activation}_without_bias", mistake)


LIMIT_OF_RELU_WITHOUT_BIAS, LIMIT_OF_GELU_WITHOUT_BIAS = map(without_bias, ("relu", "gelu"))


@planted
def SHARED_EXAMPLE(case: Case, request: Request) -> np.ndarray:
    """Where an example of x2 is one of x1."""
    kernel = full_kernel(case)
    if case.x2 is not None:
        same = [[np.array_equal(first, second) for second in case.x2] for first in case.x1]
        kernel[np.array(same)] *= SLIGHTLY
    return select_outputs(kernel, request.outputs).astype(request.dtype)
