"""The NNGP kernel of a network as wide as it is, E f_a(x1_n) f_b(x2_m) over its initialisations: what is known of it.

Given the features of the last hidden layer, the outputs are independent and Gaussian, so that the kernel is E Σ ⊗ I_O.
With one hidden layer, or none, its expectation is that of infinite width at every width: the hidden units are drawn
independently of each other, and the average of n of them has the expectation of one (Neal 1996, section 2.1). Deeper
networks are O(1/width) from it; of these, and of those without a closed form, the float64 tape gives an average over
draws of its own, with its standard error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reference.arithmetic import FLOAT64
from reference.case import Case, DType, InputError, Outputs, draw_params
from reference.compare import Comparison, check_form
from reference.expected import Expected
from reference.infinite_width import has_limit, infinite_width
from reference.jacobian import linearise
from reference.layered import Described
from reference.networks import MLP, ConvNet, Network
from reference.statistics import standard_errors_allowed
from reference.structure import structural_fault
from reference.tolerances import FALSE_ALARM_LEVEL, tolerance


@dataclass(frozen=True, eq=False)
class Initialised:
    """`expected`, and by how much its entries may be off; `outputs1` (S, N1, O) and `outputs2` (S, N2, O) are those of
    S networks that the tape drew, of which the spread of one draw is taken. `n_draws` is S where `expected` is their
    average, and infinite where it is proved."""

    expected: Expected
    outputs1: np.ndarray
    outputs2: np.ndarray
    n_draws: float

    def deviation(self, outputs: Outputs) -> np.ndarray:
        """The standard deviation, over draws of the network, of f_a(x1_n) f_b(x2_m) as `outputs` selects or sums it."""
        return products_of_draws(self.outputs1, self.outputs2, outputs).std(axis=0, ddof=1)


def products_of_draws(outputs1: np.ndarray, outputs2: np.ndarray, outputs: Outputs) -> np.ndarray:
    """f(x1) f(x2)ᵀ of every draw: (S, N1, N2, O, O), its diagonal, or its trace."""
    subscripts = {"full": "sna,smb->snmab", "diagonal": "sna,sma->snma", "trace": "sna,sma->snm"}[outputs]
    return np.einsum(subscripts, outputs1, outputs2)


def is_limit_at_every_width(network: Network) -> bool:
    """Whether the kernel of this very network is known: that of infinite width, with one hidden layer or none."""
    if not has_limit(network, "nngp"):
        return False
    return (isinstance(network, MLP) and network.n_layers <= 2) or (
        isinstance(network, ConvNet) and len(network.convs) == len(network.dense) == 1)


def initialised(case: Case, n_draws: int, seed: int = 0) -> Initialised:
    """What an average over initialisations of the case's network is held against. Its parameters do not enter, its
    constants do. Raises `InputError` for a network that is not described."""
    if n_draws < 2:
        raise InputError(f"n_draws must be at least 2, got {n_draws}")
    drawn, n1 = draw_outputs(case, n_draws, np.random.default_rng(seed)), len(case.x1)
    outputs1, outputs2 = drawn[:, :n1], drawn[:, :n1] if case.symmetric else drawn[:, n1:]
    if is_limit_at_every_width(case.network):
        return Initialised(infinite_width(case, "nngp"), outputs1, outputs2, math.inf)
    full = products_of_draws(outputs1, outputs2, "full").mean(0)
    blocks = [np.einsum("sna,snb->nab", each, each) / n_draws for each in (outputs1, outputs2)]
    source = f"float64 tape, average over {n_draws} initialisations"
    return Initialised(Expected(full, blocks[0], blocks[1], source), outputs1, outputs2, n_draws)


def draw_outputs(case: Case, n_draws: int, rng: np.random.Generator) -> np.ndarray:
    """Outputs (S, N, O) of S networks drawn anew, for the examples of x1 and then of x2."""
    network = case.network
    if not isinstance(network, Described):
        raise InputError(f"the reference draws its own networks, not {type(network).__name__} (case {case.name!r})")
    x = case.x1 if case.x2 is None else np.concatenate([case.x1, case.x2])
    constants = {name: np.asarray(value, np.float64) for name, value in case.constants.items()}

    def outputs() -> list[np.ndarray]:
        arrays = {**draw_params(network, rng), **constants}
        return [linearise(network, FLOAT64, arrays, example).output.value[:, 0] for example in x]

    return np.array([outputs() for _ in range(n_draws)])


def compare_average(kernel: Any, truth: Initialised, *, outputs: Outputs, dtype: DType, symmetric: bool,
                    n_samples: int, n_checks: int = 1, level: float = FALSE_ALARM_LEVEL) -> Comparison:
    """Hold an average over `n_samples` initialisations against `truth`: form first, then values, then structure.

    `error` and `tolerance` are in standard errors, of both averages where the truth is one. Over `n_checks` such
    comparisons, and every entry of each, a right method fails with a probability of about `level`: an average of so
    many draws is taken for Gaussian (at 4,096 of them the third moment moves the odds at six standard errors fivefold).
    """
    expected = truth.expected
    threshold = standard_errors_allowed(expected.outputs(outputs).size, n_checks, level)
    malformed = check_form(kernel, expected, outputs=outputs, dtype=dtype)
    if malformed is not None:
        return replace(malformed, tolerance=threshold)
    values, due = kernel.astype(np.float64), expected.outputs(outputs)
    rounding = tolerance(dtype) * expected.scale(outputs)
    excess = np.maximum(np.abs(values - due) - rounding, 0)
    error_of_one = truth.deviation(outputs) * math.sqrt(1 / n_samples + 1 / truth.n_draws)
    z = np.divide(excess, error_of_one, out=np.where(excess > 0, np.inf, 0.0), where=error_of_one > 0)
    error = float(z.max())
    if error <= threshold and symmetric:
        error = max(error, _pooled(values, truth, outputs, n_samples))
        if error > threshold:
            return Comparison("wrong", error, threshold, f"the variances together are {error:.3g} standard errors off, "
                                                         f"{threshold:.3g} are allowed")
    if error > threshold:
        where = tuple(int(i) for i in np.unravel_index(np.argmax(z), z.shape))
        factor = float(np.vdot(due, values) / np.vdot(due, due))
        return Comparison("wrong", error, threshold, (
            f"{error:.3g} standard errors off, {threshold:.3g} are allowed, at {where}: {values[where]:.6g} where "
            f"{due[where]:.6g} is due; the best constant factor is {factor:.4g}"))
    fault = structural_fault(values, outputs, dtype) if symmetric else ""
    return Comparison("wrong" if fault else "ok", error, threshold, fault)


def _pooled(values: np.ndarray, truth: Initialised, outputs: Outputs, n_samples: int) -> float:
    """By how many standard errors the mean of all K[n,n,a,a]/K_ref[n,n,a,a] is off 1: finer than any of them alone."""
    due = truth.expected.block1 if outputs != "trace" else np.trace(truth.expected.block1, axis1=1, axis2=2)
    due = due if outputs == "trace" else np.einsum("naa->na", due)
    found = np.einsum({"full": "nnaa->na", "diagonal": "nna->na", "trace": "nn->n"}[outputs], values)
    squares = truth.outputs1**2 if outputs != "trace" else (truth.outputs1**2).sum(-1)
    alive = due > 0
    if not alive.any():
        return 0.0
    of_one = (squares[:, alive] / due[alive]).mean(-1).std(ddof=1)
    return float(abs((found[alive] / due[alive]).mean() - 1) / (of_one * math.sqrt(1 / n_samples + 1 / truth.n_draws)))
