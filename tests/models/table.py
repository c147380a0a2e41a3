"""The suite's figures as a page: docs/models.md."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

METHODS = ("auto", "structured_torch", "torch_autograd.per_example", "torch_func.jacobian_contraction")
TITLES = ("`ntk` (auto)", "engine", "loop", "torch.func")
"""PyTorch's."""

METHODS_JAX = ("auto", "structured_jax", "equinox.exact", "neural_tangents.jacobian_contraction",
               "neural_tangents.ntk_vector_products", "neural_tangents.structured_derivatives")
LOOP_JAX = "jax.vjp"
"""The loop of backward passes, which makes the truth as well."""

TIMED_JAX = ("auto", "structured_jax", LOOP_JAX, "equinox.exact")
TITLES_JAX = ("`ntk` (auto)", "engine", "loop", "Equinox")

PREDICTED = re.compile(r"one call of (\S+) is predicted to take (\S+) ms")

REASON = 240
"""Characters of a reason that are shown."""

HEAD = """# Networks of other packages

Each network as its package builds it, with random weights, {n} examples: made by `nox -s models`, which anyone can run.
The truth is one backward pass for each example and output, in float64, by the module itself. An error is the largest
|K − K_ref| / √(K_ref[n,n] K_ref[m,m]) of the trace kernel. Seconds are of the first call in float32 in a process of
its own, CPU time of one thread, tracing, planning, compilation and the engine's check of itself included. Rules:
parameters that the engine has a rule for, of all.

"""


def page(rows: Sequence[Mapping[str, Any]], versions: Mapping[str, str], n_examples: int) -> str:
    """Markdown; `rows` as `measured` of `tests.models.measure` gives them, or with a ``failure``."""
    measured = [row for row in rows if "failure" not in row]
    packages = {row["package"] for row in measured}
    parts = [HEAD.format(n=n_examples), f"{len(measured)} networks of {len(packages)} packages.\n\n"]
    for framework, title in (("torch", "PyTorch"), ("jax", "JAX")):
        chosen = [row for row in measured if row["framework"] == framework]
        if chosen:
            parts += [f"## {title}\n\n", _summary(chosen), "\n\n", _table(chosen, framework), "\n"]
    failures = [f"- {row['package']}, {row['name']}: {row['failure']}" for row in rows if "failure" in row]
    if failures:
        parts += ["## Not built here\n\n", *(line + "\n" for line in failures), "\n"]
    parts.append("Versions: " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".\n")
    return "".join(parts)


def timed(framework: str) -> dict[str, str]:
    """The methods of that framework whose one call is timed, and their titles."""
    return dict(zip(*((METHODS, TITLES) if framework == "torch" else (TIMED_JAX, TITLES_JAX)), strict=True))


def predictions(printed: str) -> dict[str, float]:
    """Seconds by method, of what `ntk` says."""
    return {name: float(ms) / 1e3 for name, ms in PREDICTED.findall(printed)}


def _summary(rows: Sequence[Mapping[str, Any]]) -> str:
    ratios = sorted(filter(None, map(_ratio, rows)))
    errors = {row["name"]: row["auto"]["float64"]["error"] for row in rows if "error" in row["auto"]["float64"]}
    refused = [row["name"] for row in rows if "failure" in row["auto"]["float64"]]
    partly = [row["name"] for row in rows if row.get("float32_inside")]
    text = (f"{len(rows)} networks. `ntk`'s default answers on {len(errors)}, with an error of "
            f"{max(error for name, error in errors.items() if name not in partly):.0e} at most in float64.")
    if partly:
        text += f" That is without {', '.join(partly)}, computed partly in float32 whatever is asked for."
    if refused:
        text += f" Refused: {', '.join(refused)}."
    return text + (f" Its one call takes {statistics.median(ratios):.2f} times as long as the best method's in the "
                   f"median, and {ratios[-1]:.2f} times at worst.")


def _ratio(row: Mapping[str, Any]) -> float | None:
    seconds = [row[method]["float32"].get("seconds") for method in timed(row["framework"])]
    return None if seconds[0] is None else seconds[0] / min(s for s in seconds if s is not None)


def _table(rows: Iterable[Mapping[str, Any]], framework: str) -> str:
    engine, times = f"structured_{framework}", timed(framework)
    others = [name for name in METHODS_JAX if name not in ("auto", engine)] if framework == "jax" else []
    head = ["network", "package", "parameters", "rules", f"error, float64: {times['auto']}", "engine",
            *(["all others"] if others else []), f"error, float32: {times['auto']}",
            *(f"{title}, s" for title in times.values()), "auto over best"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        ratio = _ratio(row)
        cells = [row["name"], row["package"], f"{row['parameters']:,}", _rules(row["rules"]),
                 _error(row["auto"]["float64"]), _error(row[engine]["float64"]),
                 *([_largest(row[name]["float64"] for name in others)] if others else []),
                 _error(row["auto"]["float32"]), *(_seconds(row[method]["float32"]) for method in times),
                 "–" if ratio is None else f"{ratio:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n" + _reasons(rows, METHODS if framework == "torch" else METHODS_JAX)


def _reasons(rows: Iterable[Mapping[str, Any]], methods: Sequence[str]) -> str:
    found = [f"- {row['name']}, {method}: {' '.join(row[method]['float64']['failure'].split())[:REASON]}"
             for row in rows for method in methods if "failure" in row[method]["float64"]]
    return "\nRefused, with the reason:\n\n" + "\n".join(found) + "\n" if found else ""


def _error(cell: Mapping[str, Any]) -> str:
    return f"{cell['error']:.0e}" if "error" in cell else "refused"


def _largest(cells: Iterable[Mapping[str, Any]]) -> str:
    errors = [cell["error"] for cell in cells if "error" in cell]
    return f"{max(errors):.0e}" if errors else "refused"


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
