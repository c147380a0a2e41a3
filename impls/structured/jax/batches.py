"""Examples that arrive in batches, as JAX's arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from impls.frameworks.jax.support import place
from impls.structured.batches import Reread
from reference import Request


class Batches:
    """The batches as arrays in the request's dtype (integers as they are) and on its device, any number of times."""

    def __init__(self, batches: Iterable[Any], request: Request) -> None:
        self.request = request
        self.batches = Reread(batches, "an array", lambda x: np.asarray(x) if hasattr(x, "__array__") else None,
                              np.asarray)

    def __iter__(self) -> Iterator[jax.Array]:
        return (place(x, self.request) for x in self.batches if len(x))

    def all(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype of all examples together."""
        example = place(self.batches.first()[:0], self.request)
        return jax.ShapeDtypeStruct((len(self.batches), *example.shape[1:]), example.dtype)
