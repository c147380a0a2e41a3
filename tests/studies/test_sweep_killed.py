"""A sweep that is killed: nothing half-done is left, none of its processes goes on, and the same command finishes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("jax", reason="the JAX half is not installed")
pytest.importorskip("equinox", reason="the JAX half is not installed")
pytest.importorskip("scipy", reason="the extra studies is not installed")
pytest.importorskip("matplotlib", reason="the extra studies is not installed")
pytest.importorskip("tyro", reason="the extra studies is not installed")
pytest.importorskip("rich", reason="the extra studies is not installed")
pytest.importorskip("psutil", reason="the extra bench is not installed")

import psutil

from studies.sweep.command import Options, compute_all, made_with
from studies.sweep.points import points_of
from studies.sweep.store import Store

CONFIG = """
layer = ["siren", "gaussian"]
w0 = {values}
inverse_scale = {values}
width = [6]
points = [8]
figures = false
"""
VALUES = tuple(1 + i / 16 for i in range(300))
DEADLINE_S = 120


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_killed_sweep_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text(CONFIG.format(values=list(VALUES)))
    command = [sys.executable, "-m", "studies", "sweep", "sweep.toml", "--out", "out", "--processes", "2"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, filter(None, sys.path)))}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, start_new_session=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: len(list((tmp_path / "out" / "kernels").glob("*.npz"))) >= 6 or process.poll() is not None)
        children = psutil.Process(process.pid).children(recursive=True)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert len(children) >= 2
    wait_until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))

    options = Options(layer=("siren", "gaussian"), w0=VALUES, inverse_scale=VALUES, width=(6,), points=(8,),
                      figures=False, processes=1, out=tmp_path / "out")
    keys = [point.key(made_with()) for point in points_of(options)]
    store = Store(options.out)
    before = store.results(keys)
    assert 0 < len(before) < len(keys)
    for key in before:
        assert store.load_kernel(key)["kernel"].shape == (8, 8, 1, 1)
    times = {key: store.kernel_path(key).stat().st_mtime_ns for key in before}

    # Of each layer type some that are there and some that are not.
    there = {layer: sorted(r.row[name] for r in before.values() if r.row["layer"] == layer)
             for layer, name in (("siren", "w0"), ("gaussian", "inverse_scale"))}
    few = replace(options, **{name: (*there[layer][:2], VALUES[-1])  # pyright: ignore[reportArgumentType]
                              for layer, name in (("siren", "w0"), ("gaussian", "inverse_scale"))})
    resumed, anew = compute_all(few), compute_all(replace(few, out=tmp_path / "anew"))
    assert [result.status for result in resumed] == ["ok"] * len(resumed)
    assert len(resumed) > sum(result.key in before for result in resumed) > 0
    assert {key: store.kernel_path(key).stat().st_mtime_ns for key in before} == times
    for first, second in zip(resumed, anew, strict=True):
        one, other = (Store(folder).load_kernel(first.key) for folder in (options.out, tmp_path / "anew"))
        assert first.key == second.key
        assert all(np.array_equal(one[name], other[name]) for name in one)
    assert not list(options.out.rglob("*.part.*"))
