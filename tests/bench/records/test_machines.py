"""What is known of a machine, and that rows of different ones are compared only where that is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.commands.cli import main
from bench.machine.builds import builds
from bench.records import environment, facts
from bench.records.environment import describe_environment
from bench.records.machines import across, different_machines, left_out, marked
from bench.records.record import CaseInfo, Cell, Environment, Record
from bench.records.store import Store
from bench.report.summary import rankings

HERE = Environment("a" * 12, "EPYC, 2 cores, 8 GiB", "", "Linux 6.1", {"torch": "2.13"}, {"machine id": "1"})
THERE = replace(HERE, key="b" * 12, machine="Xeon, 8 cores, 32 GiB", facts={"machine id": "2"})
INFO = CaseInfo("a", "MLP", 8, 2, None, 3, 99, "random")


def _row(method: str, seconds: float, where: Environment) -> Record:
    return Record(Cell(method, "a"), INFO, 0, "ok", samples_s=(seconds,), environment=where.key)


@pytest.mark.parametrize(("change", "differs"), [
    ({}, False), ({"key": "c", "versions": {"torch": "2.14"}}, False), ({"facts": {}}, False),
    ({"facts": {"machine id": "2"}}, True), ({"machine": "Xeon"}, True), ({"accelerator": "H200"}, True),
    ({"system": "Linux 5"}, True)])
def test_machines_are_told_apart_but_versions_are_not(change: dict, differs: bool) -> None:
    assert bool(different_machines(HERE, replace(HERE, **change))) is differs


def test_what_differs_is_named() -> None:
    assert different_machines(HERE, replace(HERE, accelerator="H200")) == "accelerator: none and H200"


def test_rows_of_two_machines_are_ranked_together_only_where_asked() -> None:
    rows = [_row("quick", 1.0, HERE), _row("quick", 40.0, THERE)]
    assert len(rankings(rows)) == 2
    (ranking,) = rankings(across(rows))
    assert [(entry.line.label, entry.slower) for entry in ranking.ranked] == [
        ('quick [machine="aaaaaaaa"]', 1.0), ('quick [machine="bbbbbbbb"]', 40.0)]


def test_a_report_leaves_out_other_machines_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store.create(tmp_path)
    for where, seconds in ((HERE, 1.0), (THERE, 40.0)):
        store.add_run(where, {}, "now")
        store.add(_row("mine", seconds, where))
    assert main(["report", "--out", str(tmp_path)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "rows of 1 other environment (1 on another machine); they are not compared" in told
    assert "40.0 s" in told
    assert "1.00 s" not in told
    page = (tmp_path / "report.html").read_text()
    assert "not compared with these" in page
    assert main(["report", "--across", "--out", str(tmp_path)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "Compared across machines or versions, as was asked for: aaaaaaaa is EPYC" in told
    assert "1.00 s" in told
    page = (tmp_path / "report.html").read_text()
    assert page.count("Xeon, 8 cores") >= 2, "in the note and in the provenance"
    assert main(["export", "--out", str(tmp_path)]) == 0
    assert "rows of different machines" in capsys.readouterr().err


def test_nothing_is_said_of_one_environment() -> None:
    rows = [_row("a", 1.0, HERE), _row("b", 1.0, HERE)]
    assert left_out(rows, {HERE.key: HERE}) == ""
    assert "is not recorded" in marked(rows, {})


def test_what_a_sceptic_asks_of_a_machine_is_there() -> None:
    known = describe_environment().facts
    asked = {"frequency governor", "thread settings", "installed packages", "python build", "virtual machine"}
    assert asked <= set(known)
    assert all(known.values())
    assert str(Path.home()) not in repr(known)


def test_another_governor_is_another_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    known = facts.facts()
    keys = {_key(monkeypatch, known | {"frequency governor": governor}) for governor in ("performance", "powersave")}
    assert len(keys) == 2
    assert len({_key(monkeypatch, known | {"installed packages": text}) for text in "ab"}) == 1


def _key(monkeypatch: pytest.MonkeyPatch, known: dict[str, str]) -> str:
    monkeypatch.setattr(environment, "facts", lambda: known)
    return describe_environment().key


def test_governors_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(facts, "_CORES", tmp_path)
    assert facts.governor() == facts.UNKNOWN
    for core, governor in enumerate(("powersave", "performance", "powersave")):
        (tmp_path / f"cpu{core}/cpufreq").mkdir(parents=True)
        (tmp_path / f"cpu{core}/cpufreq/scaling_governor").write_text(f"{governor}\n")
    assert facts.governor() == "performance, powersave"


def test_the_build_of_a_framework_is_told_without_folders() -> None:
    torch = pytest.importorskip("torch")
    told = builds()
    assert torch.version.git_version == told["torch source"]
    assert "BLAS_INFO" in told["torch build"]
    assert told["blas and threads"]
    assert "/" not in told["blas and threads"]
