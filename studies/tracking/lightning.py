"""A tracker as a callback of Lightning: ``Trainer(callbacks=[lightning_callback(tracker)])``."""

from __future__ import annotations

import importlib
from typing import Any

from reference import InputError
from studies.tracking.tracker import Tracker

PACKAGES = ("lightning.pytorch", "pytorch_lightning")
"""Lightning under its two names; the one that is installed."""


def lightning_callback(tracker: Tracker) -> Any:
    """A `Callback` that hands the LightningModule to `tracker` before each optimiser step, as `trainer.global_step`.

    The tracker is closed as the fit ends. Raises `InputError` where Lightning is not installed.
    """
    class Tracks(_callback()):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            if trainer.global_step != tracker.last_step:  # as it is over batches whose gradients accumulate
                tracker(trainer.global_step, pl_module)

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            if trainer.global_step != tracker.last_step:
                tracker(trainer.global_step, pl_module)
            tracker.close()

    return Tracks()


def _callback() -> Any:
    for package in PACKAGES:
        try:
            return importlib.import_module(package).Callback
        except ModuleNotFoundError as error:
            if error.name not in (package, package.partition(".")[0]):
                raise
    raise InputError("the callback needs Lightning: pip install lightning")
