"""Methods of other kernels than the NTK: right ones, and some with a mistake each, which the gate has to fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from impls.protocol import Framework, Kind
from reference import Case, Quantity, Request, float64_expected, infinite_width, select_outputs
from reference.arithmetic import FLOAT64
from reference.conjugate import float64_conjugate, last_features
from reference.initialisations import draw_outputs
from reference.jacobian import linearise
from tests.planted.correct import second_inputs

Change = Callable[[np.ndarray, Case, Request], np.ndarray]


def as_it_is(kernel: np.ndarray, case: Case, request: Request) -> np.ndarray:
    return kernel


@dataclass(frozen=True)
class Planted:
    """`compute` gives the full kernel; `change` spoils the part that is asked for."""

    name: str
    compute: Callable[[Case, Request], np.ndarray]
    quantities: tuple[Quantity, ...]
    kind: Kind
    change: Change = as_it_is
    framework: Framework = "numpy"
    options: dict[str, Any] = field(default_factory=dict)

    def prepare(self, case: Case, request: Request) -> Callable[[], np.ndarray]:
        return lambda: self.change(select_outputs(self.compute(case, request), request.outputs), case,
                                   request).astype(request.dtype)


_drawn: dict[tuple[str, str, bool, int, int], np.ndarray] = {}


def draws(case: Case, request: Request) -> np.ndarray:
    """Kept, for all the methods that begin with them."""
    n_samples = request.options["n_samples"]
    key = case.name, repr(case.network), case.symmetric, n_samples, request.seed
    if key not in _drawn:
        _drawn[key] = draw_outputs(case, n_samples, np.random.default_rng(request.seed))
    return _drawn[key]


def averaged(case: Case, request: Request) -> np.ndarray:
    """A right one: the tape's own draws."""
    n1, drawn = len(case.x1), draws(case, request)
    second = drawn[:, :n1] if case.symmetric else drawn[:, n1:]
    return np.einsum("sna,smb->nmab", drawn[:, :n1], second) / len(drawn)


def others_for_x2(case: Case, request: Request) -> np.ndarray:
    """Draws of its own for x2: the networks are independent, and the kernel of any two examples is 0."""
    first = draws(case, request)[:, :len(case.x1)]
    second = draws(replace(case, x1=second_inputs(case), x2=case.x1), replace(request, seed=request.seed + 1))
    second = second[:, :len(second_inputs(case))]
    return np.einsum("sna,smb->nmab", first, second) / len(first)


def of_the_parameters(case: Case, request: Request) -> np.ndarray:
    """f fᵀ of the network as it stands: no average."""
    first, second = (outputs_of(case, x) for x in (case.x1, second_inputs(case)))
    return np.einsum("na,mb->nmab", first, second)


def outputs_of(case: Case, x: np.ndarray) -> np.ndarray:
    arrays = {**case.params, **case.constants}
    return np.array([linearise(case.network, FLOAT64, arrays, each).output.value[:, 0]  # pyright: ignore[reportArgumentType]
                     for each in x])


def tangent(case: Case, request: Request) -> np.ndarray:
    return float64_expected(case, range(len(case.x1)), range(len(second_inputs(case)))).full


def without_biases(case: Case, request: Request) -> np.ndarray:
    """Drawn as 0, as many initialise them."""
    bare = replace(case.network, bias=False)  # pyright: ignore[reportArgumentType]
    params = {name: value for name, value in case.params.items() if name in bare.param_shapes()}
    return averaged(replace(case, network=bare, params=params), request)


def summed(kernel: np.ndarray, case: Case, request: Request) -> np.ndarray:
    """The sum over outputs in place of each."""
    if request.outputs == "trace":
        return kernel
    if request.outputs == "diagonal":
        return np.broadcast_to(kernel.sum(-1, keepdims=True), kernel.shape)
    return np.einsum("nmcc,ab->nmab", kernel, np.eye(kernel.shape[-1]))


def mean_for_trace(kernel: np.ndarray, case: Case, request: Request) -> np.ndarray:
    return kernel / (case.network.n_outputs or 1) if request.outputs == "trace" else kernel


def quarter_too_large(kernel: np.ndarray, case: Case, request: Request) -> np.ndarray:
    return kernel * 1.25


def infinite(case: Case, request: Request) -> np.ndarray:
    return infinite_width(case, "nngp").full


def features(case: Case, request: Request) -> np.ndarray:
    return float64_conjugate(case, request.options.get("layer")).full


def before_the_activation(case: Case, request: Request) -> np.ndarray:
    """What the layer before gives, for what the layer takes."""
    name = request.options.get("layer") or last_features(case)
    layers = list(dict.fromkeys(each.partition(".")[0] for each in case.params))
    index = layers.index(name.partition(":")[0])
    return float64_conjugate(case, name if index == 0 else layers[index - 1]).full


def times_h(kernel: np.ndarray, case: Case, request: Request) -> np.ndarray:
    """φφᵀ as it is."""
    return kernel * case.params["dense1.weight"].shape[1]


def centred(case: Case, request: Request) -> np.ndarray:
    full = features(case, request)
    return full - full.mean(axis=1, keepdims=True)


def with_outputs(kernel: np.ndarray, case: Case, request: Request) -> np.ndarray:
    """K ⊗ I_O, as if features were outputs."""
    eye = np.eye(case.network.n_outputs or 1)
    return np.einsum("nmcc,ab->nmab", kernel, eye) if request.outputs == "full" else kernel


AVERAGED = Planted("planted.averaged", averaged, ("nngp",), "stochastic")
INFINITE = Planted("planted.infinite", infinite, ("nngp",), "limit")
FEATURES = Planted("planted.features", features, ("conjugate",), "exact")

SUMMED = Planted("planted.summed", averaged, ("nngp",), "stochastic", summed)
MEAN_FOR_TRACE = Planted("planted.mean_for_trace", averaged, ("nngp",), "stochastic", mean_for_trace)
QUARTER_TOO_LARGE = Planted("planted.quarter_too_large", averaged, ("nngp",), "stochastic", quarter_too_large)
OTHERS_FOR_X2 = Planted("planted.others_for_x2", others_for_x2, ("nngp",), "stochastic")
OF_THE_PARAMETERS = Planted("planted.of_the_parameters", of_the_parameters, ("nngp",), "stochastic")
TANGENT = Planted("planted.tangent", tangent, ("nngp",), "stochastic")
WITHOUT_BIASES = Planted("planted.without_biases", without_biases, ("nngp",), "stochastic")
LIMIT_SUMMED = Planted("planted.limit_summed", infinite, ("nngp",), "limit", summed)
NOT_DIVIDED = Planted("planted.not_divided", features, ("conjugate",), "exact", times_h)
BEFORE_THE_ACTIVATION = Planted("planted.before_the_activation", before_the_activation, ("conjugate",), "exact")
CENTRED = Planted("planted.centred", centred, ("conjugate",), "exact")
WITH_OUTPUTS = Planted("planted.with_outputs", features, ("conjugate",), "exact", with_outputs)
