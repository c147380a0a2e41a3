"""CSV: scalars.csv with a row ``step,name,value`` for each number, spectra.csv with ``step,name,index,value``."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from studies.sinks.record import Record

SCALARS, SPECTRA = "scalars.csv", "spectra.csv"


class CsvFiles:
    """Numbers are written with all their digits, so that reading them gives the same to the bit."""

    def __init__(self, folder: Path, past: Iterable[Record]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._add(SCALARS, [("step", "name", "value")], "w")
        self._add(SPECTRA, [("step", "name", "index", "value")], "w")
        for record in past:
            self.write(record)

    def write(self, record: Record) -> None:
        self._add(SCALARS, ((record.step, name, repr(float(value))) for name, value in record.scalars.items()))
        self._add(SPECTRA, ((record.step, name, index, repr(float(value)))
                            for name, values in record.spectra.items() for index, value in enumerate(values)))

    def close(self) -> None:
        """Nothing is kept open."""

    def _add(self, name: str, rows: Iterable[tuple[object, ...]], mode: Literal["a", "w"] = "a") -> None:
        with (self._folder / name).open(mode, newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)


def open_sink(folder: Path, run: str, past: Iterable[Record]) -> CsvFiles:
    """`run` is in none of the columns: the folder tells."""
    return CsvFiles(folder, past)
