"""Whether a method computes anew at each call: the examples that it holds are put in another order before each.

The kernel has to come in that order. For any network, any kind of kernel and any method this is known without another
truth, costs nothing while time is taken, and no order comes twice where there are five examples. Whoever keeps a kernel
by the identity of the inputs, their shape, sum, repr or first example, or from some call on, is found out: each call is
looked at, in some rows, and the last kernel is held against the truth as a whole.

Whoever keeps what belongs to one example, or to a pair, is right in every order. So the numbers are moved a little
before a timed call as well, by a few of their last places: none comes twice, and what is kept by them is of no use. The
kernel that is held against the truth comes of the examples as they were given, in a call that is not timed.

What a call reads lies behind the callable that `prepare` has returned, as arrays with the examples on the first axis
(`bench.running.held`). A method that keeps its inputs in another form cannot be tested; it stays undecided.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from bench.running.held import Examples, arrays_behind
from bench.truth.conditioning import LARGEST_TOLERANCE
from impls import Array
from impls.frameworks.arrays import on_host, to_numpy
from impls.protocol import Kind
from reference import Case

N_ROWS = 2
"""Of the kernel, looked at after each call."""
_TRIES = 20
_ENDS = (0, 1, 3)
"""Examples that keep their place at either end, by turns: what is kept may go by the first one, or by what NumPy and
PyTorch show of a long array."""

REMEDY = ("a call is to compute from arrays that its callable holds, with the examples on the first axis; give them "
          "to a compiled function as arguments")
KEPT = ("a call does not follow its inputs when these change: the kernel, or a part of it, was kept from before, or "
        f"the inputs are constants of a compiled program. {REMEDY[0].upper()}{REMEDY[1:]}")
UNKNOWN = ("its kernel does not follow its inputs when these change, so that nobody knows what a call computes: "
           f"{REMEDY}")


class Anew:
    """Follows one prepared method through its calls."""

    def __init__(self, case: Case, kind: Kind, seed: int) -> None:
        self._case, self._kind, self._rng = case, kind, np.random.default_rng(seed)
        self._n = len(case.x1), len(case.x1 if case.x2 is None else case.x2)
        self._rows = self._rng.permutation(self._n[0])[:N_ROWS]
        self._examples: Examples | None = None
        self._ends = itertools.cycle(_ENDS)
        self._first: np.ndarray | None = None
        """Those rows of the first kernel."""
        self._last: np.ndarray | None = None
        """What stands in their place in the kernel of the call before."""
        self._calls, self._can_nudge = 0, True
        self.nudged = False
        """Whether the numbers of the examples are not those that were given."""
        self.stale = False
        """Whether a call came in an order of before."""
        self.fault = ""
        self.untested = ""
        """Why nothing can be said."""

    def prepared(self, compute: Callable[[], Array]) -> None:
        self._examples = Examples(compute, self._case)
        if not self._examples.movable:
            self.untested = "there is one example, which has no other order"

    def called_first(self, kernel: Array) -> None:
        """With the examples as they were given."""
        if tuple(kernel.shape[:2]) == self._n:  # else it is wrong, as its check will say
            self._first = self._last = _rows(kernel, self._rows)

    def rearrange(self, nudge: bool = False) -> None:
        """Before a call; `nudge` the numbers as well, where that can be."""
        self._rearrange(next(self._ends), nudge)

    def put_back(self) -> None:
        """Before a call more: all numbers as they were given, the first example where it was, and others not."""
        self._rearrange(1, False)

    def _rearrange(self, ends: int, nudge: bool) -> None:
        if self._examples is not None and self._first is not None and self._examples.found and not self.untested:
            self._put(self._examples, self._draw(self._examples.orders, ends))
            self._calls += 1
            wanted = nudge and self._can_nudge
            if wanted or self.nudged:
                self.nudged = self._examples.nudge(self._calls if wanted else 0) and wanted

    def called(self, kernel: Array) -> None:
        """After a call."""
        if self._examples is None or self._first is None or tuple(kernel.shape[:2]) != self._n:
            return
        moved, stale = self._distances(kernel, self._examples.orders)
        self._last = _rows(kernel, self._rows)
        far = moved > LARGEST_TOLERANCE
        self.stale = self.stale or (stale < moved / 2 and (far or not self.nudged))
        if self.nudged and far:  # the network may be one that asks whether a number is 1
            self._can_nudge = False
        elif self._kind == "exact" and far:
            self.fault = KEPT

    def in_order(self, kernel: Array) -> np.ndarray:
        """A NumPy copy, with the examples as they were given; what the method holds is put back as well."""
        copied = to_numpy(kernel)
        if self._examples is None or copied.shape[:2] != self._n:
            return copied
        inverse = [np.argsort(order) for order in _both(self._examples.orders)]
        self._put(self._examples, [np.sort(order) for order in self._examples.orders])
        self._examples.nudge(0)
        return copied if self.stale else copied[np.ix_(*inverse)]

    def verdict(self, prepare: Callable[[], Callable[[], Array]]) -> tuple[str, str]:
        """A fault of the method, and why it cannot be judged, each "" where there is none.

        Where its calls did not follow, a second one is prepared, whose examples are rearranged before its first call:
        if this one follows, the method reads them, and the later calls did not.
        """
        if self._examples is None or self._first is None or self.untested or (
                self._examples.found and not self.stale):
            return self.fault, ""
        compute = prepare()
        second = Examples(compute, self._case)
        kept = any(self._is_kernel(array) for array in arrays_behind(compute))
        follows = second.found and self._follows(second, compute)
        self._put(second, [np.sort(order) for order in second.orders])
        return (KEPT, "") if kept or follows else ("", UNKNOWN)

    def _follows(self, examples: Examples, compute: Callable[[], Array]) -> bool:
        self._put(examples, self._draw(examples.orders, next(self._ends)))
        self._last = self._first
        moved, stale = self._distances(compute(), examples.orders)
        return not stale < moved / 2

    def _is_kernel(self, array: Array) -> bool:
        """Whether it is the kernel, made before the first call."""
        if self._first is None or tuple(array.shape) != (*self._n, *self._first.shape[2:]):
            return False
        rows = _rows(array, self._rows).astype(np.float64)
        return _distance(rows, self._first) <= LARGEST_TOLERANCE

    def _distances(self, kernel: Array, orders: list[np.ndarray]) -> tuple[float, float]:
        """Of the kernel to the first one in its new order, and to what came of the first or last call, as it was."""
        assert self._first is not None
        assert self._last is not None
        order1, order2 = _both(orders)
        moved = _distance(_rows(kernel, np.argsort(order1)[self._rows]), self._first[:, order2])
        found = _rows(kernel, self._rows)
        return moved, min(_distance(found, before) for before in (self._first, self._last))

    def _draw(self, now: list[np.ndarray], ends: int) -> list[np.ndarray]:
        """Another order than now, but for so many examples at either end."""
        drawn = now
        for _ in range(_TRIES):
            drawn = [self._shuffled(np.sort(order), ends if len(order) > 2 * ends + 1 else 0) for order in now]
            if not all(map(np.array_equal, drawn, now)):
                break
        return drawn

    def _shuffled(self, order: np.ndarray, ends: int) -> np.ndarray:
        between = slice(ends, len(order) - ends)
        order[between] = self._rng.permutation(order[between])
        return order

    def _put(self, examples: Examples, orders: list[np.ndarray]) -> None:
        if not examples.put(orders):
            self.untested = "its inputs cannot be changed where they lie, on this device"


def _both(orders: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return orders[0], orders[-1]


def _rows(kernel: Array, rows: np.ndarray) -> np.ndarray:
    """A copy, in float64."""
    seen = on_host(kernel)
    return to_numpy(seen[list(map(int, rows))]).astype(np.float64)


def _distance(found: np.ndarray, due: np.ndarray) -> float:
    scale = np.abs(due).max()
    return float(np.abs(found - due).max() / (scale if scale > 0 else 1.0))
