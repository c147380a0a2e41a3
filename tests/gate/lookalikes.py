"""Cases that a careless cache takes for one another: of one name and one network, the same shapes, and more besides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from reference import MLP, Case, Layered, round_to_float32
from reference.layers import Activate, Dense, FourierFeatures
from tests.gate.checks import moved
from tests.gate.drawn import Draws

WIDTHS = (12, 100, 3)
"""NumPy writes an array of more than 1000 entries by its ends alone, and so are the first weight and x1."""

N1, N2 = 90, 4

SMALL = (3, 4)
"""N1 and N2 where a repr does not matter."""


def lookalikes(draw: Draws) -> dict[str, Case]:
    """By what they have in common with the first, besides its name, its network and all shapes."""
    first = draw.case(MLP(WIDTHS, draw.one_of("tanh", "erf"), b_std=0.5), N1, N2)
    return {
        "the first": first,
        "all but one entry inside of the first weight": _with_params(first, {"dense0.weight": _inside_changed}),
        "all but one entry inside of x1": replace(first, x1=_inside_changed(first.x1)),
        "all but one entry of x2": replace(first, x2=_last_changed(first.x2)),
        "all but the last bias": _with_params(first, {"dense1.bias": _last_changed}),
        "sums, norms and sets of entries": _all(first, lambda array: np.roll(array[::-1], 1, axis=-1)),
        "sums over the parameters": _with_params(first, {"dense0.weight": np.negative, "dense1.weight": np.negative}),
        "nothing but the shapes": moved(first),
        "x1 and parameters, x2 being other examples of x1": replace(first, x2=first.x1[:N2].copy()),
    }


def other_constants(draw: Draws) -> tuple[Case, Case]:
    """Two values of what is not trained, all else being equal."""
    case = draw.case(Layered((2,), (FourierFeatures("features", 3, std=2.0), Dense("hidden", 5), Activate("tanh"),
                                    Dense("head", 3))), *SMALL)
    return case, replace(case, constants={name: _last_changed(array) for name, array in case.constants.items()})


def _with_params(case: Case, changes: Mapping[str, Callable[[np.ndarray], np.ndarray]]) -> Case:
    changed = {name: change(case.params[name]) for name, change in changes.items()}
    return replace(case, params={**case.params, **changed})


def _all(case: Case, change: Callable[[np.ndarray], np.ndarray]) -> Case:
    assert case.x2 is not None
    return replace(case, params={name: change(array) for name, array in case.params.items()}, x1=change(case.x1),
                   x2=change(case.x2))


def _inside_changed(array: np.ndarray) -> np.ndarray:
    changed = array.copy()
    middle = tuple(n // 2 for n in array.shape)
    changed[middle] = round_to_float32(changed[middle] + 0.5)
    return changed


def _last_changed(array: np.ndarray | None) -> np.ndarray:
    assert array is not None
    changed = array.copy()
    changed[(-1,) * array.ndim] = round_to_float32(changed[(-1,) * array.ndim] + 0.5)
    return changed
