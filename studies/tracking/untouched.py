"""Random generators that every user of the process shares, put back after a measurement."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def untouched() -> Iterator[None]:
    """Inside, Python's, NumPy's and PyTorch's own generators may be drawn from; outside they are as they were.

    JAX has none. PyTorch's are looked after where it is imported already, those of its GPUs where they are in use.
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    torch = sys.modules.get("torch")
    cpu = None if torch is None else torch.get_rng_state()
    gpus = torch.cuda.get_rng_state_all() if torch is not None and torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        if torch is not None:
            torch.set_rng_state(cpu)
            if gpus:
                torch.cuda.set_rng_state_all(gpus)
