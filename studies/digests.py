"""Digests: whether arrays are the same to the bit as some that are no longer there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes (little-endian, in C order), whatever the order of the mapping."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        array = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        found.update(f"{name!r} {array.dtype.str} {array.shape}\n".encode())
        found.update(array.tobytes())
    return found.hexdigest()
