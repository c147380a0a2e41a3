"""Processes that end with the one that started them, however that ends. Linux only; elsewhere nothing is done.

The server of the processes adopts what they leave: a process that went away from its parent (by setsid and a second
fork) is still below it, is found there, and is ended with its cell. The server outlives the run for a moment, to end
them all, where the run is killed.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import sys
import warnings
from contextlib import suppress
from types import FrameType

from bench.machine import processes

# Of prctl(2).
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def end_with(parent: int) -> None:
    """This process is killed when its parent, which is to have that number, ends; at once where it has ended."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the server's, which is forked with it
    _when_gone(parent, signal.SIGKILL)


def serve(parent: int) -> None:
    """This process adopts the orphans below it, and when its parent ends it kills all that is below it, and ends.

    In a group of its own: who kills the whole group of the run leaves it the moment that this takes.
    """
    if not sys.platform.startswith("linux"):
        return
    with suppress(PermissionError):  # it leads a session: it has one already
        os.setpgid(0, 0)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    warnings.filterwarnings("ignore", message="forkserver: waitpid returned unexpected pid")  # an orphan's
    atexit.register(processes.end_below, os.getpid())
    signal.signal(signal.SIGTERM, _end_all)
    _when_gone(parent, signal.SIGTERM)


def _when_gone(parent: int, number: signal.Signals) -> None:
    if not sys.platform.startswith("linux"):
        return
    _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def _end_all(number: int, frame: FrameType | None) -> None:
    processes.end_below(os.getpid())
    os._exit(0)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, ctypes.c_ulong(value), 0, 0, 0)
