"""Figures of a kernel with matplotlib: its image, its spectrum, its energy curve, its frequencies.

Each function draws into axes that it is given and returns them; `overview` makes a figure. No state of pyplot is
touched, and no window opens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TextIO

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from studies.alignment import energy_curve
from studies.fourier import log_magnitude
from studies.matrix import as_matrix
from studies.spectrum import Spectrum, spectrum

INK, SECOND, SOFT = "#0550ae", "#b35900", "#57606a"


def kernel_image(axes: Axes, kernel: Any) -> Axes:
    """The entries as an image, row 0 at the top; (N·O)² of a full kernel. Colours are symmetric about 0 where it has
    both signs."""
    matrix = as_matrix(kernel)
    size = np.abs(matrix).max() or 1.0
    signed = matrix.min() < -1e-3 * size
    image = axes.imshow(matrix, cmap="RdBu_r" if signed else "viridis", vmin=-size if signed else None,
                        vmax=size if signed else None, interpolation="nearest", rasterized=True)
    _bar(axes, image)
    return _named(axes, "Kernel", "column (m, b)", "row (n, a)")


def spectrum_plot(axes: Axes, found: Spectrum) -> Axes:
    """λ_i against i, logarithmically; below M ε λ_max, where eigenvalues are rounding, a grey band."""
    place, positive = np.arange(1, len(found.values) + 1), found.values > 0
    axes.semilogy(place[positive], found.values[positive], ".-", color=INK, markersize=4, linewidth=0.8)
    floor = found.size * float(np.finfo(found.dtype).eps) * found.values[0]
    low = found.values[positive].min() / 3
    if low < floor:
        axes.axhspan(low, floor, color="0.9", zorder=0)
        axes.text(1, floor, "rounding", va="top", color=SOFT, fontsize=8)
    axes.set_ylim(low, found.values[0] * 3)
    if (missing := int(np.count_nonzero(~positive))) > 0:
        axes.text(0.98, 0.95, f"{missing} not positive", transform=axes.transAxes, ha="right", va="top", fontsize=8)
    axes.yaxis.set_major_locator(LogLocator(numticks=8))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _named(axes, "Spectrum", "i", "eigenvalue λᵢ")


def energy_plot(axes: Axes, found: Spectrum, y: Any) -> Axes:
    """The share of the targets within the first i eigenvectors; dashed, the share of the trace that they hold."""
    curve = energy_curve(found, y)
    place = np.arange(1, len(curve) + 1)
    axes.plot(place, curve, color=INK, label="of the targets")
    if found.complete:
        axes.plot(place, np.cumsum(found.values) / found.values.sum(), "--", color=SECOND, label="of the trace")
    axes.set_xscale("log")
    axes.set_ylim(0, 1.05)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return _named(axes, "Within the first i eigenvectors", "i", "share")


def fourier_image(axes: Axes, kernel: Any) -> Axes:
    """ln|F K| with frequency 0 in the middle."""
    image = log_magnitude(kernel)
    m = len(image)
    low, high = -(m // 2) - 0.5, m - m // 2 - 0.5
    _bar(axes, axes.imshow(image, cmap="magma", extent=(low, high, high, low), interpolation="nearest",
                           rasterized=True))
    return _named(axes, "ln |F K|", "frequency of columns", "frequency of rows")


def overview(kernel: Any, y: Any = None, title: str = "", found: Spectrum | None = None) -> Figure:
    """Kernel, spectrum and frequencies side by side, and with targets `y` the energy curve."""
    figure = Figure(figsize=(10.5 if y is None else 14, 3.4))
    # Places by hand: a layout that is worked out takes as long as the drawing, and a sweep draws hundreds.
    panels = figure.subplots(1, 3 if y is None else 4, gridspec_kw={
        "left": 0.05, "right": 0.985, "bottom": 0.15, "top": 0.84, "wspace": 0.3 if y is None else 0.36})
    whole = spectrum(kernel) if found is None else found
    kernel_image(panels[0], kernel)
    spectrum_plot(panels[1], whole)
    fourier_image(panels[2], kernel)
    if y is not None:
        energy_plot(panels[3], whole, y)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def save(figure: Figure, path: Path) -> None:
    """As the name's ending says, SVG or PNG; the same figure gives the same bytes. Folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".svg":
        save_svg(figure, path)
    else:
        figure.savefig(path, dpi=110)


def save_svg(figure: Figure, file: Path | TextIO) -> None:
    """With text as text, drawn in the reader's fonts."""
    with rc_context({"svg.hashsalt": "ntk-bench", "svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None})


def _bar(axes: Axes, image: Any) -> None:
    bar = axes.get_figure(root=True).colorbar(image, ax=axes, shrink=0.8)  # pyright: ignore[reportOptionalMemberAccess]
    numbers: Any = bar.formatter
    numbers.set_powerlimits((-3, 4))  # long ones would reach into the next panel
    bar.ax.yaxis.get_offset_text().set_fontsize(8)
    bar.ax.tick_params(labelsize=8)


def _named(axes: Axes, title: str, x: str, y: str) -> Axes:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(labelsize=8, which="both")
    return axes
