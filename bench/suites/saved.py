"""The suite of pytest-benchmark, saved and compared with the last: ``python -m bench.suites.saved``.

Exit codes: 1 where a test failed or became slower than the last by more than the threshold, 2 usage, 4 where no figure
was saved.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

NOTHING = 4
SUITE = Path(__file__).with_name("microbench.py")
HOW = ("--benchmark-autosave", "--benchmark-max-time=0.4", "--benchmark-min-rounds=5", "--benchmark-sort=name",
       "--benchmark-columns=min,median,iqr,rounds", "--benchmark-timer=bench.suites.clock.undisturbed",
       "-W", "ignore:Not saving anything", "-rs")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code; what is not known here goes to pytest, e.g. ``-k structured``."""
    parser = argparse.ArgumentParser("saved", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threshold", type=_percent, default="30%", metavar="P%",
                        help="by how much the quickest call may be slower than in the last run (30%%; the figures are "
                             "those of one process, so that much finer alarms would be false: `nox -s asv`)")
    parser.add_argument("--storage", type=Path, default=Path(".benchmarks"), help="where the JSON is kept")
    asked, others = parser.parse_known_args(arguments)
    before = _saved(asked.storage)
    compare = ["--benchmark-compare", f"--benchmark-compare-fail=min:{asked.threshold}"] if before else []
    command = [sys.executable, "-m", "pytest", str(SUITE), *HOW, f"--benchmark-storage=file://{asked.storage}",
               *compare, *others]
    code = subprocess.run(command, check=False).returncode
    new = sorted(_saved(asked.storage) - before)
    if not new or not (figures := json.loads(new[-1].read_text())["benchmarks"]):
        print("nothing was measured: " + (f"{new[-1]} holds no figure" if new else f"no JSON came to {asked.storage}/"),
              file=sys.stderr)
        return NOTHING
    alone = "" if before else "; there is no earlier run to compare with"
    print(f"{len(figures)} figure{'' if len(figures) == 1 else 's'} in {new[-1]}{alone}")
    return int(code != 0)


def _saved(storage: Path) -> set[Path]:
    return set(storage.glob("*/*.json"))


def _percent(text: str) -> str:
    if not re.fullmatch(r"\d+%", text):
        raise argparse.ArgumentTypeError(f"a whole percentage such as 30%, got {text!r}")
    return text


if __name__ == "__main__":
    raise SystemExit(main())
