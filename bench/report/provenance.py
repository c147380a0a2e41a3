"""Where the report's figures come from: machine, versions, and how they were measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from bench import units
from bench.records.machines import SHORT, origin
from bench.records.noise import DISTURBED, SLOWED
from bench.records.record import Environment, Record
from bench.report import markup
from bench.report.choice import Option, choice
from bench.report.markup import Markup, element
from bench.report.page import Section
from bench.report.ranking import ALPHA
from bench.report.summary import group_of, line_of


def machine(records: Sequence[Record], environments: dict[str, Environment]) -> Section:
    """Where it was measured; rows of different machines are compared only where that was asked for."""
    counts = Counter(map(origin, records))
    known = environments | {key[:SHORT]: environment for key, environment in environments.items()}
    parts = []
    for key in sorted(counts, key=lambda key: -counts[key]):
        started = sorted(record.started_at for record in records if origin(record) == key and record.started_at)
        when = f"{started[0]} to {started[-1]}" if started else units.NONE
        parts.append(Option(f"{key or units.NONE}, {counts[key]} rows",
                            _environment(key, known.get(key), when, counts[key])))
    return Section("machine", "Machine and versions", choice("Environment", parts))


def _environment(key: str, environment: Environment | None, when: str, rows: int) -> Markup:
    """The machine; versions and settings, a long list, are folded away."""
    pairs: list[tuple[str, str]] = [("measured", when), ("rows", str(rows)), ("environment", key or units.NONE)]
    if environment is None:
        return _list([*pairs, ("machine", "not recorded")])
    pairs += [("machine", environment.machine), ("accelerator", environment.accelerator or "none"),
              ("system", environment.system)]
    more = [*environment.versions.items(), *environment.facts.items()]
    return markup.join([_list(pairs), element("details", element("summary", "Versions and settings"), _list(more))])


def _list(pairs: Iterable[tuple[str, str]]) -> Markup:
    return element("dl", *(markup.join([element("dt", name), element("dd", value)]) for name, value in pairs))


def method_of_measuring(records: Sequence[Record]) -> Section:
    """How the figures came about, with the counts of this run."""
    replicates = Counter((line_of(record), group_of(record)) for record in records).values()
    calls = [len(record.samples_s) for record in records if record.samples_s]
    against = Counter(record.checked_against for record in records if record.checked_against)
    points = [
        "Every replicate runs in a process of its own, with its threads pinned; replicates per cell here: "
        f"{_span(replicates)}. Statuses and errors are those of the worst replicate.",
        "The first call traces, compiles and computes. Later calls are the steady state: each is waited for until the "
        f"kernel is there; calls per replicate here: {_span(calls)}. “Time” is the median over replicates of the "
        "median of their later calls; “spread” is half the distance between the quartiles of all of them.",
        "Peak memory is that of set-up and calls, net of what the process held before and of pages of files (the code "
        "of libraries); on an accelerator, the allocator's own peak. What processes that the method starts hold is "
        "looked at every 20 ms, and its peak is added.",
        "The set-up is no part of the time, and stands in a column of its own. A method whose call is quicker than the "
        "examples can pass through the network, at 400 GFLOP/s a core, has computed in its set-up and counts as wrong.",
        "The kernel that was timed is the kernel that is checked. Error: the largest |K − K_ref| / √(K_ref[n,n,a,a] · "
        "K_ref[m,m,b,b]) over all entries that were compared. Compared with: "
        f"{'; '.join(f'{name} ({number} rows)' for name, number in against.most_common(8)) or 'nothing'}.",
        "Where no kernel is proved, a method is compared on the first, a middle and the last example, on two drawn by "
        "the seed, and along random vectors over all. The tolerance is the larger of the table's and twice what one "
        "unit in the last place, in parameters, inputs and every operation, changes in the float64 kernel. “Undecided” "
        "is a kernel of which two witnesses, and finite differences, say different things.",
        "Places are given as far as they are certain: methods share them where the interval of their ratio, over "
        f"processes of one turn and corrected for all pairs of the cell, holds 1. Of all methods of a cell that are "
        f"equally fast, any two are told apart in at most {100 * ALPHA:.0f} % of cells; few processes a method tell "
        "little apart.",
        f"A row is disturbed (*) where its process was ready and did not run in more than {100 * DISTURBED:.0f} % of "
        f"its calls' time, or where a fixed probe before or after it ran {SLOWED:g} times slower than its best. Within "
        "a budget it is measured again, and the least disturbed attempt is kept.",
        "Ranked are methods of kind “exact” with status “ok”, among rows that agree in case, outputs, dtype, device, "
        "threads and machine. A time whose kernel is wrong is not shown.",
        "Exponents are slopes of least-squares lines through log time or log memory over log width, given from three "
        "widths on. At small widths a fixed cost per call flattens them: they describe the widths they are given with.",
    ]
    body = element("details", element("summary", f"{len(points)} points"),
                   element("ul", *(element("li", point) for point in points)))
    return Section("measuring", "How it was measured", body)


def _span(values: Iterable[int]) -> str:
    values = list(values)
    if not values:
        return "none"
    return str(min(values)) if min(values) == max(values) else f"{min(values)} to {max(values)}"
