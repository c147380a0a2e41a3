"""What the gate ran, counted; a method or a case that ran nothing fails it.

A kernel that is known to be wrong, and was, is counted apart (`tests.gate.known_wrong`).

A *check* compares one kernel with the truth (`test_kernel`); it is what a method and a case are held to. Counted in
the controller from the reports, so that it holds under pytest-xdist too, and over what was selected: `-k`, `-m` and
node ids narrow it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import pytest
from _pytest.terminal import TerminalReporter

from impls.registry import OPTIONAL
from tests.gate.selection import Selection

Outcome = str
""""passed", "skipped", "failed", or "known" where it failed as it was expected to."""


@dataclass(frozen=True)
class Tag:
    """What a test of the gate is about; travels with its report as ``("gate", (method, case, is_check))``."""

    method: str
    case: str | None
    is_check: bool

    def attach(self, item: pytest.Item) -> None:
        item.user_properties.append(("gate", (self.method, self.case, self.is_check)))

    @classmethod
    def of(cls, report: pytest.TestReport) -> Tag | None:
        values = dict(report.user_properties).get("gate")
        return None if values is None else cls(*values)  # type: ignore[misc]


@dataclass(eq=False)  # pluggy keeps plugins in sets
class GateSummary:
    """A pytest plugin of the controller."""

    selection: Selection
    checks: defaultdict[str, Counter[Outcome]] = field(default_factory=lambda: defaultdict(Counter))
    """Per method, over `test_kernel`."""
    others: defaultdict[str, Counter[Outcome]] = field(default_factory=lambda: defaultdict(Counter))
    """Per method, over the gate's other tests."""
    cases: defaultdict[str, Counter[Outcome]] = field(default_factory=lambda: defaultdict(Counter))
    reasons: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Per method, why checks were skipped or failed as expected."""
    faults: defaultdict[str, dict[str, list[str]]] = field(default_factory=lambda: defaultdict(dict))
    """Per method and case, what was wrong with the checks that failed."""
    drawn: defaultdict[str, Counter[Outcome]] = field(default_factory=lambda: defaultdict(Counter))
    """Per method, over the dimensions of `test_drawn`."""
    notes: list[str] = field(default_factory=list)
    """What is no fault, and a user of the method should know."""
    missing: dict[str, str] = field(default_factory=dict)
    """Optional methods that are not installed, and what they lack."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        tag = Tag.of(report)
        if tag is None or (report.when != "call" and report.passed):
            return
        outcome = "known" if report.skipped and hasattr(report, "wasxfail") else report.outcome
        (self.checks if tag.is_check else self.others)[tag.method][outcome] += 1
        if tag.is_check and tag.case is not None:
            self.cases[tag.case][outcome] += 1
            if report.failed:
                self.faults[tag.method].setdefault(tag.case, []).append(_fault(report))
        if tag.is_check and report.skipped:
            self.reasons[tag.method][_skip_reason(report)] += 1
        if "::test_drawn[" in report.nodeid:
            self.drawn[tag.method][outcome] += 1
        if outcome == "known" and "::test_unknown_option[" in report.nodeid:
            self.notes.append(_skip_reason(report).removeprefix("known to be wrong: "))
        if report.skipped and "test_installed" in report.nodeid:
            self.missing[tag.method] = _skip_reason(report)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        strict = self.selection.alone and self.selection.require_all
        fails = self.empty() or (strict and self.proves_little())
        if fails and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def empty(self) -> list[str]:
        """One sentence for each method, and each case, that was selected and of which no check passed or failed."""
        ran_nothing = [f"{method}: no check ran, {_count(counts['skipped'], 'was', 'were')} skipped"
                       for method, counts in self.checks.items() if not _ran(counts)]
        if self._all_methods_ran():
            ran_nothing += [f"case {case}: every method skipped it" for case, counts in self.cases.items()
                            if not _ran(counts)]
        return ran_nothing

    def coverage(self) -> list[str]:
        """For each method, how much of what it could be asked ran."""
        return [f"{method}: " + ", ".join(f"{_ran(counts)} of {counts.total()} {what}" for what, counts in (
            ("checks of the stored cases", self.checks.get(method, Counter())),
            ("drawn dimensions", self.drawn.get(method, Counter())))
            if counts.total()) for method in sorted({*self.checks, *self.drawn})]

    def proves_little(self) -> list[str]:
        """One sentence for each method that left out more than half."""
        return [f"{method} ran {_ran(counts)} of {counts.total()} {what}, the others it does not support"
                for what, by_method in (("checks", self.checks), ("drawn dimensions", self.drawn))
                for method, counts in sorted(by_method.items()) if 2 * _ran(counts) < counts.total()]

    def _all_methods_ran(self) -> bool:
        """Whether cases are held to account: one method alone may well support but some of them."""
        due = set(self.selection.names) - (OPTIONAL - set(self.checks))
        return self.selection.impl is None and set(self.checks) == due

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        if not (self.checks or self.others):
            return
        terminalreporter.section("gate: checks of kernels, and other tests, per method")
        for line in self._table():
            terminalreporter.write_line(line)
        for method, reason in sorted(self.missing.items()):
            terminalreporter.write_line(f"NOT INSTALLED: {method}: {reason.removeprefix('skipped: ')}", yellow=True)
        if self.selection.alone:
            for sentence in self.coverage():
                terminalreporter.write_line(f"coverage: {sentence}")
            for sentence in self.proves_little():
                terminalreporter.write_line(f"PROVES LITTLE: {sentence}", red=True, bold=True)
        for note in self.notes:
            terminalreporter.write_line(f"NOTE: {note}", yellow=True)
        for sentence in self.empty():
            terminalreporter.write_line(f"GATE FAILED: {sentence}", red=True)

    def _table(self) -> list[str]:
        methods = sorted({*self.checks, *self.others})
        width = max(map(len, methods))
        lines = [f"{'':{width}}  checks: passed skipped failed   others: passed skipped failed"]
        for method in methods:
            lines.append(f"{method:{width}}  " + "   ".join(
                f"{counts['passed']:14} {counts['skipped']:7} {counts['failed']:6}"
                for counts in (self.checks.get(method, Counter()), self.others.get(method, Counter()))))
            reasons = self.reasons.get(method, Counter())
            lines += [f"{'':{width}}    {n} {reason}" for reason, n in sorted(reasons.items())]
            lines += [f"{'':{width}}    {len(faults)} failed on {case}: {faults[0]}"
                      for case, faults in self.faults.get(method, {}).items()]
        return lines


def _ran(counts: Counter[Outcome]) -> int:
    return counts["passed"] + counts["failed"] + counts["known"]


def _count(n: int, singular: str, plural: str) -> str:
    return f"{n} {singular if n == 1 else plural}"


def _fault(report: pytest.TestReport) -> str:
    """The first line of the exception's message."""
    crash = getattr(report.longrepr, "reprcrash", None)
    return (crash.message if crash is not None else str(report.longrepr)).partition("\n")[0]


def _skip_reason(report: pytest.TestReport) -> str:
    """With what came of it: "skipped: …", or "known to be wrong: …"."""
    if (expected := getattr(report, "wasxfail", None)) is not None:
        return f"known to be wrong: {expected.removeprefix('reason: ')}"
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return f"skipped: {reason.removeprefix('Skipped: ')}"
