"""CSV: scalars.csv with a row ``step,name,value`` for each number, spectra.csv with ``step,name,index,value``."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from studies.sinks.record import Record

SCALARS, SPECTRA = "scalars.csv", "spectra.csv"


class CsvFiles:
    """Numbers are written with all their digits, so that reading them gives the same to the bit."""

    def __init__(self, folder: Path, past: Iterable[Record]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._files = [(folder / name).open("w", newline="", encoding="utf-8") for name in (SCALARS, SPECTRA)]
        self._scalars, self._spectra = (csv.writer(file) for file in self._files)
        self._scalars.writerow(("step", "name", "value"))
        self._spectra.writerow(("step", "name", "index", "value"))
        for record in past:
            self.write(record)

    def write(self, record: Record) -> None:
        self._scalars.writerows((record.step, name, repr(float(value))) for name, value in record.scalars.items())
        self._spectra.writerows((record.step, name, index, repr(float(value)))
                                for name, values in record.spectra.items() for index, value in enumerate(values))
        for file in self._files:
            file.flush()

    def close(self) -> None:
        for file in self._files:
            file.close()


def open_sink(folder: Path, run: str, past: Iterable[Record]) -> CsvFiles:
    """`run` is in none of the columns: the folder tells."""
    return CsvFiles(folder, past)
