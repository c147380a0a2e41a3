"""From a Jacobian of balls to the kernel, with its proof."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from reference import balls
from reference.oracle import RADIUS_LIMIT


def enclosed_kernel(jacobian: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    """(N, N, O, O) of the examples x, whose Jacobians (O, P) `jacobian` gives in balls of 128 bits.

    Every radius is below the oracle's limit, or the test that asks fails.
    """
    with balls.precision(128):
        jacobians = [jacobian(example) for example in x]
        rows = np.concatenate(jacobians)
        gram = rows @ rows.T
        norms = np.array([float(entry.mid()) ** 0.5 for entry in np.diag(gram)])
        radii = np.vectorize(lambda ball: float(ball.rad()))(gram)
        assert (radii < RADIUS_LIMIT * np.multiply.outer(norms, norms)).all()
        values = np.vectorize(balls.nearest_float)(gram)
    n, n_outputs = len(x), len(jacobians[0])
    return values.reshape(n, n_outputs, n, n_outputs).transpose(0, 2, 1, 3)
