"""A random estimate varies no more than the projections that were asked for allow.

With S independent Gaussian projections, and the true kernel K of the r rows (n, a), S·W = S K^(−1/2) K̂ K^(−1/2) is a
Wishart matrix, for which E ‖W − 1‖² = r (r + 1)/S (Anderson 2003, section 7.3). An estimate from half of them, say each
used with both signs, is unbiased and within the bounds that test_kernel sets for single entries; it has twice that.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from impls import Method
from reference.tolerances import LARGEST_SPREAD
from tests.gate.checks import prepare
from tests.gate.selection import Selection
from tests.gate.test_independence import plain_request, tape_value
from tests.gate.test_requests import some_case, with_many_examples

PROJ_DIM = 256
N = 9


def test_spread(stochastic_method: Method, selection: Selection) -> None:
    request = replace(plain_request(stochastic_method, selection), options={"proj_dim": PROJ_DIM})
    case = with_many_examples(some_case(stochastic_method, request), N).with_symmetry()
    ratio = spread(prepare(stochastic_method, case, request)(), tape_value(case).full)
    assert ratio <= LARGEST_SPREAD, (
        f"the square of the deviation is {ratio:.3g} times what {PROJ_DIM} independent projections give, "
        f"{LARGEST_SPREAD} is allowed: they are fewer, or not independent")


def spread(estimate: np.ndarray, truth: np.ndarray) -> float:
    """‖W − 1‖² in units of its expectation."""
    lengths, directions = np.linalg.eigh(as_matrix(truth))
    to_white = directions / np.sqrt(lengths)
    white = to_white.T @ as_matrix(estimate) @ to_white
    rows = len(white)
    return float(np.square(white - np.eye(rows)).sum()) * PROJ_DIM / (rows * (rows + 1))


def as_matrix(kernel: np.ndarray) -> np.ndarray:
    """(N·O, N·O), of a full kernel with x2 = x1."""
    rows = kernel.shape[0] * kernel.shape[2]
    return kernel.transpose(0, 2, 1, 3).reshape(rows, rows)
