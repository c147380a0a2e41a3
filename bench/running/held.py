"""The examples that a prepared method holds: found behind its callable, and changed where they lie."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import numpy as np

from impls import Array
from impls.frameworks.arrays import to_numpy
from impls.frameworks.rearranging import address, is_array, nudge, rearrange
from reference import Case

_MOST = 50_000
"""Objects that are looked at, the nearest first."""
_CLOSED = (str, bytes, int, float, complex, bool, type(None), type, ModuleType, CodeType, FrameType)


def arrays_behind(root: Any) -> Iterator[Array]:
    """Those that can be reached from `root` through closures, attributes and containers, the nearest first.

    What a function finds in its module is not its own and is left out.
    """
    seen, waiting = {id(root)}, [root]
    for value in waiting:  # it grows
        if is_array(value):
            yield value
            continue
        for each in _referents(value):
            if id(each) not in seen and not isinstance(each, _CLOSED) and len(seen) < _MOST:
                seen.add(id(each))
                waiting.append(each)


def _referents(value: Any) -> Iterable[Any]:
    if isinstance(value, FunctionType):
        return [*(value.__closure__ or ()), *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values(),
                value.__dict__]
    return gc.get_referents(value)


class Examples:
    """Those of a case's x1 and x2 that lie behind `root`, each in an order of its own."""

    def __init__(self, root: Any, case: Case) -> None:
        self._x = [case.x1] if case.x2 is None else [case.x1, case.x2]
        self.orders = [np.arange(len(x)) for x in self._x]
        """Which example lies in which place, of x1 and of x2."""
        found = {address(array): (array, sides) for array in arrays_behind(root) if (sides := self._sides_of(array))}
        self._held = list(found.values())
        self._steps = 0

    @property
    def found(self) -> bool:
        """Whether there are examples of both sides."""
        return {side for _, sides in self._held for side in sides} == set(range(len(self._x)))

    @property
    def movable(self) -> bool:
        """Whether there is another order."""
        return any(len(x) > 1 for x in self._x)

    def put(self, orders: list[np.ndarray]) -> bool:
        """Rearrange all of them; False where one of them cannot be, which is then as it was."""
        relative = [np.argsort(now)[new] for now, new in zip(self.orders, orders, strict=True)]
        self.orders = orders
        done = [rearrange(array, self._joined(relative, sides)) for array, sides in self._held]
        return all(done)

    def nudge(self, steps: int) -> bool:
        """Move the numbers of each example by so many steps of their dtype from where they were given; False where
        none could be moved."""
        by, self._steps = steps - self._steps, steps
        done = [nudge(array, by) for array, _ in self._held]
        return any(done)

    def _joined(self, relative: list[np.ndarray], sides: tuple[int, ...]) -> np.ndarray:
        starts = np.cumsum([0, *(len(self._x[side]) for side in sides)])
        return np.concatenate([start + relative[side] for start, side in zip(starts, sides, strict=False)])

    def _sides_of(self, array: Array) -> tuple[int, ...]:
        """(0,) where the array holds x1, (1,) where x2, (0, 1) where both, one after the other; else ()."""
        for sides in ((0,), (1,), (0, 1))[: 1 if len(self._x) == 1 else 3]:
            parts = [self._x[side] for side in sides]
            n = sum(len(part) for part in parts)
            if array.ndim and array.shape[0] == n and _size(array) == sum(part.size for part in parts):
                values = to_numpy(array).reshape(n, -1)
                if _same_rows(values, np.concatenate([part.reshape(len(part), -1) for part in parts])):
                    return sides
        return ()


def _size(array: Array) -> int:
    return int(np.prod(array.shape))


def _same_rows(values: np.ndarray, rows: np.ndarray) -> bool:
    """Whether each row has the same numbers, in whatever order: a method may have put the channels last."""
    return values.dtype.kind in "fiu" and np.array_equal(np.sort(values, 1), np.sort(rows.astype(values.dtype), 1))
