"""Holds a method against the gate's own tests, called as functions in one process, until one of them fails."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from types import SimpleNamespace
from typing import Any, Literal, get_args

import pytest

import tests.gate
from impls import Method
from impls.protocol import Framework
from reference import Case
from tests.gate.checks import Check
from tests.gate.compilation import fitting_optimizations
from tests.gate.conftest import pytest_generate_tests
from tests.gate.selection import SELECTION, Selection
from tests.gate.summary import GateSummary
from tests.mutants.mutant import Mutant, base_method

Arguments = dict[str, Any]


@dataclass(frozen=True)
class GateTest:
    """One test of the gate with its arguments, which pytest would have put together."""

    name: str
    arguments: Arguments
    function: Callable[..., None]

    @property
    def check(self) -> Check | None:
        return self.arguments.get("check")

    @property
    def case(self) -> str | None:
        """Name of the case that it is about; None where the test chooses."""
        if self.check is not None:
            return self.check.case.name
        return next((value[1].name for value in self.arguments.values()
                     if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], Case)), None)

    @property
    def where(self) -> str:
        """What the table says of it, e.g. ``mlp_relu, float64, full, x2 = x1``."""
        if self.check is not None:
            check = self.check
            same = ["x2 = x1"] if check.case.symmetric else []
            return ", ".join([check.case.name, check.dtype, check.outputs, *same])
        if (of_quantity := self.arguments.get("quantity_check")) is not None:
            return of_quantity.id
        if (pair := self.arguments.get("of_quantity")) is not None:
            said = [f"{name}={value}" for name, value in self.arguments.items() if isinstance(value, str | int)]
            return ", ".join([pair[1], *said])
        said = [f"{name}={value}" for name, value in self.arguments.items()
                if isinstance(value, str | bool | int) and name != "name"]
        return ", ".join(said if self.case is None else [self.case, *said])

    def of(self, method: Method) -> GateTest:
        """The same test for another method."""
        return next(test for test in _tests_of(self.name, method) if test.where == self.where)


@dataclass(frozen=True)
class Death:
    """The test of the gate that a method fails, and what it says; `error` where the method raised.

    `test` None is the gate's summary: no check ran.
    """

    test: GateTest | None
    message: str
    error: Exception | None = None


def death(mutant: Mutant) -> Death | None:
    """What kills the mutant, which is tried first where it is expected to show; None for a survivor.

    Raises `AssertionError` where the base of the mutant fails the same test, so that the death means nothing.
    """
    method = mutant.method()
    summary = GateSummary(_selection(method))
    for test in _nearest_first(mutant, method):
        with mutant.around():
            result = outcome(test, method)
        if isinstance(result, Death):
            assert_base_passes(mutant.base, test)
            return result
        if test.check is not None:
            summary.checks[method.name][result] += 1
    empty = summary.empty()
    return Death(None, empty[0]) if empty else None


def outcome(test: GateTest, method: Method) -> Death | Literal["passed", "skipped"]:
    """What comes of the test; an expected failure counts as skipped, as in pytest."""
    marks = {mark.name for mark in getattr(test.function, "pytestmark", ())}
    with fitting_optimizations(method, many_projections="many_projections" in marks):
        try:
            test.function(**test.arguments)
        except (pytest.skip.Exception, pytest.xfail.Exception):
            return "skipped"
        except (AssertionError, pytest.fail.Exception) as failed:
            return Death(test, _first_line(failed))
        except Exception as error:
            return Death(test, f"{type(error).__name__}: {_first_line(error)}", error)
    return "passed"


_passed: set[tuple[str, str, str]] = set()


def assert_base_passes(base: str, test: GateTest) -> None:
    """Once for each base and test."""
    if (key := (base, test.name, test.where)) in _passed:
        return
    method = base_method(base)
    result = outcome(test.of(method), method)
    assert result == "passed", f"the base {base}, on {test.name} ({test.where}): {result}"
    _passed.add(key)


def gate_tests(method: Method) -> list[GateTest]:
    """Every test of the gate on that method, with the gate's own parametrization."""
    return [test for name in _functions() for test in _tests_of(name, method)]


def _tests_of(name: str, method: Method) -> list[GateTest]:
    function = _functions()[name]
    return [GateTest(name, arguments, function)
            for arguments in _Parametrization(function, _selection(method)).arguments()]


def _nearest_first(mutant: Mutant, method: Method) -> Iterator[GateTest]:
    """In order of their distance. Most mutants die of the function that is named: the others are asked for only then,
    as putting all their arguments together takes longer than many a test."""
    named = [name for name in _functions() if name == mutant.check]
    others = [name for name in _functions() if name != mutant.check]
    for names in (named, others):
        yield from sorted((test for name in names for test in _tests_of(name, method)),
                          key=lambda test: distance(test, mutant))


def _selection(method: Method) -> Selection:
    return Selection(get_args(Framework), "cpu", impl=method)


class _Parametrization:
    """What tests/gate/conftest.py is given as a `pytest.Metafunc`, for one function."""

    def __init__(self, function: Callable[..., None], selection: Selection) -> None:
        self.fixturenames = list(inspect.signature(function).parameters)
        self.config = SimpleNamespace(stash={SELECTION: selection}, option=_OPTIONS)
        given = {"selection": selection, "request": SimpleNamespace(config=self.config)}
        self._given = {name: value for name, value in given.items() if name in self.fixturenames}
        self._axes: list[list[Arguments]] = []
        for mark in getattr(function, "pytestmark", []):
            if mark.name == "parametrize":
                self.parametrize(*mark.args[:2])
        pytest_generate_tests(self)  # type: ignore[arg-type]

    def parametrize(self, names: str | Iterable[str], values: Iterable[Any], **_: Any) -> None:
        names = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
        self._axes.append([dict(zip(names, value if len(names) > 1 else (value,), strict=True)) for value in values])

    def arguments(self) -> Iterator[Arguments]:
        for chosen in product(*self._axes):
            arguments = self._given | {name: value for part in chosen for name, value in part.items()}
            assert arguments.keys() == set(self.fixturenames), f"unknown fixtures: {self.fixturenames}"
            yield arguments


# The defaults of the gate's own options (tests/conftest.py), as far as its tests read them.
_OPTIONS = SimpleNamespace(laws_examples=None, laws_seed=0)


@cache
def _functions() -> dict[str, Callable[..., None]]:
    modules = [importlib.import_module(f"tests.gate.{info.name}") for info in pkgutil.iter_modules(tests.gate.__path__)
               if info.name.startswith("test_")]
    found = [(name, value) for module in modules for name, value in vars(module).items()
             if name.startswith("test_") and value.__module__ == module.__name__]
    assert len({name for name, _ in found}) == len(found), "two tests of the gate share a name, and one would be lost"
    return dict(found)


def distance(test: GateTest, mutant: Mutant) -> tuple[bool, ...]:
    check = test.check
    asked = (mutant.outputs, mutant.dtype, mutant.symmetric)
    given = asked if check is None else (check.outputs, check.dtype, check.case.symmetric)
    where = test.arguments.get("dimension", test.case)
    return (test.name != mutant.check, where != mutant.case, *(a != b for a, b in zip(asked, given, strict=True)))


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
