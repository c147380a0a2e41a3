"""Training step by step in each framework, such that it can be stopped and gone on with to the same numbers."""

from studies.tracking.trainers.trainer import Trainer, make

__all__ = ["Trainer", "make"]
