"""The numbers of a point: which there are, and whether small or large ones are the better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal, get_args

from studies.fourier import Weighting, diagonal_strength, fourier_summary, fourier_summary_inr_bep
from studies.spectrum import Spectrum

Metric = Literal["condition_number", "effective_rank", "stable_rank", "von_neumann_entropy_normalised", "mean_trace",
                 "fourier_high_frequency", "diagonal_strength_const"]
"""Those that a sweep is judged by; the table has more."""

SMALLER_IS_BETTER: Mapping[str, bool] = {
    "condition_number": True, "effective_rank": False, "stable_rank": False, "von_neumann_entropy_normalised": False,
    "mean_trace": False, "fourier_high_frequency": False, "diagonal_strength_const": True,
}
LOGARITHMIC = ("condition_number", "mean_trace")
"""Of those, the ones that are drawn on a logarithmic scale."""

IN_WORDS: Mapping[str, str] = {
    "condition_number": "condition number", "effective_rank": "effective rank", "stable_rank": "stable rank",
    "von_neumann_entropy_normalised": "von Neumann entropy / ln M", "mean_trace": "trace / N",
    "fourier_high_frequency": "ln |F K|, high frequencies", "diagonal_strength_const": "diagonal strength (const)",
}
assert tuple(SMALLER_IS_BETTER) == tuple(IN_WORDS) == get_args(Metric)


def numbers(kernel: Any, found: Spectrum) -> dict[str, float]:
    """All of a kernel and its spectrum, by name."""
    from studies.eigenvalues import log_condition_number_inr_bep, summary

    return {
        **summary(kernel, found), "log_condition_number_inr_bep": log_condition_number_inr_bep(found),
        **{f"fourier_{name}": value for name, value in asdict(fourier_summary(kernel)).items()},
        **{f"fourier_inr_bep_{name}": value for name, value in asdict(fourier_summary_inr_bep(kernel)).items()},
        **{f"diagonal_strength_{weighting}": diagonal_strength(kernel, weighting) for weighting in get_args(Weighting)},
    }
