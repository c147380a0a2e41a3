"""What is recorded at one step, and what takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np


@dataclass(frozen=True, eq=False)
class Record:
    """Of step `step`, by names such as "kernel/effective_rank".

    `scalars` are numbers; `spectra` arrays of one axis, shown as histograms where there are such; `arrays` of any
    shape, for the local store alone; `notes` says why something is not there.
    """

    step: int
    scalars: Mapping[str, float] = field(default_factory=dict)
    spectra: Mapping[str, np.ndarray] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


class Sink(Protocol):
    """Takes records in the order of their steps."""

    def write(self, record: Record) -> None: ...

    def close(self) -> None: ...
