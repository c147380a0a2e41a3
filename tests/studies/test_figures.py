"""What the figures show: their data, and that nothing of matplotlib's own state is touched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the extra studies is not installed")

from matplotlib import rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from studies import figures
from studies.alignment import energy_curve
from studies.fourier import log_magnitude
from studies.matrix import as_matrix
from studies.spectrum import Spectrum, spectrum
from tests.studies.agreement import jacobian, kernel_of

KERNEL, Y = kernel_of(jacobian()), np.random.default_rng(0).standard_normal((6, 3))


def test_an_overview_shows_kernel_spectrum_frequencies_and_energy() -> None:
    figure = figures.overview(KERNEL, Y, "a title")
    kernel, values, frequencies, energy = figure.axes[:4]
    assert np.array_equal(kernel.images[0].get_array(), as_matrix(KERNEL))  # pyright: ignore[reportArgumentType]
    assert kernel.images[0].get_clim()[0] == -kernel.images[0].get_clim()[1]
    assert np.array_equal(values.lines[0].get_ydata(), spectrum(KERNEL).values)
    assert np.array_equal(frequencies.images[0].get_array(), log_magnitude(KERNEL))  # pyright: ignore[reportArgumentType]
    assert frequencies.images[0].get_extent() == [-9.5, 8.5, 8.5, -9.5]
    assert np.array_equal(energy.lines[0].get_ydata(), energy_curve(spectrum(KERNEL), Y))


def test_eigenvalues_that_a_logarithm_does_not_take_are_counted() -> None:
    axes = figures.spectrum_plot(Figure().add_subplot(), Spectrum(np.array([2.0, 1.0, 0.0, -1e-17]), np.eye(4), 4))
    assert [text.get_text() for text in axes.texts] == ["2 not positive"]


def test_panels_do_not_reach_into_each_other() -> None:
    """Of large entries of both signs, whose eigenvalues are within a decade: both axes have long numbers."""
    figure = figures.overview(1e4 * (np.eye(12) - np.eye(12)[::-1] / 8 + np.diag(np.linspace(0, 1, 12))), title="large")
    FigureCanvasAgg(figure).draw()
    kernel, values, *_, bar, _ = figure.axes  # the bars of both images come last
    right, left = (axes.get_tightbbox() for axes in (bar, values))
    assert right is not None
    assert left is not None
    assert right.x1 < left.x0
    assert kernel.get_title() == "Kernel"


def settings() -> dict[str, Any]:
    """matplotlib's; to read the backend would choose one."""
    return {name: rcParams[name] for name in rcParams if name != "backend"}


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_the_same_figure_gives_the_same_bytes_and_leaves_no_state(ending: str, tmp_path: Path) -> None:
    before = settings()
    for name in ("first", "second"):
        figures.save(figures.overview(KERNEL), tmp_path / f"{name}.{ending}")
    assert (tmp_path / f"first.{ending}").read_bytes() == (tmp_path / f"second.{ending}").read_bytes()
    assert settings() == before


def test_no_window_can_open_and_no_framework_is_loaded() -> None:
    program = ("import sys, studies, studies.figures, studies.spectrum, studies.eigenvalues, studies.alignment, "
               "studies.fourier, studies.parts, studies.products; "
               "print([m for m in ('matplotlib.pyplot', 'jax', 'torch') if m in sys.modules])")
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
