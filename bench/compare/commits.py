"""Two commits, measured here: each in a tree of its own, a process of the one after a process of the other.

A cell is measured in blocks of four processes, ABBA or BAAB by the throw of a coin: what drifts evenly over a block
falls out, and what comes and goes meets either side with the same chance. Then the next cell, and after all cells the
next block, so that a cell's processes are spread over the whole time. Where a change of the asked size can then neither
be seen nor ruled out, the cell is measured on, once, to `MORE` times as many processes. Both trees have the environment
that runs now, the same harness (this one), and paths of one length.
"""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from bench.compare.cells import Choice, cells, label
from bench.compare.judge import Contest, Process, Status, judge, of_calls
from bench.compare.statistics import processes_needed
from bench.records.noise import DISTURBED
from bench.records.record import Cell
from bench.running.lock import PREFIX, Lock
from reference import InputError
from reference.tolerances import tolerance

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("impls", "reference")
"""What is taken of a commit."""
CLOCKS = ("cpu", "wall")
"""Times that are compared: on a core, which the load of the machine hardly moves, and by the clock, which sees waiting
as well."""
LOOKS = 2
MORE = 4
"""Times as many processes at the second look."""
LEAST_PROCESSES = 12
"""A side, at the first; docs/calibration.md says what they find."""
LONGEST_END_S = 10
_SERVE = "from bench.compare.side import main; main()"


@dataclass
class Seen:
    """What was measured of a cell, on both sides in the order of the turns."""

    cell: Cell
    answers: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"A": [], "B": []})
    problems: dict[str, str] = field(default_factory=dict)

    def told(self, side: str) -> bool:
        """Whether anything is known of that side."""
        return bool(self.answers[side]) or side in self.problems


def resolve(repository: Path, name: str) -> str | None:
    """The hash of that commit, None where there is none."""
    answer = _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    return answer.stdout.decode().strip() if answer.returncode == 0 else None


def measure(repository: Path, commits: tuple[str, str], choice: Choice, processes: int | None, by: str, size: float,
            progress: Callable[[str], None]) -> tuple[list[Contest], int]:
    """The cells of two commits (hashes), `processes` a side (even), or as many as so many cells need and more where
    that leaves a cell undecided; and how often they were looked at, which is how they are to be judged.

    Raises `InputError` for a commit that cannot be imported, and where there is nothing to compare.
    """
    with _folder() as folder, ExitStack() as stack:
        sides = {name: stack.enter_context(_side(repository, folder / name.lower(), commit, choice))
                 for name, commit in zip("AB", commits, strict=True)}
        seen = [Seen(cell, problems={name: side.problems[cell.method] for name, side in sides.items()
                                     if cell.method in side.problems})
                for cell in cells(choice, _methods(choice, sides))]
        n = default_processes(len(seen)) if processes is None else processes + processes % 2
        progress(f"{len(seen)} cell{'s' if len(seen) > 1 else ''}, {n} processes a side")
        _take_turns(seen, sides, n, progress)
        if processes is not None:
            return [_contest(each, by) for each in seen], 1
        verdicts = judge([_contest(each, by) for each in seen], size, LOOKS)
        undecided = [each for each, verdict in zip(seen, verdicts, strict=True) if verdict.status == "underpowered"]
        if undecided:
            progress(f"{len(undecided)} undecided: {(MORE - 1) * n} more processes a side")
            _take_turns(undecided, sides, (MORE - 1) * n, progress)
    return [_contest(each, by) for each in seen], LOOKS


def default_processes(n_cells: int) -> int:
    """A side: even, enough for each cell to be able to be significant by either clock."""
    needed = processes_needed(len(CLOCKS) * n_cells, paired=True, looks=LOOKS)
    return max(needed + needed % 2, LEAST_PROCESSES)


class Side:
    """The process of one side. Raises `InputError` where it does not come up."""

    def __init__(self, process: subprocess.Popen[str], errors: IO[str], commit: str, choice: Choice,
                 tree: Path) -> None:
        self._process, self._errors, self._commit = process, errors, commit
        told = self._ask(asdict(choice))
        if Path(told["from"]).resolve() != tree.resolve():
            raise InputError(f"of {commit[:12]} another tree was imported, {told['from']}: is PYTHONPATH overridden?")
        if told["problem"]:
            raise InputError(f"the methods of {commit[:12]} cannot be loaded: {told['problem']}")
        self.kinds: dict[str, str] = told["kinds"]
        self.problems: dict[str, str] = told["problems"]

    def sample(self, cell: Cell) -> dict[str, Any]:
        """What a fresh process measured."""
        return self._ask(asdict(cell))

    def _ask(self, order: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # it has ended, and says why
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise InputError(f"{self._commit[:12]} cannot be imported by this harness: {self._last_words()}")
        return json.loads(answer)

    def _last_words(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = [line for line in self._errors if line.strip()]
        return lines[-1].strip() if lines else f"its process ended with code {code}"


@contextmanager
def _side(repository: Path, tree: Path, commit: str, choice: Choice) -> Iterator[Side]:
    _check_out(repository, commit, tree)
    path = os.pathsep.join([str(tree), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryFile("w+") as errors, subprocess.Popen(
            [sys.executable, "-c", _SERVE], cwd=tree, env={**os.environ, "PYTHONPATH": path}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors) as process:
        try:
            yield Side(process, errors, commit, choice, tree)
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """At the end of its orders it leaves nothing behind, and where this process is killed, it ends so by itself."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(LONGEST_END_S)
    process.kill()


@contextmanager
def _folder() -> Iterator[Path]:
    """Removed at the end, or by the next run of the harness where this process is killed."""
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
        lock = Lock(Path(folder, "lock"))
        yield Path(folder)
        lock.release()


def _check_out(repository: Path, commit: str, tree: Path) -> None:
    archive = _git(repository, "archive", "--format=tar", commit, *PARTS)
    if archive.returncode:
        raise InputError(f"{commit[:12]} has no {' and '.join(PARTS)}: {archive.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(tree, filter="data")


def _git(repository: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, check=False)
    except FileNotFoundError as error:
        raise InputError("commits are compared with git, which is not installed") from error


def _methods(choice: Choice, sides: dict[str, Side]) -> list[str]:
    """The exact ones that either side knows."""
    known = {name: kind for side in sides.values() for name, kind in side.kinds.items()}
    found = [name for name in choice.methods if known.get(name, "exact") == "exact"
             and any(name in side.kinds or name in side.problems for side in sides.values())]
    if not found:
        raise InputError(f"none of these is an exact method on either side: {', '.join(choice.methods)}")
    return found


def _take_turns(seen: Sequence[Seen], sides: dict[str, Side], n: int, progress: Callable[[str], None]) -> None:
    begin = time.monotonic()
    for block in range(n // 2):
        for each in seen:
            for name in random.choice(("ABBA", "BAAB")):
                if not each.problems or not each.told(name):  # where one side fails, the other is asked once
                    _add(each, name, sides[name])
        progress(f"{2 * block + 2} of {n}{_left(time.monotonic() - begin, block + 1, n // 2)}")


def _left(passed_s: float, done: int, blocks: int) -> str:
    left_s = passed_s / done * (blocks - done)
    return f", about {left_s / 60:.0f} min left" if left_s >= 60 else ""


def _add(seen: Seen, name: str, side: Side) -> None:
    answer = side.sample(seen.cell)
    if problem := answer.get("problem") or answer.get("unsupported"):
        seen.problems[name] = problem
    else:
        seen.answers[name].append(answer)


def _contest(seen: Seen, by: str) -> Contest:
    a, b = ([Process({clock: of_calls(answer[clock], by) for clock in CLOCKS},
                     disturbed=(answer["disturbance"] or 0.0) > DISTURBED) for answer in side]
            for side in seen.answers.values())
    return Contest(label(seen.cell), a, b, paired=True, problem=_problem(seen))


def _problem(seen: Seen) -> tuple[Status, str] | None:
    if len(seen.problems) == 1:
        (side, problem), = seen.problems.items()
        return ("mended" if side == "A" else "broken"), f"{side}: {problem}"
    if seen.problems:
        return "missing", f"on both sides: {seen.problems['A']}"
    return _other_kernel(seen.cell, *(side[0] for side in seen.answers.values()))


def _other_kernel(cell: Cell, a: dict[str, Any], b: dict[str, Any]) -> tuple[Status, str] | None:
    """Times of different kernels are not compared. Both sides may be off by the tolerance."""
    x, y = (np.array(side["entries"]) for side in (a, b))
    if x.shape != y.shape:
        return "broken", "the kernels of the two sides have different sizes"
    off = np.abs(x - y).max() / (np.abs(x).max() or 1.0)
    if not off <= 2 * tolerance(cell.dtype):  # pyright: ignore[reportArgumentType]
        return "broken", f"the kernels of the two sides differ by {off:.1e} of their largest entry"
    return None
