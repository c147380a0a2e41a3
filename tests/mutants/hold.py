"""Holds a method against the gate's own tests, called as functions in one process, until one of them fails."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any, Literal, get_args

import pytest

import tests.gate
from impls import Method
from impls.protocol import Framework
from tests.gate.checks import Check, cases_for_pairs, checks
from tests.gate.compilation import few_optimizations
from tests.gate.conftest import METHOD_FIXTURES
from tests.gate.selection import Selection
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
        pair = self.arguments.get("pair") or self.arguments.get("stochastic_pair")
        return None if pair is None else pair[1].name

    @property
    def where(self) -> str:
        """What the table says of it, e.g. ``mlp_relu, float64, full, x2 = x1``."""
        if self.check is not None:
            check = self.check
            same = ["x2 = x1"] if check.case.symmetric else []
            return ", ".join([check.case.name, check.dtype, check.outputs, *same])
        rest = {name: value for name, value in self.arguments.items() if name not in _OF_THE_GATE}
        said = [f"{name}={value}" for name, value in rest.items()]
        return ", ".join(said if self.case is None else [self.case, *said])

    def of(self, method: Method) -> GateTest:
        """The same test for another method."""
        return next(test for test in gate_tests(method) if (test.name, test.where) == (self.name, self.where))


_OF_THE_GATE = ("check", "pair", "stochastic_pair", "name", "selection", *METHOD_FIXTURES)


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
    for test in sorted(gate_tests(method), key=lambda test: _distance(test, mutant)):
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
    with few_optimizations(method):
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


def gate_tests(method: Method) -> Iterator[GateTest]:
    """Every test of the gate on that method, with the gate's own parametrization."""
    selection = _selection(method)
    for name, function in _functions().items():
        wanted = inspect.signature(function).parameters
        own = _of_the_gate(method)
        axes = [[{"selection": selection}] if "selection" in wanted else [{}]]
        axes += [choices for fixture, choices in own.items() if fixture in wanted]
        axes += [_choices(mark) for mark in getattr(function, "pytestmark", []) if mark.name == "parametrize"]
        for chosen in product(*axes):
            arguments = {key: value for part in chosen for key, value in part.items()}
            assert arguments.keys() == wanted.keys(), f"{name}: unknown fixtures {set(wanted) - set(arguments)}"
            yield GateTest(name, arguments, function)


def _selection(method: Method) -> Selection:
    return Selection(get_args(Framework), "cpu", impl=method)


def _of_the_gate(method: Method) -> dict[str, list[Arguments]]:
    """What tests/gate/conftest.py parametrizes."""
    pairs = [(method, case) for case in cases_for_pairs(method.kind)]
    return {
        "check": [{"check": check} for check in checks(method.name, method.kind)],
        "pair": [{"pair": pair} for pair in pairs],
        "stochastic_pair": [{"stochastic_pair": pair} for pair in pairs if method.kind == "stochastic"],
        **{fixture: [{fixture: method}] if method.kind in kinds else [] for fixture, kinds in METHOD_FIXTURES.items()},
        "name": [{"name": method.name}],
    }


def _choices(mark: pytest.Mark) -> list[Arguments]:
    names, values = mark.args[:2]
    names = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    return [dict(zip(names, value if len(names) > 1 else (value,), strict=True)) for value in values]


@cache
def _functions() -> dict[str, Callable[..., None]]:
    modules = [importlib.import_module(f"tests.gate.{info.name}") for info in pkgutil.iter_modules(tests.gate.__path__)
               if info.name.startswith("test_")]
    return {name: value for module in modules for name, value in vars(module).items()
            if name.startswith("test_") and value.__module__ == module.__name__}


def _distance(test: GateTest, mutant: Mutant) -> tuple[bool, ...]:
    check = test.check
    asked = (mutant.outputs, mutant.dtype, mutant.symmetric)
    given = asked if check is None else (check.outputs, check.dtype, check.case.symmetric)
    return (test.name != mutant.check, test.case != mutant.case, *(a != b for a, b in zip(asked, given, strict=True)))


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
