"""Processes that end with the one that started them, however that ends. Linux only; elsewhere nothing is done."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""Of prctl(2)."""


def end_with(parent: int) -> None:
    """This process is killed when its parent, which is to have that number, ends; at once where it has ended."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
