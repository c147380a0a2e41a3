"""Runs of ``python -m studies track``: in three frameworks, interrupted, killed, of the user's own network."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the PyTorch half is not installed")
pytest.importorskip("tyro", reason="the command line comes with the extra 'studies'")
pytest.importorskip("sklearn", reason="the digits come with scikit-learn")

from reference import InputError
from studies import cli
from studies.config import read
from studies.sinks import Record
from studies.sinks.local import LocalStore
from studies.tracking.figure import figure
from studies.tracking.measure import Measure
from studies.tracking.options import Network, Optimiser, Options
from studies.tracking.run import CHECKPOINT, track
from studies.tracking.shifts import DriftingValues, InputDeformation, Shift
from tests import ROOT
from tests.gate.state import global_state

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")


def _options(out: Path, framework: str = "torch", **more: Any) -> Options:
    """Small, with what is hardest to go on with: running statistics, dropout, the optimiser's memory, a shift."""
    network = Network(width=8, batch_norm=True, dropout=0.2)
    given: dict[str, Any] = {
        "network": network, "optimiser": Optimiser("adam", 0.01, batch_size=32, steps=6), "examples": 100,
        "shift": Shift("permuted_input", 2), "every": 2, "probe": 12, "evaluate": 20,
        "measure": Measure(kernel=framework == "torch")}  # of the others it is compiled anew at each step
    return Options(framework, out=out, **given | more)  # pyright: ignore[reportArgumentType]


class Interrupts:
    """After the record was stored, and before the checkpoint was."""

    def write(self, record: Record) -> None:
        if record.step == 8:
            raise KeyboardInterrupt

    def close(self) -> None: ...


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    """A run with PyTorch that nothing interrupted."""
    return track(_options(tmp_path_factory.mktemp("whole")))


def _same(one: LocalStore, other: LocalStore) -> None:
    assert one.steps() == other.steps() == [0, 2, 4, 6, 8, 10, 12]
    for first, second in zip(one.records(), other.records(), strict=True):
        np.testing.assert_equal(dict(first.scalars), dict(second.scalars))
        np.testing.assert_equal(dict(first.spectra), dict(second.spectra))
        assert not first.notes


@pytest.mark.parametrize("framework", ["torch", "equinox", "flax"])
def test_an_interrupted_run_goes_on_to_the_same_numbers(framework: str, tmp_path: Path) -> None:
    if framework != "torch":
        pytest.importorskip("jax", reason="the JAX half is not installed")
        pytest.importorskip(framework, reason=f"{framework} is not installed")
    whole = track(_options(tmp_path / "whole", framework))
    before = global_state()
    with pytest.raises(KeyboardInterrupt):
        track(_options(tmp_path / "parts", framework), sinks=[Interrupts()])
    assert LocalStore(tmp_path / "parts").steps()[-1] == 8
    _same(track(_options(tmp_path / "parts", framework)), whole)
    assert global_state() == before
    _, accuracies = whole.scalars("probe/accuracy")
    assert len(set(accuracies)) > 2
    if framework == "torch":  # and once more: nothing is left to do
        _same(track(_options(tmp_path / "parts", framework), sinks=[Interrupts()]), whole)


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.studies.test_track import _options
from studies.tracking.run import track
class Kills:
    def write(self, record):
        if record.step == 8:
            os.kill(os.getpid(), signal.SIGKILL)
    def close(self): ...
track(_options(Path(sys.argv[1])), sinks=[Kills()])
"""


def test_a_killed_run_goes_on_to_the_same_numbers(whole: LocalStore, tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "killed")], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert LocalStore(tmp_path / "killed").steps()[-1] == 8
    _same(track(_options(tmp_path / "killed")), whole)


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_anew(whole: LocalStore, tmp_path: Path) -> None:
    options = _options(tmp_path / "run")
    store = track(options)
    (options.out / CHECKPOINT).unlink()
    _same(track(options), whole)
    assert len(store.steps()) == 7


def test_tracking_changes_nothing_of_the_weights(tmp_path: Path) -> None:
    weights = [np.load(tmp_path / name / CHECKPOINT) for name, every in (("often", 1), ("seldom", 100))
               if track(_options(tmp_path / name, every=every))]
    names = [name for name in weights[0] if name.startswith("array/trainer/")]
    assert len(names) > 20
    for name in names:
        np.testing.assert_array_equal(weights[0][name], weights[1][name])


@pytest.mark.parametrize(("shift", "kind"), [
    (Shift("permuted_output", 2), "accuracy"), (Shift("drifting_values", 2, DriftingValues(0.5)), "loss"),
    (Shift("continuous_input_deformation", 2, deformation=InputDeformation("sinusoidal")), "accuracy"),
    (Shift("none", 1), "accuracy"),
])
def test_every_mode_trains(shift: Shift, kind: str, tmp_path: Path) -> None:
    optimiser = Optimiser("sgd", 0.02, 0.9, 32, 20)
    network = Network(kind="convnet" if shift.mode == "permuted_output" else "mlp", width=16)
    store = track(_options(tmp_path, shift=shift, every=20, evaluate_seen=True, optimiser=optimiser, network=network))
    assert store.steps() == [20 * k for k in range(shift.tasks + 1)]
    _, losses = store.scalars("task/0/loss")
    assert losses[1] < losses[0]
    assert f"task/0/{kind}" in store.names()
    assert ("probe/accuracy" in store.names()) is (kind == "accuracy")
    if shift.tasks == 2:
        assert store.scalars("task/1/loss")[0].tolist() == [40]
        assert store.scalars("task/0/loss")[0].tolist() == [0, 20, 40]  # evaluate_seen
    drawn = figure(store, "a run", 20)
    assert [axes.get_title() for axes in drawn.axes if axes.get_title()] == [
        kind.capitalize(), "Eigenvalues of the kernel", "Change of the kernel", "Effective rank of features"]


MODEL = """
import random
import torch
def make():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4), torch.nn.Tanh(), torch.nn.Linear(4, 10))
def nothing():
    return 3
"""


def test_a_network_of_the_users_own_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mynet.py").write_text(MODEL)
    (tmp_path / "study.toml").write_text('every = 5\nexamples = 60\nprobe = 8\n[optimiser]\nsteps = 10\n'
                                         '[measure]\nlayers = ["2", "3:input"]\n')
    arguments = ["track", str(tmp_path / "study.toml"), "--network.model", f"{tmp_path / 'mynet.py'}:make", "--out",
                 str(tmp_path / "out"), "--sinks", "csv"]
    before = global_state()
    assert cli.main(arguments) == 0
    assert global_state() == before
    said = capsys.readouterr().out
    assert "[10/10] loss" in said
    assert "task 0: accuracy" in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"track.sqlite", "track.png", CHECKPOINT, "csv"}
    store = LocalStore(tmp_path / "out")
    assert "layer/2/inactive_units" in store.names()
    assert store.steps() == [0, 5, 10]
    for wrong, message in (("make2", "mynet.py has no function 'make2'; did you mean make?"),
                           ("nothing", "returns a int, which is no torch.nn.Module")):
        assert cli.main([*arguments[:3], f"{tmp_path / 'mynet.py'}:{wrong}"]) == 2
        assert message in capsys.readouterr().err


def test_steps_of_ones_own_choice_are_recorded(tmp_path: Path) -> None:
    assert track(_options(tmp_path, at=(1, 7), every=6, measure=Measure(kernel=False))).steps() == [0, 1, 6, 7, 12]


def test_another_run_in_the_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = _options(tmp_path, every=12, measure=Measure(kernel=False))
    track(options)
    with pytest.raises(InputError, match=r"another one: network\.width was 8, and is 9; give its options"):
        track(dataclasses.replace(options, network=dataclasses.replace(options.network, width=9)))
    (tmp_path / CHECKPOINT).write_bytes(b"PK\3\4 not one")
    with pytest.raises(InputError, match="is no checkpoint of a tracked run"):
        track(options)


def test_the_configuration_among_the_examples_runs(tmp_path: Path) -> None:
    options = read(ROOT / "examples" / "track.toml", Options)
    assert options.shift.deformation.drift_std_dev == 0.25
    short = dataclasses.replace(options, out=tmp_path, optimiser=Optimiser(steps=2), every=2, examples=50, probe=10)
    store = track(short)
    assert store.steps() == [0, 2, 4, 6, 8]
    assert {"layer/output:input/inactive_units", "task/0/accuracy", "rank_drop/effective/clipped_centroid",
            "rank_drop/effective/signed_centroid"} <= set(store.names())


@pytest.mark.parametrize(("changes", "message"), [
    ({"every": 0}, "every must be positive, got 0"), ({"examples": -1}, "examples must be positive, got -1"),
    ({"network": Network(dropout=1.0)}, "network.dropout must be in"),
    ({"data": "mnist"}, "got 'mnist', which is none"),
    ({"optimiser": Optimiser(learning_rate=float("nan"))}, "learning_rate must be positive, got nan"),
    ({"optimiser": Optimiser(learning_rate=float("inf"))}, "learning_rate must be positive, got inf"),
    ({"optimiser": Optimiser(momentum=1.0)}, "optimiser.momentum must be in"),
    ({"at": (-1,)}, "at must hold steps from 0 on"),
    ({"optimiser": Optimiser(batch_size=1)}, "batch_norm takes mean and variance of a batch"),
    ({"seed": -1}, "seed must be from 0 to"), ({"seed": 2**40}, "seed must be from 0 to"),
])
def test_what_makes_no_sense(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        track(_options(tmp_path, **changes))
