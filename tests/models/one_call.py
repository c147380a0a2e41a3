"""``python -m tests.models.one_call [NAME …]``: what one call takes by each method, and what was predicted of it.

Writes bench/results/one_call_models.json and docs/one_call.md. Each call is the first of a process of its own, forked
where PyTorch and the model are ready; the methods take turns, and the least of `REPEATS` seconds of the processor
counts. What is predicted are the seconds after the checks of the network, which all methods share; they are held
against those of a call in a process that has imported everything, without the checks.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import io
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.models.entry import N_EXAMPLES, Entry, Made
from tests.models.table import METHODS, TITLES

REPEATS = 2
RESULTS, PAGE = Path("bench/results/one_call_models.json"), Path("docs/one_call.md")
PREDICTED = re.compile(r"one call of (\S+) is predicted to take (\S+) ms")

HEAD = """# One call

Seconds of the processor (one thread) of the first call `ntk(model, x, outputs="trace")` in a process of its own, with
{n} examples in float32, the checks of the network, tracing, planning, the engine's check of itself and imports
included: by `python -m tests.models.one_call`, the networks of [models.md](models.md). Predicted over measured: what
`ntk` says before it traces anything, over what it took after the checks of the network, all imported.

"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["*"], help="patterns of names or packages")
    parser.add_argument("--without", nargs="*", default=[], help="patterns of names or packages to leave out")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    from tests.models.torch_zoo import ENTRIES

    if args.one is not None:
        print(json.dumps(measured(next(entry for entry in ENTRIES if entry.name == args.one))))
        return 0
    rows = []
    for entry in ENTRIES:
        if not _fits(entry, args.names) or _fits(entry, args.without):
            continue
        command = [sys.executable, "-W", "ignore", "-m", "tests.models.one_call", "--one", entry.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(entry.name, done.stderr.strip().splitlines()[-1:], flush=True)
            continue
        rows.append({"name": entry.name, "package": entry.package, **json.loads(done.stdout.splitlines()[-1])})
        print(_line(rows[-1]), flush=True)
        RESULTS.write_text(json.dumps({"examples": N_EXAMPLES, "rows": rows}, indent=1) + "\n")
        PAGE.write_text(page(rows, [entry.name for entry in ENTRIES]))
    return 0


def _fits(entry: Entry, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(what, pattern) for what in (entry.name, entry.package) for pattern in patterns)


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
    predicted = {name: float(ms) / 1e3 for name, ms in PREDICTED.findall(printed.getvalue())}
    return {"seconds": seconds, "checks": checks, "predicted": predicted}


def _seconds(call: Callable[[], Any]) -> float:
    begin = time.process_time()
    call()
    return time.process_time() - begin


def page(rows: Sequence[Mapping[str, Any]], suite: Sequence[str]) -> str:
    """Markdown; the networks of the suite that have no row are named."""
    ratios = sorted(ratio for row in rows if (ratio := over_best(row)) is not None)
    share = [one for row in rows for one in _over_measured(row).values()]
    within = sum(0.5 <= one <= 2 for one in share)
    text = (f"{len(rows)} networks. The default's one call takes {statistics.median(ratios):.2f} times as long as the "
            f"best method's in the median, and {ratios[-1]:.2f} times at worst. Of {len(share)} predictions {within} "
            "are within a factor of two of what was measured; some of the networks are those that the constants were "
            "fitted to.\n\n")
    measured_here = {row["name"] for row in rows}
    if missing := [name for name in suite if name not in measured_here]:
        text += f"Not measured here ({len(missing)} of {len(suite)}): {', '.join(missing)}.\n\n"
    head = ["network", "package", *(f"{title}, s" for title in TITLES), "auto over best",
            "predicted over measured: engine", "loop", "torch.func"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        ratio, predictions = over_best(row), _over_measured(row)
        cells = [row["name"], row["package"], *(_cell(row["seconds"][method]) for method in METHODS), _cell(ratio),
                 *(_cell(predictions.get(method)) for method in METHODS[1:])]
        lines.append("| " + " | ".join(cells) + " |")
    return HEAD.format(n=N_EXAMPLES) + text + "\n".join(lines) + "\n"


def over_best(row: Mapping[str, Any]) -> float | None:
    """The default's seconds over those of the best method."""
    default, *others = (row["seconds"][method] for method in METHODS)
    best = min((each for each in others if each is not None), default=None)
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
