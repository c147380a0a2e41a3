"""How often ``asv continuous`` speaks: on commits that change nothing, and on one that slows a method down.

    python -m tests.bench.suites.alarms [--no-ops 20] [--plants 1] [--slower 0.3] [--bench REGEX] [--environments DIR]

Each run is on two commits of a clone of this repository, made for it and removed; the environment, 2.3 GB, is installed
once under DIR, a temporary folder unless given. A minute or two a run with the cells of the default here on a quiet
machine. Exit code 1 unless every no-op passes and every plant is found, in the method that was slowed down alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PLANTED = "structured_torch"
WATCHED = r"time_kernel\('(structured_torch|explicit_mlp|structured_jax|torch_func.jacobian_contraction)'"
"""The cells of a run: the one that is slowed down and others of both frameworks."""

# Appended to the method's module: each of its calls is followed by as much idle work as makes it so much slower.
PLANT = """

def _slower(prepare):
    import time

    def prepare_slower(*arguments):
        compute = prepare(*arguments)

        def call():
            begin = time.process_time()
            kernel = compute()
            end = time.process_time() + {slower} * (time.process_time() - begin)
            while time.process_time() < end:
                pass
            return kernel

        return call

    return prepare_slower


type(METHODS[0]).prepare = _slower(type(METHODS[0]).prepare)
"""


def clone(folder: Path, environments: Path) -> Path:
    """This repository at HEAD with a configuration whose environments are kept elsewhere."""
    path = folder / "clone"
    for checkout in environments.glob("*/project"):  # of an earlier clone
        shutil.rmtree(checkout)
    _run(["git", "clone", "--quiet", "--shared", str(ROOT), str(path)], folder)
    for name, value in (("user.name", "alarms"), ("user.email", "alarms@localhost"), ("commit.gpgsign", "false")):
        _run(["git", "config", name, value], path)
    text = re.sub(r"^\s*//.*$", "", (path / "asv.conf.json").read_text(), flags=re.MULTILINE)
    (path / "asv.conf.json").write_text(json.dumps(json.loads(text) | {"env_dir": str(environments)}))
    _run(["git", "commit", "--quiet", "--all", "--message", "Environments elsewhere"], path)
    return path


def commit(path: Path, name: str, slower: float | None) -> None:
    """One that changes nothing, or that makes `PLANTED` slower by that part."""
    if slower is None:
        (path / "impls" / "__init__.py").open("a").write(f"# {name}\n")
    else:
        (path / "impls" / "methods" / f"{PLANTED}.py").open("a").write(PLANT.format(slower=slower))
    _run(["git", "commit", "--quiet", "--all", "--message", name], path)


def continuous(path: Path, bench: str) -> tuple[int, str]:
    """Exit code and what was printed."""
    command = [sys.executable, "bench/suites/commits.py", "continuous", "HEAD~1", "HEAD", "--bench", bench]
    done = subprocess.run(command, cwd=path, capture_output=True, text=True, check=False, env=_environment())
    return done.returncode, done.stdout + done.stderr


def changed(printed: str) -> list[str]:
    """The rows of asv's table of what changed."""
    return [line for line in printed.splitlines() if re.match(r"\|\s*[+!-]\s*\|", line)]


def as_meant(slower: float | None, code: int, rows: Sequence[str]) -> bool:
    """Whether a no-op passed, or a plant was found where it is and nowhere else."""
    worse = [row for row in rows if not re.match(r"\|\s*-\s*\|", row)]
    if slower is None:
        return code == 0 and not worse
    return code == 1 and bool(worse) and all(f"'{PLANTED}'" in row for row in worse)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("alarms", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--no-ops", type=int, default=20)
    parser.add_argument("--plants", type=int, default=1)
    parser.add_argument("--slower", type=float, default=0.3)
    parser.add_argument("--bench", default=WATCHED)
    parser.add_argument("--environments", type=Path)
    asked = parser.parse_args(arguments)
    kinds = [None] * asked.no_ops + [asked.slower] * asked.plants
    with tempfile.TemporaryDirectory() as folder:
        path = clone(Path(folder), (asked.environments or Path(folder, "environments")).resolve())
        _run(["asv", "machine", "--yes"], path)
        right = sum(_once(path, number, slower, asked.bench) for number, slower in enumerate(kinds))
    print(f"{right} of {len(kinds)} as they should be")
    return int(right < len(kinds))


def _once(path: Path, number: int, slower: float | None, bench: str) -> bool:
    name = f"no-op {number}" if slower is None else f"{PLANTED} {slower:.0%} slower"
    begin, before = time.monotonic(), _run(["git", "rev-parse", "HEAD"], path).strip()
    commit(path, name, slower)
    code, printed = continuous(path, bench)
    rows = changed(printed)
    right = as_meant(slower, code, rows)
    load = os.getloadavg()[0]
    print(f"{name}: exit {code}, {'as it should be' if right else 'WRONG'}, {time.monotonic() - begin:.0f} s, load "
          f"{load:.1f}", *rows, sep="\n  ", flush=True)
    if not right:
        print(printed, flush=True)
    _run(["git", "reset", "--quiet", "--hard", before], path)
    shutil.rmtree(path / ".asv" / "results", ignore_errors=True)
    return right


def _run(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, env=_environment())
    return done.stdout


def _environment() -> dict[str, str]:
    """Where this Python's asv is found first."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


if __name__ == "__main__":
    raise SystemExit(main())
