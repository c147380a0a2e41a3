"""Two stores and two methods: which rows meet, in pairs or not, what is refused, what is a history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from bench.commands.compare import Compare, compare
from bench.compare import stores
from bench.records.export import export
from bench.records.record import CaseInfo, Cell, Environment, Record
from bench.records.store import Store, StoreError
from reference import InputError

HERE = Environment("here", "EPYC, 2 cores, 8 GiB", "", "Linux 6", {"python": "3.11"})
CASE = CaseInfo("mlp", "MLP", 64, 8, None, 10, 100, "digits", digest="d")
METHODS = ("explicit_mlp", "equinox.exact")


def rows(slower: float = 1.0, n: int = 12, seed: int = 0, environment: str = "here", **fields: object) -> list[Record]:
    """Of each method; those of the first one `slower` times slower."""
    rng, found = np.random.default_rng(seed), []
    for replicate in range(n):
        for place, method in enumerate(METHODS):
            seconds = (slower if place == 0 else 1.0) * np.exp(0.01 * rng.normal(size=5))
            found.append(Record(Cell(method, "mlp", seed=replicate), CASE, replicate, "ok", environment=environment,
                                samples_s=tuple(map(float, seconds)), position=2 * replicate + place))
    return [replace(record, **fields) for record in found]


def write(folder: Path, records: list[Record], *environments: Environment) -> str:
    store = Store.create(folder)
    for environment in environments or (HERE,):
        store.add_run(environment, {}, "2026-01-01")
    for record in records:
        store.add(record)
    return str(folder)


def run(*arguments: str, **options: object) -> int:
    return compare(Compare(*arguments, **options), Console(quiet=True))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("slower", "code"), [(1.2, 1), (1.0, 0), (0.8, 0)])
def test_two_stores(slower: float, code: int, tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", rows()), write(tmp_path / "b", rows(slower, seed=1))
    assert run(a, b) == code
    assert run(a, f"{b}/results.sqlite", by="median") == code


def test_exported_rows_are_a_store(tmp_path: Path) -> None:
    a = write(tmp_path / "a", rows())
    export(rows(1.2, seed=1), {"here": HERE}, "json", tmp_path / "b.json")
    assert run(a, str(tmp_path / "b.json"), json=tmp_path / "o.json", markdown=tmp_path / "o.md") == 1
    assert '"slower"' in (tmp_path / "o.json").read_text()
    assert "| explicit\\_mlp |" in (tmp_path / "o.md").read_text().replace("explicit_mlp", "explicit\\_mlp")


def test_two_methods_of_one_run_are_pairs(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", rows(1.3))
    found = stores.of_two_methods(stores.read(tmp_path / "a"), *METHODS, "minimum")
    assert [(contest.paired, len(contest.a)) for contest in found] == [(True, 12)]
    assert run("equinox.exact", "explicit_mlp", out=Path(folder)) == 1
    assert run("explicit_mlp", "equinox.exact", out=Path(folder)) == 0


@pytest.mark.parametrize("position", [lambda record: None,  # or one method after the other
                                      lambda record: record.replicate + 100 * len(record.cell.method)])
def test_methods_that_took_no_turns_are_no_pairs(position: Callable[[Record], int | None], tmp_path: Path) -> None:
    write(tmp_path / "a", [replace(record, position=position(record)) for record in rows()])
    assert not stores.of_two_methods(stores.read(tmp_path / "a"), *METHODS, "minimum")[0].paired


def test_two_machines_are_refused_unless_asked_for(tmp_path: Path) -> None:
    other = replace(HERE, key="there", machine="Xeon, 4 cores, 8 GiB")
    a, b = write(tmp_path / "a", rows()), write(tmp_path / "b", rows(environment="there"), other)
    with pytest.raises(InputError, match=r"two machines, EPYC.* and Xeon.*--across-machines"):
        run(a, b)
    assert run(a, b, across_machines=True) == 0


def test_another_commit_on_this_machine_is_compared(tmp_path: Path) -> None:
    newer = replace(HERE, key="newer", versions={"python": "3.11", "commit": "abc"})
    a, b = write(tmp_path / "a", rows()), write(tmp_path / "b", rows(1.2, environment="newer"), newer)
    assert run(a, b) == 1


@pytest.mark.parametrize(("status", "of_b", "expected", "code"), [
    ("timeout", True, "broken", 1), ("wrong", True, "broken", 1), ("timeout", False, "mended", 0),
    ("not_installed", True, "missing", 0)])
def test_what_fails_on_one_side(status: str, of_b: bool, expected: str, code: int, tmp_path: Path) -> None:
    bad = rows(status=status, samples_s=(), reason="why not")
    a, b = write(tmp_path / "a", rows() if of_b else bad), write(tmp_path / "b", bad if of_b else rows())
    contests = stores.of_two_stores(stores.read(Path(a)), stores.read(Path(b)), "minimum", False)
    assert {contest.problem and contest.problem[0] for contest in contests} == {expected}
    if expected != "missing":  # else there is nothing to compare
        assert run(a, b) == code


def test_what_one_store_has_alone_or_neither_measured_is_missing(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [record for record in rows() if record.cell.method == METHODS[0]])
    b = write(tmp_path / "b", [record for record in rows() if record.cell.method == METHODS[1]])
    contests = stores.of_two_stores(stores.read(Path(a)), stores.read(Path(b)), "minimum", False)
    assert [contest.problem for contest in contests] == [("missing", "only in A"), ("missing", "only in B")]
    with pytest.raises(InputError, match="no cell in common"):
        run(a, b)


def test_another_case_under_the_same_name_is_another_cell(tmp_path: Path) -> None:
    a = write(tmp_path / "a", rows())
    b = write(tmp_path / "b", rows(2.0, info=replace(CASE, digest="other")))
    with pytest.raises(InputError, match="no cell in common"):
        run(a, b)


def test_earlier_environments_are_the_history(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    eras = [replace(HERE, key=f"era {k}") for k in range(10)]
    earlier = [replace(record, samples_s=tuple(each * speed for each in record.samples_s))
               for era, speed in zip(eras, np.exp(0.2 * rng.normal(size=10)), strict=True)
               for record in rows(n=3, environment=era.key)]
    a = write(tmp_path / "a", [*earlier, *rows()], *eras, HERE)
    b = write(tmp_path / "b", rows(1.2, seed=1))
    contests = stores.of_two_stores(stores.read(Path(a)), stores.read(Path(b)), "minimum", False)
    assert [len(contest.history["wall"]) for contest in contests] == [9, 9]
    assert run(a, b) == 0, "it moved by as much before"


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
def test_times_that_are_none_are_refused_with_their_cell(seconds: float, tmp_path: Path) -> None:
    good, bad = rows(), rows()
    bad[3] = replace(bad[3], samples_s=(1e-3, seconds))
    a, b = write(tmp_path / "a", good, HERE), write(tmp_path / "b", bad, HERE)
    with pytest.raises(InputError, match=rf"b: .* has a call of {seconds:g} s in replicate 1.*--rerun"):
        run(a, b)


def test_what_is_nothing_to_compare_is_said(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", rows())
    with pytest.raises(InputError, match="no rows in"):
        run(folder, write(tmp_path / "empty", []))
    with pytest.raises(InputError, match=r"no results at .*nowhere"):
        run(folder, str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"'nope' is no store, no commit .* no method"):
        run("nope", "nope", out=Path(folder))
    with pytest.raises(InputError, match=r"'explicit_mlpp' is no .*; did you mean explicit_mlp"):
        run("equinox.exact", "explicit_mlpp", out=Path(folder))
    (tmp_path / "text.sqlite").write_text("no database")
    with pytest.raises(StoreError, match="cannot be read"):
        run(folder, str(tmp_path / "text.sqlite"))


@pytest.mark.parametrize(("options", "said"), [({"size": 0.0}, "--size"), ({"processes": 1}, "--processes"),
                                               ({"widths": (0,)}, "positive")])
def test_options_that_make_no_sense(options: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        run("a", "b", **options)
