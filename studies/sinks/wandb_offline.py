"""Weights & Biases, offline: nothing leaves the machine until its owner says ``wandb sync FOLDER``."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable
from pathlib import Path

import wandb

from studies.sinks.histogram import histogram
from studies.sinks.record import Record


class WandbOffline:
    """A run of its own, beside one that the user's program may have; it records neither code nor machine.

    Written by a process of the package's own, which may end a moment after `close`.
    """

    def __init__(self, folder: Path, run: str, past: Iterable[Record]) -> None:
        shutil.rmtree(folder, ignore_errors=True)  # the offline run of a run that goes on, which is written anew
        folder.mkdir(parents=True)
        settings = wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True, save_code=False,
                                  x_disable_stats=True, x_disable_meta=True, x_save_requirements=False)
        self._run = wandb.init(mode="offline", dir=str(folder), project="ntk-bench", name=run, reinit="create_new",
                               settings=settings)
        for record in past:
            self.write(record)

    def write(self, record: Record) -> None:
        spectra = {name: histogram(values) for name, values in record.spectra.items()}
        self._run.log({
            **{name: value for name, value in record.scalars.items() if not math.isnan(value)},
            **{name: wandb.Histogram(np_histogram=found) for name, found in spectra.items() if found[0].size},
        }, step=record.step)

    def close(self) -> None:
        self._run.finish()


def open_sink(folder: Path, run: str, past: Iterable[Record]) -> WandbOffline:
    return WandbOffline(folder, run, past)
