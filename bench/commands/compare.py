"""``python -m bench compare A B``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

import impls
from bench.cells.options import DEFAULT_FOLDER
from bench.cells.profiles import select
from bench.compare import commits, stores
from bench.compare.cells import Choice
from bench.compare.judge import SIZE, Contest, exit_code, judge
from bench.compare.table import markdown, print_comparison, to_json
from bench.records.store import FILE_NAME
from impls.registry import did_you_mean
from reference import InputError
from reference.case import DType, Outputs


@dataclass(frozen=True)
class Compare:
    """Say in which cells B is slower than A, and how sure that is. Exit codes: 0 fine, 1 a regression, 2 usage.

    A and B are two stores (folders, sqlite files, or rows that `export --format json` wrote), two methods that have
    rows in --out, or two commits of this repository. Commits are measured here, processes of the one between those of
    the other; minutes.
    """

    a: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="A")]
    """What was before."""
    b: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="B")]
    """What is now."""
    out: Path = DEFAULT_FOLDER
    """Folder of the results in which two methods are compared."""
    size: float = SIZE
    """The change that matters, as a share: a cell in which it can neither be seen nor ruled out is "underpowered"."""
    by: Literal["minimum", "median"] = "minimum"
    """What stands for a process: its quickest call, or the median of its calls (docs/calibration.md)."""
    across_machines: bool = False
    """Compare stores that were measured on different machines."""
    repository: Path | None = None
    """Of commits: the clone that has them; that of this harness, unless given."""
    processes: int | None = None
    """Of commits: processes a side for each cell; as many as the number of cells asks for, unless given, and four
    times as many in cells that are undecided by then."""
    methods: tuple[str, ...] = ()
    """Of commits: only these, patterns are allowed; all exact ones, unless given."""
    widths: tuple[int, ...] = Choice.widths
    """Of commits: hidden widths of the MLPs."""
    batch: tuple[int, ...] = Choice.batch
    """Of commits: numbers of examples."""
    outputs: tuple[Outputs, ...] = ("full",)
    """Of commits: kinds of kernel."""
    dtypes: tuple[DType, ...] = ("float32",)
    """Of commits."""
    json: Path | None = None
    """Write all figures to this file."""
    markdown: Path | None = None
    """Write the table to this file, as Markdown."""

    def checked(self) -> Compare:
        """Itself. Raises `InputError` for what makes no sense."""
        if not 0 < self.size < 10:
            raise InputError(f"--size is a share, such as 0.1 for 10 %; got {self.size:g}")
        if self.processes is not None and self.processes < 2:
            raise InputError(f"--processes must be 2 or more, got {self.processes}")
        if any(width < 1 for width in (*self.widths, *self.batch)):
            raise InputError("--widths and --batch must be positive")
        return self


def compare(options: Compare, console: Console) -> int:
    """Compare, print, write, and return the exit code."""
    contests, looks = _contests(options.checked(), console)
    if all(contest.problem and contest.problem[0] == "missing" for contest in contests):
        why = [f"; the first is {each.cell}: {each.problem[1]}" for each in contests if each.problem]
        raise InputError(f"{options.a} and {options.b} have no cell in common with times on both sides"
                         + "".join(why[:1]))
    verdicts, title = judge(contests, options.size, looks), f"{options.b} against {options.a}"
    if options.across_machines:
        title += " (across machines)"
    print_comparison(verdicts, title, options.size, console)
    for path, text in ((options.json, to_json(verdicts, title, options.size)),
                       (options.markdown, markdown(verdicts, title, options.size))):
        if path is not None:
            _write(path, text)
    return exit_code(verdicts)


def _contests(options: Compare, console: Console) -> tuple[list[Contest], int]:
    """And how often they were looked at while they were measured."""
    a, b = Path(options.a), Path(options.b)
    if a.exists() and b.exists():
        return stores.of_two_stores(stores.read(a), stores.read(b), options.by, options.across_machines), 1
    if any(path.exists() or path.suffix in (".json", ".sqlite") for path in (a, b)):
        missing = options.b if a.exists() else options.a
        raise InputError(f"there are no results at {missing}: two stores are compared, or two commits, or two methods")
    rows = stores.read(options.out) if options.out.is_file() or (options.out / FILE_NAME).is_file() else None
    known = stores.methods(rows) if rows else []
    if rows and options.a in known and options.b in known:
        return stores.of_two_methods(rows, options.a, options.b, options.by), 1
    return _of_commits(options, known, console)


def _of_commits(options: Compare, known: Sequence[str], console: Console) -> tuple[list[Contest], int]:
    repository = options.repository or commits.ROOT
    hashes = [commits.resolve(repository, name) for name in (options.a, options.b)]
    if None in hashes:
        raise InputError(_why_not(options, hashes, known))
    choice = Choice(tuple(select(options.methods, impls.names(), "method")), options.widths, options.batch,
                    outputs=options.outputs, dtypes=options.dtypes)
    return commits.measure(repository, (hashes[0] or "", hashes[1] or ""), choice, options.processes,
                           options.by, options.size, partial(console.print, highlight=False))


def _why_not(options: Compare, hashes: Sequence[str | None], known: Sequence[str]) -> str:
    strange = [name for name, commit in zip((options.a, options.b), hashes, strict=True)
               if commit is None and name not in known]
    if not strange:
        return f"{options.a} and {options.b} are a method and a commit: two of one kind are compared"
    return (f"{strange[0]!r} is no store, no commit of this repository and no method with rows in {options.out}"
            + (did_you_mean(strange[0], known) if known else ""))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
