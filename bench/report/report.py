"""The report: one HTML file that answers which method to use, and shows everything that the answer rests on."""

from __future__ import annotations

from collections.abc import Sequence

from bench.records.noise import weather
from bench.records.record import Environment, Record
from bench.report import engine_section, matrix, plots, provenance, sections
from bench.report.choice import finder
from bench.report.labels import Labels
from bench.report.opening import opening
from bench.report.page import Section, page
from bench.report.palette import styles as styles_of
from bench.report.summary import rankings as rankings_of
from bench.report.summary import totals as totals_of

TITLE = "Neural tangent kernels: which method is right, how fast, how large"


def render(records: Sequence[Record], environments: dict[str, Environment], note: str = "") -> str:
    """The HTML of the report; it needs no network. Works for any records, none included. `note` stands at its top."""
    rankings = rankings_of(records)
    totals = totals_of(rankings)
    labels = Labels([ranking.group for ranking in rankings])
    styles = styles_of(record.cell.method for record in records)
    drawings = plots.Drawings()
    parts: list[Section] = [] if not rankings else [
        sections.answers(rankings, labels, styles),
        *engine_section.engines(records, rankings, labels, styles),
        sections.methods(totals, styles),
        matrix.matrix(rankings, labels, styles),
        plots.error_section(rankings, labels, styles, drawings),
        plots.scaling_section(rankings, styles, drawings),
        plots.first_call_section(rankings, labels, styles, drawings),
        sections.cells(rankings, labels, styles),
        provenance.machine(records, environments),
        provenance.method_of_measuring(records),
    ]
    lead = opening(rankings, labels, weather(records), note)
    return page(TITLE, lead, finder(rankings, labels), parts, drawings, styles)
