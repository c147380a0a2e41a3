"""Witnesses against the oracle that do not use its derivatives: differences of the forward pass at high precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from reference.case import Case, InputError
from reference.jacobian import linearise
from reference.layered import Described

STEP_BITS = 60
"""The step of the differences is 2⁻⁶⁰, and their error, of second order in it, about 2⁻¹²⁰."""

PRECISION_BITS = 320

AGREEMENT = 2.0**-100
"""What the bound on the differences' error has to stay below, relative to the size of the derivative."""


class WitnessError(ArithmeticError):
    """The tape's derivative is not the limit of the differences."""


@dataclass(frozen=True)
class Difference:
    """Derivatives of all O outputs along one direction, as balls: by the tape and by differences."""

    by_tape: np.ndarray
    fine: np.ndarray
    """(f(θ + h v) − f(θ − h v)) / 2h"""
    coarse: np.ndarray
    """The same with step 2h."""


def difference(case: Case, x: np.ndarray, direction: Mapping[str, np.ndarray]) -> Difference:
    """Both derivatives of the outputs for one example along `direction` (float64 arrays like the parameters)."""
    from reference import balls

    network = case.network
    if not isinstance(network, Described):
        raise InputError(f"the reference differentiates its own networks, not {type(network).__name__}")
    lift = balls.BALLS.lift
    with balls.precision(PRECISION_BITS):
        theta = {name: lift(value) for name, value in case.params.items()}
        along = {name: lift(value) for name, value in direction.items()}
        constants = {name: lift(value) for name, value in case.constants.items()}

        def outputs(step: float) -> np.ndarray:
            moved = {name: theta[name] + along[name] * balls.arb(step) for name in theta}
            return linearise(network, balls.BALLS, {**moved, **constants}, x).output.value[:, 0]

        def central(step: float) -> np.ndarray:
            return (outputs(step) - outputs(-step)) / balls.arb(2 * step)

        jacobian = linearise(network, balls.BALLS, {**theta, **constants}, x).jacobian(list(theta))
        by_tape = jacobian @ np.concatenate([along[name].ravel() for name in theta])
        return Difference(by_tape, central(2.0**-STEP_BITS), central(2.0 ** (1 - STEP_BITS)))


def check_difference(result: Difference, where: str) -> None:
    """Raise `WitnessError` unless the tape agrees with the differences to within the error that they have.

    The error of the fine difference is C h² + O(h⁴), of the coarse one 4 C h² + O(h⁴) (Richardson), so their distance
    bounds the error three times over. That bound and the radii have to be below `AGREEMENT`, or the check would say
    nothing.
    """
    from reference import balls

    with balls.precision(PRECISION_BITS):
        size = sum((abs(value) for value in result.by_tape), start=balls.arb(1))
        for tape, fine, coarse in zip(result.by_tape, result.fine, result.coarse, strict=True):
            bound = abs(coarse - fine)
            if not bound + tape.rad() + fine.rad() < size * balls.arb(AGREEMENT):
                raise WitnessError(f"{where}: too wide to tell, tape {tape}, differences {fine} to within {bound}")
            if abs(tape - fine) > bound:
                raise WitnessError(f"{where}: the tape gives {tape}, differences give {fine} to within {bound}")


def check_case(case: Case, rng: np.random.Generator) -> None:
    """Check every example of x1 and x2 along a random direction in the space of all parameters."""
    batches = {"x1": case.x1} | ({} if case.x2 is None else {"x2": case.x2})
    for what, batch in batches.items():
        for n, x in enumerate(batch):
            direction = {name: rng.standard_normal(value.shape) for name, value in case.params.items()}
            check_difference(difference(case, x, direction), f"case {case.name!r}, example {n} of {what}")
