"""Methods that misbehave, all in one run: each gets the row that it deserves, and those beside it are measured."""

from __future__ import annotations

import shutil
import statistics
import subprocess
from pathlib import Path

import pytest

from bench.machine.memory import reset_peak
from bench.records.record import Record
from bench.records.store import Store
from bench.records.text import MOST
from bench.units import memory
from tests import ROOT
from tests.bench.command import Done, command, environment
from tests.bench.running.bad_methods import EMPTY, HELD, HOLDING, LEAKED, METHODS, WORK_S

HONEST_TOO = ("explicit_mlp", "structured_jax")
HANGING = "holds_the_gil"
TIMEOUT_S = 1200
"""On a machine that others keep busy; half a minute on one that is quiet."""
KEPT = "does not follow its inputs"

EXPECTED = {
    **dict.fromkeys((*HOLDING, *EMPTY, *HONEST_TOO), ("ok", "")), HANGING: ("timeout", "killed after 2 s"),
    "exhausts": ("oom", "GiB"), "segfaults": ("crash", "SIGSEGV"), "by_a_thread": ("ok", ""), "lazy": ("ok", ""),
    "future": ("crash", "returns an array of NumPy, JAX or PyTorch, got Future"), "burning": ("ok", ""),
    "leaking": ("ok", ""), "prints_a_gigabyte": ("ok", ""), "changes_state": ("ok", ""),
    **{name: ("wrong", KEPT) for name in METHODS if name.startswith("cached")}, "cached_example": ("ok", ""),
    "in_set_up": ("wrong", KEPT),
    "in_set_up_and_packed": ("undecided", KEPT), "only_some": ("wrong", ""),
    "closes_all": ("crash", "exit code 1"), "writes_everywhere": ("crash", "no message"),
    **dict.fromkeys(("lazy_attribute", "slows_the_clock", "removes_temporary_files", "stops_the_server",
                     "takes_other_cores",
                     "replaces_the_check"), ("ok", "")),
    "sends_daemons": ("ok", ""), "works_in_a_child": ("ok", ""),
    "long_message": ("crash", "word word"), "no_text": ("crash", "lone \\udcff"),
}
NOTICED = {
    "leaking": f"its memory grew by {memory(LEAKED)} a call", "by_a_thread": "which is part of its time",
    "burning": "it used processors for as long as was looked", "works_in_a_child": "it used processors",
    "sends_daemons": "processes that it had started lived on", "changes_state": "it changed ",
    "slows_the_clock": "it changed the clock", "takes_other_cores": "its cores",
    "replaces_the_check": "the harness: bench.truth.check._verdict",
}
EMPTY_BYTES, OFF = 5 * 2**20, 0.05
CHANGED = ("the variable BAD_METHOD", "PyTorch's default dtype", "the state of PyTorch's random numbers",
           "the state of NumPy's random numbers", "what NumPy does about errors")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Done], dict[str, Record]]:
    """Two runs in one folder: the second measures what hangs alone, as the other rows are there."""
    folder = tmp_path_factory.mktemp("fire")
    shutil.copy(Path(__file__).parent / "bad_methods.py", folder)

    def measured(names: list[str], time_limit: str) -> Done:
        arguments = ("run", "--widths", "8", "--batch", "17", "--cases", "digits-mlp-w8-o1-n17", "--replicates", "1",
                     "--again", "0", "--memory-limit", "1.5", "--time-limit", time_limit,
                     "--methods", *names, *HONEST_TOO, "--out", folder / "out",
                     "--impl", *(f"{folder}/bad_methods.py:{name.upper()}" for name in names))
        return subprocess.run(command(arguments), cwd=ROOT, env=environment(), capture_output=True, text=True,
                              timeout=TIMEOUT_S, check=False)

    done = [measured([name for name in METHODS if name != HANGING], "60"), measured(["honest", HANGING], "2")]
    return done, {record.cell.method: record for record in Store(folder / "out").records()}


def test_all_cells_have_their_rows(run: tuple[list[Done], dict[str, Record]]) -> None:
    done, rows = run
    said = "".join(each.stdout + each.stderr for each in done)
    assert set(rows) == {*METHODS, *HONEST_TOO} == set(EXPECTED), said
    assert [each.returncode for each in done] == [3, 0]
    assert "3 of 4 rows are there already" in said
    assert "Traceback" not in said
    assert len(said) < 100 * MOST


@pytest.mark.parametrize("name", EXPECTED)
def test_each_gets_the_row_that_it_deserves(run: tuple[list[Done], dict[str, Record]], name: str) -> None:
    row = run[1][name]
    status, reason = EXPECTED[name]
    assert (row.status, reason in row.reason) == (status, True), row.reason
    assert len(row.reason) <= MOST
    assert NOTICED.get(name, "") in row.noticed
    if not name.startswith("cached"):  # which keep a kernel of each inputs: that memory grows may be noticed
        assert bool(row.noticed) == (name in NOTICED), row.noticed


@pytest.mark.parametrize("name", ["lazy", "lazy_attribute", "by_a_thread", "slows_the_clock", "cached_example"])
def test_what_hides_its_work_is_charged(run: tuple[list[Done], dict[str, Record]], name: str) -> None:
    """All of it, but for a call on the examples as they were given, after a first call that took long."""
    assert statistics.median(run[1][name].samples_s) > WORK_S


def test_what_is_changed_is_named(run: tuple[list[Done], dict[str, Record]]) -> None:
    assert all(changed in run[1]["changes_state"].noticed for changed in CHANGED)


@pytest.mark.skipif(not reset_peak(), reason="this system does not tell the peak memory of a process")
def test_memory_is_what_was_held(run: tuple[list[Done], dict[str, Record]]) -> None:
    peaks = {name: run[1][name].peak_bytes or 0 for name in (*EMPTY, *HOLDING)}
    assert {name: memory(peaks[name]) for name in EMPTY if not 0 <= peaks[name] <= EMPTY_BYTES} == {}
    assert {name: memory(peaks[name]) for name in HOLDING if abs(peaks[name] / HELD - 1) > OFF} == {}
