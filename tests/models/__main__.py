"""``python -m tests.models [NAME …]``: measure, write bench/results/models.json and the table docs/models.md."""

from __future__ import annotations

import argparse
import fnmatch
import importlib.metadata
import json
import platform
import subprocess
import sys
from pathlib import Path

from tests.models.entry import N_EXAMPLES
from tests.models.table import METHODS, page
from tests.models.torch_zoo import ENTRIES


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["*"], help="patterns of names or packages")
    parser.add_argument("--out", type=Path, default=Path("bench/results/models.json"))
    parser.add_argument("--page", type=Path, default=Path("docs/models.md"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one is not None:
        return _one(args.one)
    chosen = [
        e for e in ENTRIES if any(fnmatch.fnmatch(e.name, p) or fnmatch.fnmatch(e.package, p) for p in args.names)
    ]
    found = []
    for entry in chosen:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "tests.models", "--one", entry.name],
            capture_output=True,
            text=True,
            check=False,
        )
        row = (
            json.loads(done.stdout.splitlines()[-1])
            if done.returncode == 0 and done.stdout.strip()
            else {"name": entry.name, "package": entry.package, "failure": done.stderr.strip().splitlines()[-1:]}
        )
        found.append(row)
        print(_line(row), flush=True)
        args.out.write_text(json.dumps({"versions": _versions(), "rows": found}, indent=1) + "\n")
    args.page.write_text(page(found, _versions(), N_EXAMPLES))
    return 0


def _versions() -> dict[str, str]:
    """Of Python, the frameworks and the packages."""
    names = ("torch", "jax", *sorted({entry.package for entry in ENTRIES}))
    return {"Python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}


def _one(name: str) -> int:
    from tests.models.measure import measured

    entry = next(e for e in ENTRIES if e.name == name)
    print(json.dumps(measured(entry)))
    return 0


def _line(row: dict) -> str:
    if "failure" in row:
        return f"{row['package']} {row['name']}: {row['failure']}"
    parts = []
    for method in METHODS:
        cells = row[method]
        parts.append(
            f"{method}: "
            + " ".join(c.get("failure", f"{c.get('error', 0):.0e} {c.get('seconds', 0):.2f}s") for c in cells.values())
        )
    return f"{row['package']} {row['name']} P={row['parameters']}\n    " + "\n    ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
