"""airspeed velocity with this project's checks: ``python bench/suites/commits.py COMMAND …``, as ``nox -s asv``.

The commands are those of asv, and one more: ``upgrade COMMIT ENVIRONMENT ENVIRONMENT`` compares two environments of the
matrix of asv.conf.json at one commit as asv compares two commits. Exit codes are asv's (1 where something became
slower), and 4 where a commit or an environment was asked to be measured and no cell of it was.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

NOTHING = 4
MEASURING = ("run", "continuous")
CELLS = ("kernels.Kernel.", "kernels.Growth.")


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    if arguments[:1] == ["upgrade"]:
        return upgrade(arguments[1:])
    begin = time.time()
    code = subprocess.run(["asv", *arguments], check=False).returncode
    if not set(arguments) & set(MEASURING):
        return code
    empty = [name for name, n in measured(_results(arguments), begin).items() if not n]
    for name in empty:
        print(f"{name}: nothing was measured. What each cell says: asv run --show-stderr", file=sys.stderr)
    return NOTHING if empty else code


def measured(results: Path, since: float) -> dict[str, int]:
    """How many figures there are of the cells that were begun `since` (seconds of the epoch), for each commit and
    environment."""
    found: dict[str, int] = {}
    for path in results.glob("*/*.json"):
        if path.name == "machine.json":
            continue
        content = json.loads(path.read_text())
        columns = content["result_columns"]
        rows = [dict(zip(columns, row, strict=False)) for name, row in content["results"].items()
                if name.startswith(CELLS)]
        if begun := [row for row in rows if row.get("started_at", 0) / 1000 >= since]:
            found[path.stem] = sum(_n_figures(row["result"]) for row in begun)
    return found


def upgrade(arguments: Sequence[str]) -> int:
    """Compare two environments at one commit; 1 where something became slower in the second."""
    from asv import util
    from asv.commands.compare import Compare
    from asv.config import Config
    from asv.repo import get_repo
    from asv.results import iter_results_for_machine_and_hash

    asked = _upgrade_parser().parse_args(arguments)
    conf = Config.load(asked.config)
    repository: Any = get_repo(conf)
    commit = repository.get_hash_from_name(asked.commit)
    results = [result for machine in Path(conf.results_dir).glob("*/machine.json")
               for result in iter_results_for_machine_and_hash(conf.results_dir, machine.parent.name, commit)]
    sides = [_only(results, name) for name in (asked.before, asked.after)]
    try:
        worsened, _ = Compare.print_table(
            conf, asked.before, asked.after, factor=asked.factor, split=False, only_changed=asked.only_changed,
            resultset_1=_rows(sides[0]), resultset_2=_rows(sides[1]), sort="ratio")
    except util.UserError as error:
        print(error, file=sys.stderr)
        return NOTHING
    return int(worsened)


def _upgrade_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("upgrade", description="compare two environments at one commit")
    parser.add_argument("commit")
    parser.add_argument("before", help="a part of the environment's name that no other has, e.g. jax0.9.2")
    parser.add_argument("after")
    parser.add_argument("--factor", type=float, default=1.1)
    parser.add_argument("--only-changed", action="store_true")
    parser.add_argument("--config")
    return parser


def _only(results: list[Any], part: str) -> Any:
    named = [result for result in results if part in result.env_name]
    if len(named) != 1:
        known = ", ".join(sorted(result.env_name for result in results)) or "none"
        raise SystemExit(f"{part!r} is part of the names of {len(named)} environments with results of this commit; "
                         f"there are: {known}")
    return named[0]


def _rows(result: Any) -> Iterator[tuple[Any, ...]]:
    """As asv's table takes them; the environment has no name there, or each would have rows of its own."""
    for key in result.get_all_result_keys():
        params = result.get_result_params(key)
        yield (key, params, result.get_result_value(key, params), result.get_result_stats(key, params),
               result.get_result_samples(key, params), result.benchmark_version.get(key), "", "")


def _results(arguments: Sequence[str]) -> Path:
    """Where asv.conf.json, or the one that --config names, puts results."""
    from asv.config import Config

    named = next((value for flag, value in pairwise(arguments) if flag == "--config"), None)
    path = Path(named or "asv.conf.json")
    return path.parent / Config.load(str(path)).results_dir


def _n_figures(result: Any) -> int:
    values = result if isinstance(result, list) else [result]
    return sum(isinstance(value, int | float) and math.isfinite(value) for value in values)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
