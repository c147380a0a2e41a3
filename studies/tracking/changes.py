"""How far a kernel has gone, from where training began and from step to step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from studies.alignment import kernel_alignment
from studies.matrix import as_matrix


def change(kernel: np.ndarray, first: np.ndarray) -> dict[str, float]:
    """Since initialisation: "change" ‖K − K₀‖_F/‖K₀‖_F, "spectral_change" the same in the 2-norm, "alignment"
    ⟨K, K₀⟩_F/(‖K‖_F ‖K₀‖_F).

    Chizat, Oyallon, Bach 2019 (arXiv:1812.07956) for the first, as a measure of laziness; Fort et al. 2020
    (arXiv:2010.15110), section 3, for the last, of which 1 minus it is their kernel distance.
    """
    now, then = as_matrix(kernel), as_matrix(first)
    return {"change": float(np.linalg.norm(now - then) / np.linalg.norm(then)),
            "spectral_change": float(np.linalg.norm(now - then, 2) / np.linalg.norm(then, 2)),
            "alignment": kernel_alignment(kernel, first)}


def velocity(kernel: np.ndarray, previous: np.ndarray, steps: int) -> dict[str, float]:
    """For each of the `steps` since the kernel before: "velocity" (1 − alignment)/steps, the kernel velocity of Fort et
    al. 2020, blind to size; "relative_velocity" ‖K − K_before‖_F/(‖K_before‖_F steps).

    1 − alignment is half the squared distance of the two kernels, each over its norm: that loses no digits.
    """
    now, then = as_matrix(kernel), as_matrix(previous)
    apart = now / np.linalg.norm(now) - then / np.linalg.norm(then)
    return {"velocity": float(np.sum(apart**2) / 2 / steps),
            "relative_velocity": float(np.linalg.norm(now - then) / np.linalg.norm(then) / steps)}


def weight_figures(now: Mapping[str, np.ndarray], first: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Of each parameter W "weights/NAME/magnitude", the mean |w|, and "weights/NAME/distance" ‖W − W₀‖_F; of all
    together "weights/magnitude" and "weights/change" ‖θ − θ₀‖/‖θ₀‖ (Dohare et al. 2024 for the magnitude)."""
    found: dict[str, float] = {}
    for name, value in now.items():
        found[f"weights/{name}/magnitude"] = float(np.abs(value).mean())
        found[f"weights/{name}/distance"] = float(np.linalg.norm(value.ravel() - first[name].ravel()))
    whole, start = (np.concatenate([np.ravel(value).astype(np.complex128 if value.dtype.kind == "c" else np.float64)
                                    for value in some.values()]) for some in (now, first))
    size = float(np.linalg.norm(start))
    change = {"weights/change": float(np.linalg.norm(whole - start)) / size} if size else {}
    return found | {"weights/magnitude": float(np.abs(whole).mean())} | change
