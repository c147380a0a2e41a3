"""How the frameworks of a process were built, and which BLAS it has: asked where they are loaded already."""

from __future__ import annotations

import sys
from typing import Any

import threadpoolctl

_WORDS = ("internal_api", "version", "architecture", "threading_layer")


def builds(send: Any = None) -> dict[str, str]:
    """Name → description, of NumPy's libraries and of the frameworks that this process has; a task of the pool."""
    found = {"blas and threads": "; ".join(sorted({_library(each) for each in threadpoolctl.threadpool_info()}))}
    torch, jaxlib = sys.modules.get("torch"), sys.modules.get("jaxlib")
    if torch is not None:
        found["torch build"] = " ".join(torch.__config__.show().split())
        found["torch source"] = str(torch.version.git_version)
    if jaxlib is not None:
        found["jaxlib build"] = str(jaxlib.version.__version__)
    return found


def _library(found: dict[str, Any]) -> str:
    """Without the folder that it lies in."""
    return " ".join(str(found[word]) for word in _WORDS if found.get(word))
