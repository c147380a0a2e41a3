"""Sweeps: which points there are, what is kept of each, the table and the page, and what is wrong with the input."""

from __future__ import annotations

import csv
import re
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

pytest.importorskip("jax", reason="the JAX half is not installed")
pytest.importorskip("equinox", reason="the JAX half is not installed")
pytest.importorskip("scipy", reason="the extra studies is not installed")
pytest.importorskip("matplotlib", reason="the extra studies is not installed")
pytest.importorskip("tyro", reason="the extra studies is not installed")
pytest.importorskip("rich", reason="the extra studies is not installed")

from reference import InputError
from studies import cli
from studies.config import from_table, read
from studies.eigenvalues import summary
from studies.networks.names import LayerName
from studies.sweep import compute as computing
from studies.sweep import work
from studies.sweep.command import Options, compute_all, made_with, sweep
from studies.sweep.maps import numeric_axes, pairs
from studies.sweep.points import points_of
from studies.sweep.progress import Progress
from studies.sweep.store import Result, Store
from studies.sweep.table import best_by_layer, swept
from tests.studies.agreement import agree

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")

SMALL = Options(layer=("siren", "wire_real"), w0=(2.0, 20.0), s0=(1.0, 3.0), width=(8,), points=(9,), figures=False,
                processes=1)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Options, list[Result]]:
    options = replace(SMALL, out=tmp_path_factory.mktemp("sweep"), figures=True)
    return options, sweep(options)


class Page(HTMLParser):
    """The text of headings and cells, and every address that a browser would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.addresses: list[str] = []
        self._tag = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_data(self, data: str) -> None:
        if self._tag in ("td", "h3"):
            self.cells.append(data)


def test_the_default_is_the_sweep_of_inr_bep() -> None:
    points = points_of(Options())
    assert len(points) == 200
    assert len({point.program for point in points}) == 8
    assert {point.row()["layer"]: point.row() for point in points}["gaussian"] == {
        "layer": "gaussian", "w0": None, "s0": None, "a": None, "b": None, "inverse_scale": 49.0, "wf": None,
        "initialisation": "standard", "bias_k": None, "param_scale": 1.0, "encoding": "none", "frequencies": None,
        "encoding_scale": None, "trained": False, "width": 1028, "depth": 2, "outputs": 1, "dimension": 1,
        "points": 100, "seed": 0}


def test_the_example_has_every_layer_type_on_a_line_and_a_square() -> None:
    points = points_of(read(Path(__file__).parents[2] / "examples" / "sweep.toml", Options))
    assert {(point.architecture.layer, point.architecture.dimension) for point in points} == set(
        product(get_args(LayerName), (1, 2)))


@pytest.mark.parametrize(("options", "count"), [
    (Options(layer=("siren",), w0=(1.0, 2.0), s0=(1.0, 2.0), bias_k=(1.0, 2.0)), 2),
    (Options(layer=("finer",), w0=(1.0, 2.0), bias_k=(1.0, 2.0)), 4),
    (Options(layer=("siren",), w0=(1.0,), initialisation=("own", "siren", "standard", "finer")), 3),
    (Options(layer=("siren",), w0=(1.0,), encoding=("none", "harmonics", "fourier"), frequencies=(2, 3),
             encoding_scale=(1.0, 2.0)), 1 + 2 + 4),
    (Options(layer=("wire_complex", "super_gaussian"), w0=(1.0, 2.0), s0=(1.0, 2.0), a=(1.0,), b=(1.0, 2.0, 3.0),
             seed=(0, 1), trained=(False, True)), 4 * (4 + 3)),
    (Options(layer=("siren", "siren"), w0=(1.0, 1.0), dimension=(1, 2, 3), width=(2, 3), depth=(1, 2)), 12)])
def test_points_vary_in_what_they_have_and_each_is_there_once(options: Options, count: int) -> None:
    points = points_of(options)
    assert len(points) == count
    assert len({point.key() for point in points}) == count


def test_every_point_has_a_kernel_its_spectrum_numbers_and_a_figure(done: tuple[Options, list[Result]]) -> None:
    options, results = done
    assert [result.status for result in results] == ["ok"] * 6
    store = Store(options.out)
    for result in results:
        kept = store.load_kernel(result.key)
        agree(kept["eigenvalues"], np.linalg.eigvalsh(kept["kernel"][..., 0, 0])[::-1])
        assert {name: result.numbers[name] for name in summary(kept["kernel"])} == summary(kept["kernel"])
        assert store.figure_path(result.key).read_bytes().startswith(b"\x89PNG")
        assert kept["x"].tolist() == np.linspace(0, 1, 9)[:, None].tolist()


def test_the_table_holds_all_of_it(done: tuple[Options, list[Result]]) -> None:
    options, results = done
    rows = list(csv.DictReader((options.out / "table.csv").read_text().splitlines()))
    assert [row["key"] for row in rows] == [result.key for result in results]
    for row, result in zip(rows, results, strict=True):
        assert {name: float(row[name]) for name in result.numbers} == result.numbers
        assert row["layer"] == result.row["layer"]
        assert row["s0"] == ("" if result.row["s0"] is None else str(result.row["s0"]))


def test_the_page_shows_the_best_and_every_point_and_loads_nothing(done: tuple[Options, list[Result]]) -> None:
    options, results = done
    text = (options.out / "report.html").read_text()
    page = Page(text)
    assert [cell for cell in page.cells if cell in ("siren", "wire_real")][:2] == [
        result.row["layer"] for result in best_by_layer(results, "condition_number")]
    assert {"w0", "s0", "layer × w0", "w0 × s0"} <= set(page.cells)
    for address in page.addresses:
        assert address.startswith(("#", "data:", "figures/"))
        assert not address.startswith("figures/") or (options.out / address).exists()
    assert sum(address.startswith("figures/") for address in page.addresses) == 6
    assert not re.search(r"url\((?!#)|@import|<link(?! rel=.icon)", text)


def test_the_same_command_computes_nothing_anew(done: tuple[Options, list[Result]],
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computing, "compute", lambda point: pytest.fail("computed again"))
    assert compute_all(done[0]) == done[1]


def test_a_sweep_that_grows_computes_what_is_new(done: tuple[Options, list[Result]],
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    computed, compute = [], computing.compute
    monkeypatch.setattr(computing, "compute", lambda point: computed.append(point) or compute(point))
    results = compute_all(replace(done[0], layer=("siren",), w0=(2.0, 20.0, 30.0), figures=False))
    assert [point.row()["w0"] for point in computed] == [30.0]
    assert results[:2] == done[1][:2]


def test_a_process_that_is_told_to_stop_begins_no_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "_stop", threading.Event())
    pieces = [[(point.key(), point)] for point in points_of(replace(SMALL, layer=("siren",)))]
    work.do(pieces[0], tmp_path, False)
    assert work._stop is not None
    work._stop.set()
    work.do(pieces[1], tmp_path, False)
    assert set(Store(tmp_path).results([key for piece in pieces for key, _ in piece])) == {pieces[0][0][0]}


def test_a_point_that_fails_says_why_and_is_tried_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = replace(SMALL, layer=("laplacian", "siren"), a=(0.0,), out=tmp_path)
    config = tmp_path / "sweep.toml"
    config.write_text('layer = ["laplacian", "siren"]\na = [0]\nw0 = [2]\nwidth = [8]\npoints = [9]\nfigures = false\n')
    assert cli.main(["sweep", str(config), "--processes", "1", "--out", str(tmp_path)]) == 3
    said = capsys.readouterr().out
    assert "failed: laplacian" in said
    assert "not finite" in said
    assert "not finite" in (tmp_path / "report.html").read_text()
    failed, right = compute_all(replace(options, w0=(2.0,)))
    assert (failed.status, right.status) == ("failed", "ok")


def test_a_wrong_kernel_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    (point,) = points_of(replace(SMALL, layer=("siren",), w0=(2.0,)))
    assert computing.compute(point).wrong() == ""
    program = computing._kernel(point.architecture, "auto")
    monkeypatch.setattr(computing, "_kernel", lambda *of: lambda *given: program(*given) * 1.001)
    assert "backward passes" in computing.compute(point).wrong()


@pytest.mark.skipif(find_spec("neural_tangents") is None, reason="neural-tangents is not installed")
def test_another_method_gives_the_same_kernels() -> None:
    """Of complex parameters too, which are pairs of real ones to it."""
    options = replace(SMALL, layer=("wire_complex",), w0=(2.0,), s0=(1.0,), width=(3,), points=(4,))
    (ours,), (theirs,) = (points_of(replace(options, method=method))
                          for method in ("auto", "neural_tangents.ntk_vector_products"))
    assert ours.key() != theirs.key()
    found = computing.compute(theirs)
    assert found.wrong() == ""
    agree(found.kernel, computing.compute(ours).kernel)


def test_the_best_of_kernels_that_are_all_singular_has_the_larger_rank(done: tuple[Options, list[Result]]) -> None:
    first = done[1][0]
    some = [replace(first, key=str(rank), numbers={**first.numbers, "condition_number": np.inf, "numerical_rank": rank})
            for rank in (3.0, 5.0, 4.0)]
    assert [result.key for result in best_by_layer(some, "condition_number")] == ["5.0"]
    assert best_by_layer([replace(first, status="wrong")], "condition_number") == []


def test_axes_are_what_varies_within_a_layer_type(done: tuple[Options, list[Result]]) -> None:
    assert swept(done[1]) == ["layer", "w0", "s0"]
    assert numeric_axes(done[1]) == ["w0", "s0"]
    assert list(pairs(done[1])) == [("w0", "layer"), ("s0", "w0")]


def test_versions_and_sources_are_part_of_the_key() -> None:
    point = points_of(SMALL)[0]
    assert re.search(r"jax \d.*sources [0-9a-f]{12}", made_with())
    assert point.key(made_with()) != point.key("jax 0.0")


def test_progress_tells_the_time_left() -> None:
    import io

    from rich.console import Console

    file = io.StringIO()
    with Progress(Console(file=file), 4, 1) as progress:
        progress.update(1)
        assert progress.time_left() == ""
        progress.update(3)
        assert re.fullmatch(r"about \d+ (s|min) left", progress.time_left())
        progress.update(4)
    assert "[4/4]" in file.getvalue()


def test_every_default_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["sweep", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    for name, value in vars(Options()).items():
        assert f"--{name.replace('_', '-')}" in said
        shown = value if isinstance(value, tuple) else (value,)
        assert str(shown[-1]) in said, name


def _no_database() -> Path:
    folder = Path(tempfile.mkdtemp())
    (folder / "sweep.sqlite").write_text("something else, long enough to be told from an empty file")
    return folder


@pytest.mark.parametrize(("call", "message"), [
    (lambda: from_table({"leyer": ["siren"]}, Options), "'leyer'; did you mean layer"),
    (lambda: from_table({"layer": ["sirn"]}, Options), "'sirn'; did you mean siren"),
    (lambda: from_table({"w0": ["1"]}, Options), r"w0\[0\] must be a number"),
    (lambda: Options(processes=0), "processes=0"), (lambda: Options(w0=(1.0, np.nan)), "w0 must hold finite numbers"),
    (lambda: Options(seed=(-1,)), "seed must be at least 0, got -1"),
    (lambda: computing.compute(points_of(Options(w0=(0.0,), width=(2,), points=(4,)))[0]), "siren divides by w0"),
    (lambda: points_of(Options(method="structured_torch")), "'structured_torch' gives no exact kernel of a function"),
    (lambda: points_of(Options(method="equinox.monte_carlo")), "gives no exact kernel of a function of JAX"),
    (lambda: Store(_no_database()), "no record of a sweep .* choose another folder"),
    (lambda: Options(width=(8, 0)), "width must be at least 1, got 0"),
    (lambda: points_of(Options(w0=())), "w0 has no values"),
    (lambda: points_of(Options(dimension=(2,), points=(3,))), "2 dimensions and 3 points"),
    (lambda: points_of(Options(points=(3,))), "3 points in 1 dimensions has fewer than 4 rows"),
])
def test_bad_input_names_the_value_and_the_remedy(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
