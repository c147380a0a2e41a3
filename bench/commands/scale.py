"""The page on growth, docs/scale.md with docs/scale.svg: ``python -m bench.commands.scale``.

Reads in bench/results/ ``scale.json`` (`bench.commands.grow`), ``operator.json`` (`bench.commands.operator`),
``disk.json`` (`bench.commands.disk`), ``beyond.json`` (`bench.commands.beyond`), ``workers.json``
(`bench.commands.workers`) and the rates in ``engines-cuda.json``, and writes what stands between the marks of the page.
"""

from __future__ import annotations

import json
from pathlib import Path

from bench import units
from bench.cells import scale
from bench.commands import projection
from bench.commands.operator import DESCRIBED
from bench.pages import marked
from bench.report.growth import Curves, Point, curves, exponent, picture

ROOT = Path(__file__).parents[2]
PAGE, FIGURE, RESULTS = ROOT / "docs" / "scale.md", ROOT / "docs" / "scale.svg", ROOT / "bench" / "results"


def main() -> None:
    found = json.loads((RESULTS / "scale.json").read_text())
    measured = curves(found["rows"])
    due = predicted(measured)
    FIGURE.write_text(picture(measured, due), encoding="utf-8")
    tables = {"growth": _growth(measured, due, found["environment"]["machine"]),
              "operator": _operator(), "disk": _disk(), "beyond": _beyond(), "workers": _workers(),
              "projection": projection.table()}
    page = PAGE.read_text(encoding="utf-8")
    for name, table in tables.items():
        page = marked(page, name, table)
    PAGE.write_text(page, encoding="utf-8")


def predicted(measured: Curves) -> Curves:
    """Of the same cases: operations of the engine's plan and of its passes in place of seconds, and the bytes that it
    holds with the kernel."""
    from impls.choice import auto, costs
    from reference import Request

    cases = {source.name: source.build() for source in scale.CASES}
    found = dict[tuple[str, str], list[Point]]()
    for (what, method), points in measured.items():
        framework = method.removeprefix("structured_")
        if framework not in ("jax", "torch") or framework == method:
            continue
        for size, *_ in points:
            case = cases[scale.name(what, size)]
            outputs = scale.OUTPUTS.get(case.name, ("full",))[0]
            facts = auto.facts_of_case(framework, case, Request(outputs))  # pyright: ignore[reportArgumentType]
            work = costs.work(method, facts)
            held = costs.held_bytes(method, facts, None) + facts.kernel_bytes
            found.setdefault((what, method), []).append(Point(size, work.matmul + work.contraction, held))
    return found


def _growth(measured: Curves, due: Curves, machine: str) -> str:
    lines = ["| grows | method | from | to | time | exponent | by operations | peak memory | exponent | by the plan |",
             "| --- | --- | ---: | ---: | --- | ---: | ---: | --- | ---: | ---: |"]
    for (what, method), points in measured.items():
        sizes, planned = [point.size for point in points], due.get((what, method), ())
        slopes = [exponent(sizes, [point[at] for point in points]) for at in (1, 2)]
        of_plan = [exponent([p.size for p in planned], [p[at] for p in planned]) for at in (1, 2)]
        first, last = points[0], points[-1]
        least = next((point.bytes for point in points if point.bytes), None)
        lines.append(f"| {what} | {method} | {sizes[0]:,} | {sizes[-1]:,} | {units.seconds(first.seconds)} to "
                     f"{units.seconds(last.seconds)} | {_slope(slopes[0])} | {_slope(of_plan[0])} | "
                     f"{units.memory(least)} to {units.memory(last.bytes)} | {_slope(slopes[1])} | "
                     f"{_slope(of_plan[1])} |")
    return "\n".join([*lines, "", f"{machine}, one thread, seconds of the processor."])


def _slope(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _operator() -> str:
    found = json.loads((RESULTS / "operator.json").read_text())
    rows = {(r["framework"], r["network"], r["examples"], r["way"]): r for r in found["rows"]}
    lines = ["| network | N | ready: K | operator | eigsh, k = 10: K | operator | cg: K | operator | peak memory: K | "
             "operator |", "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for framework, network, n in dict.fromkeys(key[:3] for key in rows):
        both = [rows.get((framework, network, n, way), {"seconds": {}}) for way in ("kernel", "operator")]
        cells = [units.seconds(each["seconds"].get("ready")) for each in both]
        for what in ("eigsh", "cg"):
            times = [_until(each["seconds"], what) for each in both]
            best = min((time for time in times if time), default=None)
            cells += [f"**{units.seconds(time)}**" if time == best else units.seconds(time) for time in times]
        cells += [units.memory(each.get("peak_bytes")) for each in both]
        lines.append(f"| {DESCRIBED[network]}, {framework} | {n} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"{found['environment']['machine']}, one thread, seconds of the processor."])


def _until(seconds: dict[str, float], what: str) -> float | None:
    """From nothing to the answer."""
    return seconds["ready"] + seconds[what] if what in seconds else None


def _disk() -> str:
    found = json.loads((RESULTS / "disk.json").read_text())
    lines = ["| engine | kernel | N | in memory | on disk | ratio, of the processor | by the clock |",
             "| --- | --- | ---: | ---: | ---: | ---: | ---: |"]
    for row in found["rows"]:
        memory, disk = map(units.seconds, row["seconds"])
        ratios = " | ".join(f"{row['ratio'][name]:.2f}" for name in ("processor", "clock"))
        lines.append(f"| structured_{row['framework']} | {row['outputs']} | {row['examples']:,} | {memory} | {disk} | "
                     f"{ratios} |")
    return "\n".join([*lines, "", f"{found['environment']['machine']}, one thread."])


def _beyond() -> str:
    found = json.loads((RESULTS / "beyond.json").read_text())
    sizes = sorted({row["examples"] for row in found["rows"]})
    lines = [f"| | {' | '.join(f'N = {n:,}' for n in sizes)} | exponent |",
             f"| --- | {' | '.join('---:' for _ in sizes)} | ---: |"]
    for what in dict.fromkeys(row["what"] for row in found["rows"]):
        rows = {row["examples"]: row for row in found["rows"] if row["what"] == what}
        for name, form, key in (("time", units.seconds, "seconds"), ("peak memory", units.memory, "peak_bytes")):
            values = [rows[n][key] if n in rows else None for n in sizes]
            lines.append(f"| {what}: {name} | {' | '.join(map(form, values))} | {_slope(exponent(sizes, values))} |")
    return "\n".join([*lines, "", f"{found['environment']['machine']}, one thread, seconds of the processor."])


def _workers() -> str:
    found = json.loads((RESULTS / "workers.json").read_text())
    lines = ["| workers | tiles | tiles a second, each turn | efficiency |", "| ---: | ---: | --- | ---: |"]
    for workers, turns in found["turns"].items():
        rates = ", ".join(f"{turn['tiles'] / turn['wall_s']:.3g}" for turn in turns)
        lines.append(f"| {workers} | {turns[0]['tiles']:.0f} | {rates} | {found['efficiency'][workers]:.0%} |")
    return "\n".join([*lines, "", f"{found['machine']}, one core a worker."])


if __name__ == "__main__":
    main()
