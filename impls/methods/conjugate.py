"""The conjugate kernel from the features of a layer, in any framework's arrays."""

from __future__ import annotations

from impls.protocol import Array
from reference.case import Outputs


def product(phi1: Array, phi2: Array, outputs: Outputs) -> Array:
    """φ1 φ2ᵀ/h with the axes of one output: (N1, N2, 1, 1), (N1, N2, 1) or (N1, N2)."""
    kernel = phi1 @ phi2.T / phi1.shape[1]
    return {"full": kernel[:, :, None, None], "diagonal": kernel[:, :, None], "trace": kernel}[outputs]
