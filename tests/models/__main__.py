"""``python -m tests.models [NAME …]``: measure, write bench/results/models.json and the table docs/models.md."""

from __future__ import annotations

import argparse
import fnmatch
import importlib.metadata
import json
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.models.entry import N_EXAMPLES, Entry
from tests.models.table import page


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["*"], help="patterns of names, packages or frameworks")
    parser.add_argument("--out", type=Path, default=Path("bench/results/models.json"),
                        help="rows of other networks that are there stay")
    parser.add_argument("--page", type=Path, default=Path("docs/models.md"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one is not None:
        return _one(args.one)
    rows = {(row["package"], row["name"]): row for row in _before(args.out)}
    for entry in filter(partial(_is_chosen, args.names), entries()):
        row = rows[entry.package, entry.name] = _row(entry)
        print(_line(row), flush=True)
        args.out.write_text(json.dumps({"versions": _versions(rows), "rows": _in_order(rows)}, indent=1) + "\n")
    args.page.write_text(page(_in_order(rows), _versions(rows), N_EXAMPLES))
    return 0


def entries() -> tuple[Entry, ...]:
    """All networks."""
    from tests.models import jax_zoo, torch_zoo

    return (*torch_zoo.ENTRIES, *jax_zoo.ENTRIES)


def _before(out: Path) -> list[dict[str, Any]]:
    return json.loads(out.read_text())["rows"] if out.exists() else []


def _in_order(rows: dict[tuple[str, str], dict[str, Any]]) -> list[dict[str, Any]]:
    return [rows[key] for entry in entries() if (key := (entry.package, entry.name)) in rows]


def _is_chosen(patterns: Sequence[str], entry: Entry) -> bool:
    names = (f"{entry.package}/{entry.name}", entry.name, entry.package, entry.framework)
    return any(fnmatch.fnmatch(name, pattern) for name in names for pattern in patterns)


def _row(entry: Entry) -> dict[str, Any]:
    """Measured in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.models", "--one", f"{entry.package}/{entry.name}"],
        capture_output=True, text=True, check=False)
    if done.returncode == 0 and done.stdout.strip():
        inside = {"float32_inside": True} if entry.float32_inside else {}
        return json.loads(done.stdout.splitlines()[-1]) | inside
    return {"name": entry.name, "package": entry.package, "framework": entry.framework,
            "failure": " ".join(done.stderr.strip().splitlines()[-1:])}


def _versions(rows: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Of Python, the frameworks and the packages of these networks."""
    names = ("torch", "jax", *sorted({package for package, _ in rows}))
    return {"Python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}


def _one(name: str) -> int:
    """A process that measures PyTorch's networks does not import JAX for the others."""
    from tests.models import torch_zoo

    if entry := named(name, torch_zoo.ENTRIES):
        from tests.models.measure import measured
    else:
        from tests.models.jax_zoo import ENTRIES
        from tests.models.measure_jax import measured

        entry = named(name, ENTRIES)
    assert entry is not None
    print(json.dumps(measured(entry)))
    return 0


def named(name: str, among: Iterable[Entry]) -> Entry | None:
    """The one that is called so, as package/name."""
    return next((entry for entry in among if f"{entry.package}/{entry.name}" == name), None)


def _line(row: dict[str, Any]) -> str:
    if "failure" in row:
        return f"{row['package']} {row['name']}: {row['failure']}"
    parts = [f"{row['package']} {row['name']} P={row['parameters']}"]
    for method in row:
        if isinstance(row[method], dict) and "float64" in row[method]:
            cells = " ".join(cell.get("failure", f"{cell.get('error', 0):.0e} {cell.get('seconds', 0):.2f}s")
                             for cell in row[method].values())
            parts.append(f"{method}: {cells}")
    return "\n    ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
