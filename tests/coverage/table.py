"""What was found of each operation, and the page that says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from reference.tolerances import tolerance

Outcome = Literal["rule", "fallback", "refused", "not tried"]


@dataclass(frozen=True)
class Row:
    """One operation of one framework. `why`: for all outcomes but "rule". `error`: of the full kernel, against its
    largest entry; None where there is no kernel."""

    framework: str
    operation: str
    outcome: Outcome
    why: str = ""
    error: float | None = None

    @property
    def wrong(self) -> bool:
        return self.error is not None and not self.error <= tolerance("float64")


def page(rows: Sequence[Row], versions: dict[str, str]) -> str:
    """`docs/coverage.md`."""
    made = ", ".join(f"{name} {version}" for name, version in versions.items())
    parts = [
        "# What the structured engines cover",
        "Each operation in a small network behind a layer with parameters (and with its own, where it has any), "
        "against Jacobians of one backward pass for each output in float64. *rule*: every parameter's kernel is "
        "contracted without its Jacobian; *fallback*: some or all are differentiated directly, for the reason given; "
        "*refused*: an error says why, which is the framework's own where it has no derivative; *not tried*: it has no "
        "derivative, or no kernel of single examples.",
        f"Made by `nox -s coverage` with {made}.",
    ]
    for framework in dict.fromkeys(row.framework for row in rows):
        some = [row for row in rows if row.framework == framework]
        parts += [f"## {framework}", _summary(some), _table(some)]
    return "\n\n".join(parts) + "\n"


def _summary(rows: Iterable[Row]) -> str:
    counted = Counter(row.outcome for row in rows)
    return ", ".join(f"{count} {outcome}" for outcome, count in counted.most_common())


def _table(rows: Iterable[Row]) -> str:
    lines = ["| operation | outcome | why | error |", "|---|---|---|---|"]
    for row in rows:
        error = "" if row.error is None else f"{row.error:.0e}"
        why = row.why.replace("|", "\\|").replace("\n", " ")[:160]
        lines.append(f"| `{row.operation}` | {row.outcome} | {why} | {error} |")
    return "\n".join(lines)
