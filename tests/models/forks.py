"""What is measured in a process of its own, and how far a kernel is from the truth."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from reference import normalised


def forked(action: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `action` gives in a child process, or ``{"failure": why}``."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with os.fdopen(writing, "w") as pipe:
            json.dump(_answer(action), pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else {"failure": "the process died"}


def error_of(kernel: np.ndarray, due: np.ndarray) -> float:
    """The largest |K − K_ref| / √(K_ref[n,n] K_ref[m,m])."""
    scale = np.sqrt(np.outer(due.diagonal(), due.diagonal()))
    return float(normalised(kernel.astype(np.float64) - due, scale).max())


def _answer(action: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return action()
    except Exception as error:
        return {"failure": f"{type(error).__name__}: {str(error)[:300]}"}
