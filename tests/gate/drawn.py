"""What is drawn at each run: sizes beyond those of the stored cases, and networks, weights and names that are new.

All of it follows from one seed, which the header of the run and every failure name (``--gate-seed`` draws the same
again). Sizes are log-uniform over ranges whose lower ends lie beyond the numbers where methods change their ways: 64,
100, 128, 256 and 512 examples, 255 outputs, 2¹⁶ and 2²⁰ parameters, 16 layers. So each such number is crossed in every
run, and no method can know by how much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import product
from typing import Any, TypeVar, get_args

import numpy as np

from reference import MLP, Case, Described, Expected, Request, random_case, tolerance
from reference.case import DType, Outputs
from reference.networks import Activation, Parameterization
from tests.gate.random_networks import smooth
from tests.gate.subject import rounding_error, tape

One = TypeVar("One")

SMOOTH: tuple[Activation, ...] = ("tanh", "erf", "gelu", "sin")

_TRIES = 50
"""Draws of a network's numbers before it is given up: too near a kink, or too ill-conditioned for float32."""


@dataclass(frozen=True)
class Draws:
    """Draws from one seed and the name of what they are for."""

    seed: int
    purpose: str

    @cached_property
    def rng(self) -> np.random.Generator:
        return np.random.default_rng([self.seed, *self.purpose.encode()])

    def between(self, low: int, high: int) -> int:
        """Log-uniform, both ends included."""
        return int(np.exp(self.rng.uniform(np.log(low), np.log(high + 1))))

    def one_of(self, *values: One) -> One:
        return values[int(self.rng.integers(len(values)))]

    def dense(self, *widths: int) -> MLP:
        """A network of these widths, of either parameterization, with a smooth activation and biases."""
        parameterization = self.one_of(*get_args(Parameterization))
        return MLP(widths, self.one_of(*SMOOTH), parameterization=parameterization, W_std=1.25, b_std=0.5)

    def case(self, network: Described, n1: int, n2: int | None, change: Callable[[Case], Case] | None = None) -> Case:
        """With a name and numbers of its own, far from kinks, and no harder for float32 than its tolerance allows."""
        for _ in range(_TRIES):
            case = random_case(f"drawn {self.rng.integers(2**63):016x}", network, n1, n2)
            case = case if change is None else change(case)
            few = replace(case, x1=case.x1[:3], x2=None if case.x2 is None else case.x2[:3])
            if smooth(case) and rounding_error(few, tape(few)) <= tolerance("float32") / 4:
                return case
        raise AssertionError(f"no draw of {network} is smooth and well-conditioned")

    def forms(self, *batch_sizes: int | None) -> tuple[Request, ...]:
        """Each kind of outputs in each dtype, in an order that is drawn, each next one with the next batch size.

        The first three have all outputs, and both dtypes. Every third seed is 0, and every third has more than 32 bits.
        """
        outputs = self.rng.permutation(get_args(Outputs)).tolist()
        dtypes = self.rng.permutation(get_args(DType)).tolist()
        pairs = [(one, dtypes[(i + j) % 2]) for i, j in product(range(2), range(3)) for one in [outputs[j]]]
        sizes = [*batch_sizes] or [None]
        seeds = (lambda: 0, lambda: int(self.rng.integers(2**31)), lambda: int(self.rng.integers(2**40, 2**62)))
        return tuple(Request(one, dtype, seed=seeds[i % 3](), batch_size=sizes[i % len(sizes)])
                     for i, (one, dtype) in enumerate(pairs))


@dataclass(frozen=True)
class Asked:
    """A case that was drawn, and how it is asked for."""

    what: str
    """The sizes that matter here, in words."""
    case: Case
    requests: tuple[Request, ...]
    truths: dict[str, Expected] = field(default_factory=dict, compare=False)

    @property
    def truth(self) -> Expected:
        if "" not in self.truths:
            self.truths[""] = tape(self.case)
        return self.truths[""]


Dimension = Callable[[Draws], list[Asked]]

DIMENSIONS: dict[str, Dimension] = {}
"""By name: what the stored cases do not reach, in sizes (drawn_networks.py) and in numbers (drawn_values.py)."""


def dimension(draw: Dimension) -> Dimension:
    DIMENSIONS[draw.__name__] = draw
    return draw


@cache
def asked(name: str, seed: int) -> list[Asked]:
    """The same for every method of a run, so that the truth is computed once."""
    return DIMENSIONS[name](Draws(seed, name))


@contextmanager
def told(what: str, seed: int) -> Iterator[None]:
    """What fails inside says what was asked for, and how to ask for it again."""
    try:
        yield
    except AssertionError as failed:
        reason = str(failed).partition("\nassert ")[0]  # without what pytest adds of the values
        raise AssertionError(f"{what}: {reason} [--gate-seed {seed}]") from failed
    except Exception as error:
        error.add_note(f"{what} [--gate-seed {seed}]")
        raise


def arrays_of(case: Case) -> dict[str, Any]:
    """All arrays, by name."""
    return {**case.params, **case.constants, "x1": case.x1, "x2": case.x2}
