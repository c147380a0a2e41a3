"""Where results go: a local store always, and from there to CSV, TensorBoard and Weights & Biases.

A sink is anything with `write(record)` and `close()`. The local store (`studies.sinks.local`) is the one that is read
again; the others are opened with what it holds already, and written anew from it when a run goes on. So a run that was
killed leaves no point twice in any of them.
"""

from studies.sinks.record import Record, Sink
from studies.sinks.registry import SINKS, open_sink

__all__ = ["SINKS", "Record", "Sink", "open_sink"]
