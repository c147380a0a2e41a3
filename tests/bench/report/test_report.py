"""The report is one safe file that needs no network, whatever the records."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bench.records.export import load_json
from bench.records.record import Record
from bench.records.store import Store
from bench.report.markup import VOID
from bench.report.picture import main, picture
from bench.report.report import render
from reference import InputError
from tests import ROOT
from tests.bench.report.synthetic_records import ENVIRONMENT, failures, synthetic_records

ENVIRONMENTS = {ENVIRONMENT.key: ENVIRONMENT}
HOSTILE = """=cmd()<script>alert("x")</script><img src=x onerror=alert(1)> '&amp; ]]> </script> {{7*7}} \u202e"""


class Page(HTMLParser):
    """The elements of a page: checks that they nest, and keeps text and attributes."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == [], "elements are left open"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)


def figures_of(source: str) -> dict:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', source, re.DOTALL)
    assert found is not None
    return json.loads(found[1], parse_constant=pytest.fail)


def hostile(records: list[Record]) -> list[Record]:
    """The same records with the text in every field that comes from outside."""
    return [replace(record, reason=HOSTILE, checked_against=HOSTILE, stderr=HOSTILE, started_at=HOSTILE,
                    cell=replace(record.cell, method=f"{record.cell.method} {HOSTILE}", options={HOSTILE: HOSTILE}),
                    info=replace(record.info, case=record.info.case + HOSTILE, network=HOSTILE, data=HOSTILE))
            for record in records]


@pytest.mark.parametrize("records", [
    pytest.param([], id="no-records"),
    pytest.param(failures(), id="only-failures"),
    pytest.param([record for record in failures() if record.status == "unsupported"], id="only-unsupported"),
    pytest.param(synthetic_records(methods=["equinox.exact"], widths=(64,), batches=(8,)), id="one-method"),
    pytest.param(synthetic_records(), id="quick-profile"),
    pytest.param(synthetic_records(widths=(64, 128, 256, 512, 1024, 2048), batches=(16, 64, 128),
                                   dtypes=("float32", "float64"), replicates=3), id="full-profile"),
    pytest.param([replace(record, info=replace(record.info, width=None, n_outputs=None, n_params=None), peak_bytes=0)
                  for record in synthetic_records(widths=(64,), batches=(8,))], id="sizes-unknown"),
    pytest.param(hostile(synthetic_records(widths=(64, 256, 1024), batches=(8,)) + failures()), id="hostile-texts"),
])
def test_the_page_is_well_formed_and_loads_nothing(records: list[Record]):
    source = render(records, ENVIRONMENTS)
    page = Page(source)
    for tag, attributes in page.tags:
        assert tag not in ("iframe", "img", "object", "embed", "base")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "action", "srcset"):
                assert value is not None
                assert value.startswith("#") or (tag, value) == ("link", "data:,"), f"{tag} refers to {value}"
    assert "@import" not in source.partition("</style>")[0]
    assert "url(" not in source.partition("</style>")[0]
    anchors = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(anchors) == len(set(anchors))
    links = {str(attributes["href"])[1:] for tag, attributes in page.tags if tag in ("a", "use")}
    assert links <= set(anchors)


def test_hostile_texts_are_shown_as_text():
    page = Page(render(hostile(synthetic_records(widths=(64,), batches=(8,)) + failures()), ENVIRONMENTS))
    assert HOSTILE in page.text
    assert [tag for tag, _ in page.tags].count("script") == 3


def test_hostile_texts_do_not_leave_the_figures():
    figures = figures_of(render(hostile(synthetic_records(widths=(64, 256), batches=(8,))), ENVIRONMENTS))
    texts = [text for figure in figures.values() for trace in figure["data"] for text in [trace["name"], *trace["y"]]
             if isinstance(text, str)]
    assert texts
    assert not [text for text in texts if "<" in text.replace("<br>", "")]


def test_plotly_is_inside_once_and_only_where_there_is_a_figure():
    from plotly.offline import get_plotlyjs

    assert render(synthetic_records(widths=(64,), replicates=1), ENVIRONMENTS).count(get_plotlyjs()) == 1
    assert len(render([], {})) < 50_000


def test_without_records_the_page_says_so():
    assert "Nothing has been measured" in Page(render([], {})).text


def test_the_headline_names_the_winners():
    text = Page(render(synthetic_records(), ENVIRONMENTS)).text
    assert "The fastest correct method:MLP, 12 cells: " in text
    assert "cannot be told apart from it" in text, "three processes a method do not tell all apart"


def test_a_busy_machine_is_said_at_the_top():
    records = synthetic_records(widths=(64,), batches=(8,), methods=["equinox.exact"], replicates=1)
    text = Page(render([replace(record, disturbance=0.5) for record in records], ENVIRONMENTS)).text
    assert "The machine was busy: 4 of 4 measurements were disturbed" in text
    assert text.index("The machine was busy") < text.index("Which method to use")
    assert "The machine was" not in Page(render(records, ENVIRONMENTS)).text


def test_a_wrong_kernel_is_named_at_the_top_and_its_time_is_nowhere():
    records = synthetic_records(widths=(64, 256, 1024), batches=(8,), methods=["equinox.exact"], replicates=1)
    wrong = replace(records[0], status="wrong", reason="sum over all output pairs", samples_s=(0.0987,), error=0.7)
    source = render([wrong, *records[1:]], ENVIRONMENTS)
    assert "equinox.exact: wrong in 1 of" in Page(source).text
    assert "98.7 ms" not in source
    assert "0.0987" not in source


def test_every_reason_is_in_the_text_and_not_only_in_a_tooltip():
    text = Page(render(failures(), ENVIRONMENTS)).text
    for record in failures():
        assert record.reason in text


def test_every_status_of_the_matrix_leads_to_its_reason():
    page = Page(render(failures(), ENVIRONMENTS))
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a" and "title" in attributes]
    assert len(links) == len(failures())


def test_what_a_crashed_process_wrote_is_kept():
    crash = [replace(record, stderr="Fatal: device gone") for record in failures() if record.status == "crash"]
    assert "Fatal: device gone" in Page(render(crash, ENVIRONMENTS)).text


def test_versions_and_machine_are_named_and_missing_ones_are_said():
    records = synthetic_records(widths=(64,), batches=(8,), replicates=1)
    assert "AMD EPYC 7763" in Page(render(records, ENVIRONMENTS)).text
    assert "not recorded" in Page(render(records, {})).text


def test_one_colour_and_one_marker_for_a_method_throughout():
    figures = figures_of(render(synthetic_records(), ENVIRONMENTS))
    seen: dict[str, set[tuple[str, str]]] = {}
    for figure in figures.values():
        for trace in figure["data"]:
            if "meta" in trace:
                seen.setdefault(trace["name"], set()).add((trace["marker"]["color"], trace["marker"]["symbol"]))
    assert len(seen) == 11
    assert all(len(styles) == 1 for styles in seen.values())


def test_a_single_width_has_one_mark_for_each_method():
    figures = figures_of(render(synthetic_records(widths=(64,), batches=(8,), n_outputs=(1,)), ENVIRONMENTS))
    categorical = [figure for figure in figures.values() if figure["layout"]["yaxis"].get("type") == "category"]
    assert all(len(trace["x"]) == 1 for figure in categorical[1:] for trace in figure["data"])


def test_exponents_stand_beside_the_figure_and_their_absence_is_explained():
    assert "fitted to 3 widths, 64–1024" in Page(render(synthetic_records(), ENVIRONMENTS)).text
    text = Page(render(synthetic_records(widths=(64, 256), batches=(8,)), ENVIRONMENTS)).text
    assert "a fit needs three" in text


def test_importing_the_report_imports_neither_plotly_nor_a_framework():
    check = ("import sys, bench.report.report, bench.report.table, bench.records.export, bench.report.picture\n"
             "found = {'plotly', 'jax', 'torch', 'pyarrow', 'tyro'} & set(sys.modules)\n"
             "assert not found, found")
    subprocess.run([sys.executable, "-c", check], check=True)


@pytest.mark.parametrize("records", [synthetic_records(), hostile(synthetic_records(batches=(8,)))],
                         ids=["plain", "hostile"])
def test_the_picture_is_one_svg_with_a_name_at_every_line(records: list[Record]):
    root = ElementTree.fromstring(picture(records, ENVIRONMENTS).replace("\u202e", ""))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert any(text is not None and text.startswith("equinox.exact") for text in texts)
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))


def test_names_in_the_picture_keep_apart():
    root = ElementTree.fromstring(picture(synthetic_records(), ENVIRONMENTS))
    names = [float(element.attrib["y"]) for element in root.iter("{http://www.w3.org/2000/svg}text")
             if "." in (element.text or "") and float(element.attrib["x"]) > 600]
    gaps = [after - before for before, after in zip(sorted(names), sorted(names)[1:], strict=False) if after > before]
    assert min(gaps) >= 20


def test_a_picture_of_nothing_is_refused():
    with pytest.raises(InputError, match="two widths"):
        picture(synthetic_records(widths=(64,)), ENVIRONMENTS)


def test_the_picture_is_drawn_from_a_store(tmp_path: Path):
    store = Store.create(tmp_path)
    store.add_run(ENVIRONMENT, {}, "2026-01-15T10:00:00Z")
    for record in synthetic_records(batches=(8,), replicates=1):
        store.add(record)
    main([str(store.path), str(tmp_path / "out.svg")])
    assert "AMD EPYC 7763" in (tmp_path / "out.svg").read_text("utf-8")


def test_the_readmes_picture_is_of_its_rows(tmp_path: Path):
    main([str(ROOT / "bench/results/quick-cpu.json"), str(tmp_path / "out.svg")])
    assert (tmp_path / "out.svg").read_text("utf-8") == (ROOT / "docs/time-against-width.svg").read_text("utf-8")
    assert len({record.environment for record in load_json(ROOT / "bench/results/quick-cpu.json")[0]}) == 1


@pytest.mark.parametrize(("results", "out"), [("nothing.sqlite", "out.svg"), ("results.sqlite", "nowhere/out.svg"),
                                              ("nothing.json", "out.svg")])
def test_what_cannot_be_drawn_is_one_line(results: str, out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    Store.create(tmp_path)
    with pytest.raises(SystemExit) as exit_info:
        main([str(tmp_path / results), str(tmp_path / out)])
    assert exit_info.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
