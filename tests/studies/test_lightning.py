"""The tracker in Lightning's own loop, where that is installed."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the PyTorch half is not installed")

import torch

from reference import InputError
from studies.tracking import Tracker, lightning, lightning_callback
from studies.tracking.lightning import PACKAGES

X, Y = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32), np.arange(8) % 2


def test_lightning_is_told_of_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lightning, "PACKAGES", ("no_such_package",))
    with pytest.raises(InputError, match="needs Lightning: pip install lightning"):
        lightning_callback(Tracker(tmp_path, X, Y))


def test_a_fit_is_tracked_and_ends_at_the_same_weights(tmp_path: Path) -> None:
    lightning: Any = pytest.importorskip(PACKAGES[0], reason="Lightning is not installed")

    class Network(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.parts = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.BatchNorm1d(6), torch.nn.ReLU(),
                                             torch.nn.Dropout(0.2), torch.nn.Linear(6, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.parts(x)

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), 0.01)

    def fit(*callbacks: Any) -> dict[str, torch.Tensor]:
        network = Network()
        data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y)), 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lightning's advice about workers and logging
            lightning.Trainer(max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
                              enable_progress_bar=False, enable_model_summary=False, callbacks=list(callbacks),
                              accumulate_grad_batches=2).fit(network, data)
        return network.state_dict()

    tracker = Tracker(tmp_path, X, Y, layers=("parts.2",))
    tracked, plain = fit(lightning_callback(tracker)), fit()
    assert tracker.store.steps() == [0, 1, 2, 3, 4]
    for name, value in plain.items():
        assert torch.equal(tracked[name], value)
