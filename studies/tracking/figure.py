"""What a tracked run looks like: four panels over the steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from studies.figures import INK, SECOND, SOFT
from studies.sinks.local import LocalStore

THIRD = "#1a7f37"


def figure(store: LocalStore, title: str = "", steps_of_task: int | None = None) -> Figure:
    """Accuracy or loss of the current task, the kernel's eigenvalues, how far it has gone, and the ranks of the layers.

    A panel whose figures were not recorded is left out. `steps_of_task` marks where a task ends.
    """
    names = set(store.names())
    panels = [draw for draw, needs in ((_scores, "probe/loss"), (_eigenvalues, "kernel/eigenvalues"),
                                       (_changes, "kernel/change"), (_ranks, "layer/")) if
              any(name.startswith(needs) for name in names)]
    drawn = Figure(figsize=(3.7 * max(len(panels), 1), 3.1), layout="constrained")
    with rc_context({"axes.spines.top": False, "axes.spines.right": False, "font.size": 9}):
        for place, draw in enumerate(panels, 1):
            axes = drawn.add_subplot(1, len(panels), place)
            draw(axes, store, names)
            axes.set_xlabel("step")
            _mark_tasks(axes, store.steps(), steps_of_task)
    if title:
        drawn.suptitle(title)
    return drawn


def _scores(axes: Axes, store: LocalStore, names: set[str]) -> None:
    kind = "accuracy" if "probe/accuracy" in names else "loss"
    for name, label, colour in ((f"current/{kind}", "task, test data", INK), (f"probe/{kind}", "probe batch", SECOND)):
        if name in names:
            axes.plot(*store.scalars(name), label=label, color=colour)
    axes.set_title(kind.capitalize())
    axes.legend(frameon=False, fontsize=8)


def _eigenvalues(axes: Axes, store: LocalStore, names: set[str]) -> None:
    """The largest, and every one whose place is twice that of the one before."""
    steps, _ = store.scalars("kernel/largest_eigenvalue")
    values = [store.array("kernel/eigenvalues", int(step)) for step in steps]
    places = [2**k for k in range(int(np.log2(len(values[0]))) + 1)]
    for i, place in enumerate(places):
        found = np.array([each[place - 1] for each in values])
        axes.semilogy(steps, np.where(found > 0, found, np.nan), color=INK, alpha=1 - 0.8 * i / len(places),
                      linewidth=1)
        axes.annotate(f"λ$_{{{place}}}$", (steps[-1], found[-1]), fontsize=7, color=SOFT,
                      xytext=(3, 0), textcoords="offset points", va="center")
    axes.set_title("Eigenvalues of the kernel")


def _changes(axes: Axes, store: LocalStore, names: set[str]) -> None:
    """The relative change at the left, the alignments, from 0 to 1, at the right."""
    lines = axes.plot(*store.scalars("kernel/change"), color=INK, label="‖K − K₀‖/‖K₀‖ (left)")
    second: Any = axes.twinx()
    lines += second.plot(*store.scalars("kernel/alignment"), "--", color=SECOND, label="alignment with K₀")
    if "kernel/target_alignment" in names:
        lines += second.plot(*store.scalars("kernel/target_alignment"), "--", color=THIRD, label="with targets")
    second.set_ylim(0, 1.3)
    second.spines["right"].set_visible(True)
    axes.set_ylim(0, 1.3 * axes.get_ylim()[1])
    axes.set_title("Change of the kernel")
    second.legend(handles=lines, frameon=False, fontsize=7, loc="upper left", ncols=2)


def _ranks(axes: Axes, store: LocalStore, names: set[str]) -> None:
    """The effective rank of each layer, and dotted, the share of its units that do nothing."""
    layers = [name.split("/")[1] for name in sorted(names) if name.endswith("/effective_rank") and name[:6] == "layer/"]
    second: Any = None
    for layer, colour in zip(layers, (INK, SECOND, THIRD, SOFT, "#8250df"), strict=False):
        axes.plot(*store.scalars(f"layer/{layer}/effective_rank"), color=colour, label=layer)
        if f"layer/{layer}/inactive_units" in names:
            second = axes.twinx() if second is None else second
            second.plot(*store.scalars(f"layer/{layer}/inactive_units"), ":", color=colour)
    if second is not None:
        second.set_ylim(0, 1.25)
        second.set_ylabel("inactive units (dotted)", fontsize=8)
        second.spines["right"].set_visible(True)
    axes.set_ylim(0, 1.25 * axes.get_ylim()[1])
    axes.set_title("Effective rank of features")
    axes.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)


def _mark_tasks(axes: Axes, steps: list[int], steps_of_task: int | None) -> None:
    for end in range(steps_of_task or 0, steps[-1] if steps_of_task else 0, steps_of_task or 1):
        axes.axvline(end, color="0.85", linewidth=0.8, zorder=0)
