"""Wrong kernels of the parameters: what `tests/impls/own/test_components.py` has to find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import impls
from impls import Array

Components = dict[str, Array]


@dataclass(frozen=True)
class Planted:
    name: str
    spoil: Callable[[Components], Components]
    framework: Literal["torch"] = "torch"
    kind: Literal["exact"] = "exact"

    def components(self, f: Any, params: Any, x1: Any, x2: Any, request: Any) -> Components:
        right: Any = impls.load("torch_func.jacobian_contraction")
        return self.spoil(right.components(f, params, x1, x2, request))


def _swapped(found: Components) -> Components:
    """Each under the name of the next: their sum is right."""
    names = list(found)
    return dict(zip(names, [found[name] for name in (*names[1:], names[0])], strict=True))


def _bias_with_weight(found: Components) -> Components:
    """A bias counted with its weight, as the contraction has it: their sum is right."""
    weight, bias, *_ = found
    return {**found, weight: found[weight] + found[bias], bias: 0 * found[bias]}


def _one_left_out(found: Components) -> Components:
    last = list(found)[-1]
    return {**found, last: 0 * found[last]}


METHODS = {f"planted.{spoil.__name__.strip('_')}": Planted(f"planted.{spoil.__name__.strip('_')}", spoil)
           for spoil in (_swapped, _bias_with_weight, _one_left_out)}
