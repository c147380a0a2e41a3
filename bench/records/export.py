"""The records as one flat table for other programs: CSV, JSON or parquet; JSON is read back, too."""

from __future__ import annotations

import csv
import json
import math
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal, TextIO, TypeVar, get_args

from bench.records.record import CaseInfo, Cell, Environment, Record
from bench.records.types import fits, hints_of
from reference import InputError

Kind = TypeVar("Kind", Record, Cell, CaseInfo, Environment)
Format = Literal["csv", "json", "parquet"]
Row = dict[str, str | int | float | None]

COLUMNS: dict[str, type] = {
    "method": str, "kind": str, "case": str, "outputs": str, "dtype": str, "device": str, "threads": int,
    "batch_size": int, "seed": int, "options": str, "replicate": int,
    "network": str, "width": int, "n1": int, "n2": int, "n_outputs": int, "n_params": int, "data": str,
    "status": str, "reason": str, "error": float, "tolerance": float, "amplification": float,
    "remark": str, "checked_against": str,
    "setup_s": float, "first_call_s": float, "median_s": float, "min_s": float, "max_s": float, "n_samples": int,
    "samples_s": str, "peak_bytes": int, "kernel_bytes": int,
    "started_at": str, "case_digest": str, "method_digest": str, "stderr": str,
    "position": int, "attempts": int, "disturbance": float, "switches": int, "machine_slower": float,
    "instructions": int, "noticed": str, "node": str,
    "environment": str, "machine": str, "accelerator": str, "system": str, "versions": str, "facts": str,
}
"""Times end in _s (seconds), memory in _bytes; `options`, `samples_s`, `versions` and `facts` are JSON texts.
`machine_slower` is a record's `machine`: of the two that are called so, the environment's has the name."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula (OWASP, "CSV Injection")."""

_EARLIER = {"amplification": None, "remark": "", "position": None, "attempts": 1, "disturbance": None, "switches": None,
            "machine_slower": None, "instructions": None, "noticed": "", "node": "", "facts": "{}"}
"""What stands for the columns that a file of an earlier version lacks."""


def export(records: Iterable[Record], environments: Mapping[str, Environment], format: Format,
           path: Path | None = None) -> None:
    """Write one row a record to `path`, or to the standard output where it is None.

    Raises `InputError` for an unknown format, a path that cannot be written, and for parquet without a path.
    """
    if format not in get_args(Format):
        raise InputError(f"unknown format {format!r}; choose one of {', '.join(get_args(Format))}")
    if format == "parquet" and path is None:
        raise InputError("parquet is binary: name a file to write it to")
    rows = [row(record, environments.get(record.environment)) for record in records]
    try:
        _write(rows, format, path)
    except OSError as error:
        raise InputError(f"cannot write {path or 'to the standard output'}: {error.strerror or error}") from error


def row(record: Record, environment: Environment | None) -> Row:
    """A record as a flat row with the keys of `COLUMNS`.

    Numbers that are not finite become None: the formats do not agree on them, and the status says what happened.
    """
    samples = record.samples_s
    values = asdict(record.cell) | asdict(record.info) | asdict(record) | {
        "options": _text(record.cell.options), "case_digest": record.info.digest, "samples_s": _text(samples),
        "n_samples": len(samples), "median_s": statistics.median(samples) if samples else None,
        "min_s": min(samples, default=None), "max_s": max(samples, default=None),
        "machine": environment and environment.machine, "accelerator": environment and environment.accelerator,
        "system": environment and environment.system, "versions": _text(environment.versions if environment else {}),
        "facts": _text(environment.facts if environment else {}), "machine_slower": record.machine,
    }
    return {name: _finite(values[name]) for name in COLUMNS}


def load_json(path: Path) -> tuple[list[Record], dict[str, Environment]]:
    """The records and environments of a file that `export` wrote as JSON. Raises `InputError` for any other file."""
    try:
        found = json.loads(path.read_text("utf-8"))
        if not isinstance(found, list):
            raise TypeError("it holds no list of rows")
        rows = [_from_json(values) for values in found]
        return [_record(values) for values in rows], {
            values["environment"]: _checked(Environment(values["environment"], **_of(values, Environment)))
            for values in rows if values["machine"] is not None}  # else it was not known
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"{path} is no file of `bench export --format json`: {type(error).__name__}: "
                         f"{error}") from error


def _from_json(values: dict[str, Any]) -> dict[str, Any]:
    values = _EARLIER | values
    return values | {name: json.loads(values[name]) for name in ("options", "samples_s", "versions", "facts")}


def _record(values: Mapping[str, Any]) -> Record:
    info = _checked(CaseInfo(**_of(values, CaseInfo), digest=values["case_digest"]))
    given: dict[str, Any] = _of(values, Record) | {"samples_s": tuple(values["samples_s"]),
                                                   "machine": values["machine_slower"]}
    return _checked(Record(_checked(Cell(**_of(values, Cell))), info, **given))


def _checked(record: Kind) -> Kind:
    """Itself. Raises `TypeError` for a field that is of another type than it says: a row that was edited by hand."""
    for name, hint in hints_of(type(record)).items():
        value = getattr(record, name)
        if not fits(value, hint):
            raise TypeError(f"{name} is {value!r:.80}")
    return record


def _of(values: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """Those of the columns that are fields of that class."""
    return {field.name: values[field.name] for field in fields(kind) if field.name in COLUMNS}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _write(rows: Sequence[Row], format: Format, path: Path | None) -> None:
    if format == "parquet":
        assert path is not None
        return _write_parquet(rows, path)
    write = _write_csv if format == "csv" else _write_json
    if path is None:
        return write(rows, sys.stdout)
    with path.open("w", encoding="utf-8", newline="") as stream:
        return write(rows, stream)


def _write_csv(rows: Sequence[Row], stream: TextIO) -> None:
    writer = csv.DictWriter(stream, list(COLUMNS), lineterminator="\r\n")  # or a lone \r goes unquoted
    writer.writeheader()
    writer.writerows({name: _no_formula(value) for name, value in row.items()} for row in rows)


def _no_formula(value: Any) -> Any:
    """A spreadsheet runs a text that begins like a formula, be it a method's name: an apostrophe makes it a text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _write_json(rows: Sequence[Row], stream: TextIO) -> None:
    json.dump(rows, stream, indent=1, allow_nan=False, ensure_ascii=False)
    stream.write("\n")


def _write_parquet(rows: Sequence[Row], path: Path) -> None:
    """With the types of `COLUMNS`: a column without any value has its type all the same."""
    import pyarrow
    import pyarrow.parquet

    types = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    schema = pyarrow.schema([(name, types[kind]) for name, kind in COLUMNS.items()])
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema=schema), path)
