"""The suite's figures as a page: docs/models.md."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

METHODS = ("auto", "structured_torch", "torch_autograd.per_example", "torch_func.jacobian_contraction")
TITLES = ("`ntk` (auto)", "engine", "loop", "torch.func")

HEAD = """# Networks of other packages

Each network as its package builds it, with random weights, {n} examples: made by `nox -s models`, which anyone can run.
The truth is one backward pass for each example and output, in float64, by the module itself. An error is the largest
|K − K_ref| / √(K_ref[n,n] K_ref[m,m]) of the trace kernel. Seconds are of the first call in float32 in a process of
its own, CPU time of one thread, tracing, planning and the engine's check of itself included. Rules: parameters that the
engine has a rule for, of all.

"""


def page(rows: Sequence[Mapping[str, Any]], versions: Mapping[str, str], n_examples: int) -> str:
    """Markdown; `rows` as `tests.models.measure.measured` gives them, or with a ``failure``."""
    measured = [row for row in rows if "failure" not in row]
    parts = [HEAD.format(n=n_examples), _summary(measured), "\n\n", _table(measured), "\n"]
    failures = [f"- {row['package']}, {row['name']}: {row['failure']}" for row in rows if "failure" in row]
    if failures:
        parts += ["\nNot built here:\n\n", *(line + "\n" for line in failures)]
    parts.append("\nVersions: " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".\n")
    return "".join(parts)


def _summary(rows: Sequence[Mapping[str, Any]]) -> str:
    ratios = sorted(filter(None, map(_ratio, rows)))
    errors = [row["auto"]["float64"]["error"] for row in rows if "error" in row["auto"]["float64"]]
    refused = [row["name"] for row in rows if "failure" in row["auto"]["float64"]]
    text = (f"{len(rows)} networks. `ntk`'s default answers on {len(errors)}, with an error of {max(errors):.0e} at "
            "most in float64.")
    if refused:
        text += f" Refused: {', '.join(refused)}."
    return text + (f" Its one call takes {statistics.median(ratios):.2f} times as long as the best method's in the "
                   f"median, and {ratios[-1]:.2f} times at worst.")


def _ratio(row: Mapping[str, Any]) -> float | None:
    seconds = [row[method]["float32"].get("seconds") for method in METHODS]
    return None if seconds[0] is None else seconds[0] / min(s for s in seconds if s is not None)


def _table(rows: Iterable[Mapping[str, Any]]) -> str:
    head = ["network", "package", "parameters", "rules", "error, float64: " + TITLES[0], TITLES[1], "error, float32: "
            + TITLES[0], *(f"{title}, s" for title in TITLES), "auto over best"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        ratio = _ratio(row)
        cells = [row["name"], row["package"], f"{row['parameters']:,}", _rules(row["rules"]),
                 _error(row["auto"]["float64"]), _error(row["structured_torch"]["float64"]),
                 _error(row["auto"]["float32"]), *(_seconds(row[method]["float32"]) for method in METHODS),
                 "–" if ratio is None else f"{ratio:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n" + _reasons(rows)


def _reasons(rows: Iterable[Mapping[str, Any]]) -> str:
    found = [f"- {row['name']}, {title}: {row[method]['float64']['failure']}" for row in rows
             for method, title in zip(METHODS, TITLES, strict=True) if "failure" in row[method]["float64"]]
    return "\nRefused, with the reason:\n\n" + "\n".join(found) + "\n" if found else ""


def _error(cell: Mapping[str, Any]) -> str:
    return f"{cell['error']:.0e}" if "error" in cell else "refused"


def _seconds(cell: Mapping[str, Any]) -> str:
    return f"{cell['seconds']:.2f}" if "seconds" in cell else "–"


def _rules(cell: Mapping[str, Any]) -> str:
    if "explain" not in cell:
        return "–"
    lines = cell["explain"].splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith("parameter")), None)
    if start is None:
        return "–"
    named = [re.split(r"\s{2,}", line) for line in lines[start + 1:] if len(re.split(r"\s{2,}", line)) >= 5]
    fallbacks = sum("fallback" in parts[2] for parts in named)
    return f"{len(named) - fallbacks} of {len(named)}"
