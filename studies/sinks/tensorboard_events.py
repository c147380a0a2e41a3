"""TensorBoard: scalars and histograms in an event file, as PyTorch's SummaryWriter writes them, without PyTorch."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from studies.sinks.histogram import histogram
from studies.sinks.record import Record

# Their classes are made when they are imported, from descriptions in bytes.
messages: Any = summary_pb2
events: Any = event_pb2


class TensorBoardEvents:
    """TensorBoard holds numbers as float32, and the counts of a spectrum in 64 bins."""

    def __init__(self, folder: Path, past: Iterable[Record]) -> None:
        shutil.rmtree(folder, ignore_errors=True)  # the events of a run that goes on, which are written anew
        self._writer = EventFileWriter(str(folder))
        for record in past:
            self.write(record)

    def write(self, record: Record) -> None:
        values = [messages.Summary.Value(tag=name, simple_value=value) for name, value in record.scalars.items()]
        values += [messages.Summary.Value(tag=name, histo=_proto(each)) for name, each in record.spectra.items()]
        self._writer.add_event(events.Event(step=record.step, wall_time=time.time(),
                                            summary=messages.Summary(value=values)))
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def open_sink(folder: Path, run: str, past: Iterable[Record]) -> TensorBoardEvents:
    """TensorBoard calls a run by its folder, within the one that it is pointed at."""
    return TensorBoardEvents(folder / run, past)


def _proto(values: np.ndarray) -> Any:
    counts, edges = histogram(values)
    finite = np.asarray(values, np.float64)[np.isfinite(values)]
    if not finite.size:
        return messages.HistogramProto()
    return messages.HistogramProto(min=finite.min(), max=finite.max(), num=finite.size, sum=finite.sum(),
                                   sum_squares=np.square(finite).sum(), bucket=counts, bucket_limit=edges[1:])
