"""The command line ``python -m bench``.

Exit codes: 0 fine, 1 a regression (compare), 2 usage, 3 some method is wrong, undecided,
non-finite or crashed, 4 nothing was measured, 130 stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from bench.cells.kernels import KernelOptions
from bench.cells.options import DEFAULT_FOLDER, Options
from bench.commands.compare import Compare, compare
from bench.commands.explain import Explain, explain
from bench.commands.kernel import kernel
from bench.records.machines import across, different_machines, left_out, marked
from bench.records.record import Record
from bench.records.store import Store, StoreError, latest
from impls import RegistryError
from reference import InputError

USAGE, STOPPED = 2, 130
REPORT = "report.html"


@dataclass(frozen=True)
class Report:
    """Write DIR/report.html anew from DIR/results.sqlite and print the table: of the newest environment (machine,
    versions and source), unless told otherwise."""

    out: Path = DEFAULT_FOLDER
    """Folder of the results."""
    across: bool = False
    """Rank the rows of all environments together, each marked with its own. Their machines may differ."""


@dataclass(frozen=True)
class List:
    """Show the methods, the profiles and the cases of each profile."""


@dataclass(frozen=True)
class Export:
    """Write all rows of DIR/results.sqlite in another format."""

    format: Literal["csv", "json", "parquet"] = "csv"
    out: Path = DEFAULT_FOLDER
    """Folder of the results, which are read."""
    file: Path | None = None
    """Where to write; standard output, unless given (Parquet needs a file)."""


Command = (
    Annotated[Options, tyro.conf.subcommand("run")]
    | Annotated[Report, tyro.conf.subcommand("report")]
    | Annotated[List, tyro.conf.subcommand("list")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Explain, tyro.conf.subcommand("explain")]
    | Annotated[Compare, tyro.conf.subcommand("compare")]
    | Annotated[KernelOptions, tyro.conf.subcommand("kernel")]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says and return the exit code; what is wrong with the input is one line on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if repeated := [flag for flag in dict.fromkeys(given) if flag.startswith("--") and given.count(flag) > 1]:
        print(f"error: {repeated[0]} is given more than once, and only the last would count; give all of its values "
              f"after one {repeated[0]}", file=sys.stderr)
        return USAGE
    command = tyro.cli(Command, args=given, prog="python -m bench", config=(tyro.conf.OmitSubcommandPrefixes,))
    try:
        return _do(command)
    except (InputError, RegistryError, StoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return STOPPED


def _do(command: Options | Report | List | Export | Explain | Compare | KernelOptions) -> int:
    console = Console()
    if isinstance(command, Options):
        return _run(command, console)
    if isinstance(command, Report):
        return _report(command, console)
    if isinstance(command, Export):
        return _export(command)
    if isinstance(command, Explain):
        explain(command)
        return 0
    if isinstance(command, Compare):
        return compare(command, console)
    if isinstance(command, KernelOptions):
        return kernel(command, console)
    from bench.commands.listing import show

    show(console)
    return 0


def _run(options: Options, console: Console) -> int:
    from bench.report.table import print_table
    from bench.running.runner import Run, exit_code

    if options.duet and options.cluster is not None:
        raise InputError("--duet measures two methods at one moment of one machine: no --cluster")
    if options.duet:
        from bench.running.duet import Duets

        run = Duets(options, console)
    elif options.cluster is None:
        run = Run(options, console)
    else:
        from bench.cluster.run import ClusterRun

        run = ClusterRun(options, console)
    try:
        run.measure()
    except KeyboardInterrupt:
        print(f"stopped: {len(run.records())} of {len(run.places)} rows are in {run.store.path}; the same command goes "
              f"on from there, and `python -m bench report --out {options.out}` shows what there is", file=sys.stderr)
        return STOPPED
    records = run.records()
    print_table(records, console)
    _write_report(run.store, latest(run.store.records(), None if options.cluster else run.environment.key), console)
    return exit_code(records)


def _report(command: Report, console: Console) -> int:
    from bench.report.table import print_table

    store = Store(command.out)
    every, environments = store.records(), store.environments()
    records = across(every) if command.across else latest(every)
    note = marked(every, environments) if command.across else left_out(every, environments)
    if note:
        console.print(note, highlight=False, markup=False)
    print_table(records, console)
    _write_report(store, records, console, note)
    return 0


def _write_report(store: Store, records: Sequence[Record], console: Console, note: str = "") -> None:
    from bench.report.report import render

    path = store.path.with_name(REPORT)
    page = render(records, store.environments(), note)
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot write {path} ({error.strerror or error}); the rows are in {store.path}: once there "
                         f"is room and permission, `python -m bench report --out {path.parent}` writes it") from error
    console.print(f"report: {path}", highlight=False, soft_wrap=True)


def _export(command: Export) -> int:
    from bench.records.export import export

    store = Store(command.out)
    environments = store.environments()
    export(store.records(), environments, command.format, command.file)
    if any(different_machines(one, other) for one, other in pairwise(environments.values())):
        print("These are rows of different machines: the column environment tells which, and times are comparable "
              "within one alone.", file=sys.stderr)
    if command.file is None and sys.stdout.isatty():
        print(f"These are the rows of {store.path}; --file FILE writes them to a file.", file=sys.stderr)
    return 0
