"""``python -m tests.models.one_call [NAME …]``: what one call takes by each method, and what was predicted of it.

Writes bench/results/one_call_models.json and docs/one_call.md, and keeps the rows of other networks that are there.
Each call is the first of a process of its own, forked where the framework and, in PyTorch, the model are ready; the
methods take turns, and the least of `REPEATS` seconds of the processor counts. What is predicted are the seconds after
the checks of the network, which all methods share; they are held against those of a call in a process that has imported
everything, without the checks.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import io
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.models.__main__ import entries, named
from tests.models.entry import N_EXAMPLES, Entry, Made
from tests.models.table import METHODS, predictions, timed

REPEATS = 2
RESULTS, PAGE = Path("bench/results/one_call_models.json"), Path("docs/one_call.md")

HEAD = """# One call

Seconds of the processor (one thread) of the first call `ntk(model, x, outputs="trace")` in a process of its own, with
{n} examples in float32, the checks of the network, tracing, planning, compilation, the engine's check of itself and
imports included: by `python -m tests.models.one_call`, the networks of [models.md](models.md). Predicted over measured:
what `ntk` says before it traces or compiles anything, over what it took after the checks of the network, all imported.

"""
LOOP_IS = {"torch": "", "jax": "The loop is one of `jax.vjp` written by hand and compiled at XLA's optimisation level "
           "0, as `tests.models.truth_jax` has it: it checks nothing, and is no method of `ntk`. The prediction for a "
           "loop is that of `ntk`'s own, over `ntk` where it took it. `ntk` traces a network three times, for its "
           "checks and for a backward pass: one that computes much while it is traced (tensor square) is the furthest "
           "from the loop, which traces it once.\n\n"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["*"], help="patterns of names, packages or frameworks")
    parser.add_argument("--without", nargs="*", default=[], help="patterns of what to leave out")
    parser.add_argument("--out", type=Path, default=RESULTS, help="rows of other networks that are there stay")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one is not None:
        print(json.dumps(_one(args.one)))
        return 0
    suite = entries()
    rows = {(row["package"], row["name"]): row for row in _before(args.out)}
    for entry in suite:
        if _fits(entry, args.names) and not _fits(entry, args.without) and (row := _row(entry)) is not None:
            rows[entry.package, entry.name] = row
            print(_line(row), flush=True)
            args.out.write_text(json.dumps({"examples": N_EXAMPLES, "rows": _in_order(rows, suite)}, indent=1) + "\n")
    args.page.write_text(page(_in_order(rows, suite), suite))
    return 0


def _before(out: Path) -> list[dict[str, Any]]:
    return json.loads(out.read_text())["rows"] if out.exists() else []


def _in_order(rows: Mapping[tuple[str, str], dict[str, Any]], suite: Sequence[Entry]) -> list[dict[str, Any]]:
    known = [(entry.package, entry.name) for entry in suite]
    return [rows[key] for key in known if key in rows]


def _row(entry: Entry) -> dict[str, Any] | None:
    """Measured in a process of its own; None where that fails, which is told."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.models.one_call", "--one", f"{entry.package}/{entry.name}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(entry.name, done.stderr.strip().splitlines()[-1:], flush=True)
        return None
    found = json.loads(done.stdout.splitlines()[-1])
    return {"name": entry.name, "package": entry.package, "framework": entry.framework, **found}


def _one(name: str) -> dict[str, Any]:
    """Of a process that imports one framework alone."""
    from tests.models import torch_zoo

    if entry := named(name, torch_zoo.ENTRIES):
        return measured(entry)
    from tests.models.jax_zoo import ENTRIES
    from tests.models.measure_jax import one_call

    entry = named(name, ENTRIES)
    assert entry is not None
    return one_call(entry, REPEATS)


def _fits(entry: Entry, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(what, pattern) for what in (entry.name, entry.package, entry.framework)
               for pattern in patterns)


def measured(entry: Entry) -> dict[str, Any]:
    """`seconds` of the first call and `warm` ones by method, None where it refuses; `checks` and `predicted` ones."""
    import torch

    from tests.models.measure import forked

    torch.set_num_threads(1)
    torch.manual_seed(0)
    made = entry.make()
    seconds: dict[str, list[float]] = {method: [] for method in METHODS}
    for _ in range(REPEATS):
        for method in METHODS:
            seconds[method] += forked(lambda method=method: _first_call(made, method)).get("seconds", [])
    answer: dict[str, Any] = {"seconds": {method: min(each, default=None) for method, each in seconds.items()}}
    warm = {method: forked(lambda method=method: _warm_call(made, method)) for method in METHODS}
    answer["warm"] = {method: found.get("seconds") for method, found in warm.items()}
    return answer | {key: warm["auto"].get(key) for key in ("checks", "predicted")}


def _check(made: Made) -> None:
    """The network, as `ntk` does before anything else."""
    from impls.given.asked import Asked
    from impls.given.user_network import UserNetwork
    from impls.own.torch.network import own_network

    asked = Asked(made.options.get("inputs"), made.options.get("select"), made.options.get("where"))
    own_network(UserNetwork("torch", made.model, None), made.x, None, asked)


def _first_call(made: Made, method: str) -> dict[str, Any]:
    from impls import ntk

    return {"seconds": [_seconds(lambda: ntk(made.model, made.x, outputs="trace", method=method, **made.options))]}


def _warm_call(made: Made, method: str) -> dict[str, Any]:
    """Of a call in a process that has imported what the methods need."""
    import torch

    from impls import ntk

    for each in METHODS:
        ntk(torch.nn.Linear(2, 2), torch.ones(1, 2), method=each)
    checks = _seconds(lambda: _check(made))
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        seconds = _seconds(lambda: ntk(made.model, made.x, outputs="trace", method=method, verbose=True,
                                       **made.options))
    return {"seconds": seconds, "checks": checks, "predicted": predictions(printed.getvalue())}


def _seconds(call: Callable[[], Any]) -> float:
    begin = time.process_time()
    call()
    return time.process_time() - begin


def page(rows: Sequence[Mapping[str, Any]], suite: Sequence[Entry]) -> str:
    """Markdown; the networks of the suite that have no row are named."""
    parts = [HEAD.format(n=N_EXAMPLES)]
    for framework, title in (("torch", "PyTorch"), ("jax", "JAX")):
        chosen = [row for row in rows if row["framework"] == framework]
        if chosen:
            parts += [f"## {title}\n\n", LOOP_IS[framework], _summary(chosen),
                      _missing(chosen, [entry.name for entry in suite if entry.framework == framework]),
                      _table(chosen, framework), "\n"]
    return "".join(parts).rstrip() + "\n"


def _summary(rows: Sequence[Mapping[str, Any]]) -> str:
    ratios = sorted(ratio for row in rows if (ratio := over_best(row)) is not None)
    share = [one for row in rows for one in _over_measured(row).values()]
    within = sum(0.5 <= one <= 2 for one in share)
    return (f"{len(rows)} networks. The default's one call takes {statistics.median(ratios):.2f} times as long as the "
            f"best of the others in the median, and {ratios[-1]:.2f} times at worst. Of {len(share)} predictions "
            f"{within} are within a factor of two of what was measured; some of the networks are those that the "
            "constants were fitted to.\n\n")


def _missing(rows: Sequence[Mapping[str, Any]], suite: Sequence[str]) -> str:
    measured_here = {row["name"] for row in rows}
    missing = [name for name in suite if name not in measured_here]
    return f"Not measured here ({len(missing)} of {len(suite)}): {', '.join(missing)}.\n\n" if missing else ""


def _table(rows: Sequence[Mapping[str, Any]], framework: str) -> str:
    times = timed(framework)
    predicted = [method for method in times if any(method in _over_measured(row) for row in rows)]
    head = ["network", "package", *(f"{title}, s" for title in times.values()), "auto over best",
            *(f"predicted over measured: {times[method]}" for method in predicted)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        over = _over_measured(row)
        cells = [row["name"], row["package"], *(_cell(row["seconds"].get(method)) for method in times),
                 _cell(over_best(row)), *(_cell(over.get(method)) for method in predicted)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def over_best(row: Mapping[str, Any]) -> float | None:
    """The default's seconds over those of the best method."""
    default = row["seconds"]["auto"]
    best = min((each for name, each in row["seconds"].items() if name != "auto" and each is not None), default=None)
    return None if default is None or best is None else default / best


def _over_measured(row: Mapping[str, Any]) -> dict[str, float]:
    """Predicted over measured seconds after the checks, where these are more than what a clock tells apart."""
    found = {}
    for method, predicted in (row["predicted"] or {}).items():
        total = row["warm"].get(method)
        if total is not None and total - row["checks"] > 0.01:
            found[method] = predicted / (total - row["checks"])
    return found


def _cell(number: float | None) -> str:
    return "–" if number is None else f"{number:.2f}"


def _line(row: Mapping[str, Any]) -> str:
    seconds = {method: _cell(each) for method, each in row["seconds"].items()}
    return f"{row['name']:32} {_cell(over_best(row))} {seconds} predicted/measured " + str(
        {method: _cell(each) for method, each in _over_measured(row).items()})


if __name__ == "__main__":
    sys.exit(main())
