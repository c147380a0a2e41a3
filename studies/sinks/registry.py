"""The sinks by name; a module, and the package that it needs, is imported when its sink is opened."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from reference import InputError
from studies.config import nearest
from studies.sinks.record import Record, Sink

SinkName = Literal["csv", "tensorboard", "wandb"]

SINKS: dict[SinkName, str] = {"csv": "studies.sinks.csv_files", "tensorboard": "studies.sinks.tensorboard_events",
                              "wandb": "studies.sinks.wandb_offline"}
"""Name to module. The module has ``open_sink(folder, name, past) -> Sink``."""


def open_sink(name: str, folder: Path, run: str, past: Iterable[Record] = ()) -> Sink:
    """The sink `name`, in a folder of its own within `folder`, holding `past` and nothing else; `run` is its title.

    Raises `InputError` for an unknown name, and where its package is missing.
    """
    if name not in SINKS:
        raise InputError(f"there is no sink {name!r}{nearest(name, SINKS)}")
    try:
        module = importlib.import_module(SINKS[name])
    except ModuleNotFoundError as error:
        raise InputError(f"the sink {name!r} needs the package {error.name}: "
                         'pip install -c constraints.txt ".[sinks]"') from error
    return module.open_sink(folder / name, run, past)
