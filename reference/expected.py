"""`Expected`: the true kernel of a case, with what is needed to normalise errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from reference.case import Outputs


@dataclass(frozen=True, eq=False)
class Expected:
    """K(x1, x2) with the diagonal blocks of K(x1, x1) and K(x2, x2), all float64.

    `block1[n]` is K(x1, x1)[n, n], `block2[m]` is K(x2, x2)[m, m]. `source` says where the values come from:
    "proved kernel", "float64 tape on examples …".
    """

    full: Float64[np.ndarray, "N1 N2 O O"]
    block1: Float64[np.ndarray, "N1 O O"]
    block2: Float64[np.ndarray, "N2 O O"]
    source: str

    def outputs(self, outputs: Outputs) -> Float64[np.ndarray, "N1 N2 *outputs"]:
        """The kernel as asked for: (N1, N2, O, O), its diagonal (N1, N2, O), or its trace (N1, N2), the sum over a."""
        return select_outputs(self.full, outputs)

    def scale(self, outputs: Outputs) -> Float64[np.ndarray, "N1 N2 *outputs"]:
        """√(K[n,n,a,a] K[m,m,b,b]), which bounds |K[n,m,a,b]|, or √(T[n,n] T[m,m]) for the trace; shaped likewise."""
        norms1, norms2 = (np.sqrt(np.einsum("naa->na", block)) for block in (self.block1, self.block2))
        if outputs == "full":
            return np.einsum("na,mb->nmab", norms1, norms2)
        if outputs == "diagonal":
            return np.einsum("na,ma->nma", norms1, norms2)
        return np.outer(np.linalg.norm(norms1, axis=1), np.linalg.norm(norms2, axis=1))


def select_outputs(full: np.ndarray, outputs: Outputs) -> np.ndarray:
    """A new array with the part of a full kernel (N1, N2, O, O) that is asked for."""
    subscripts = {"full": "nmab->nmab", "diagonal": "nmaa->nma", "trace": "nmaa->nm"}[outputs]
    return np.array(np.einsum(subscripts, full))
