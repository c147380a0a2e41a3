"""What is one for the whole process, by its name in a sentence: a method leaves it as it was, or its row says so.

The harness runs in the process of the method, which can therefore deceive it: give it another clock, put a function
of its own in the place of one of the harness's, move to other cores. Of that, too, traces are looked for here.
"""

from __future__ import annotations

import gc
import locale
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from impls.frameworks.faces import face
from impls.protocol import Framework

FRAMEWORKS: tuple[Framework, ...] = ("numpy", "torch", "jax")
HARNESS = ("bench", "reference", "impls.frameworks")
CLOCKS = ("time", "monotonic", "perf_counter", "process_time", "thread_time", "clock_gettime", "sleep")
_HARNESS = "the harness: "


def of_process() -> dict[str, Any]:
    """Two states of one process can be compared."""
    found: dict[str, Any] = {
        "the state of Python's random numbers": random.getstate(), "the folder": _folder(),
        "the recursion limit": sys.getrecursionlimit(), "the locale": locale.setlocale(locale.LC_ALL),
        "the collector's thresholds": gc.get_threshold(), "whether the collector is on": gc.isenabled(),
        "the clock": [getattr(time, name) for name in CLOCKS],
        "how modules are found": [*map(id, (*sys.meta_path, *sys.path_hooks))],
        "what traces its calls": (sys.gettrace(), sys.getprofile()),
        "what is done about signals": [signal.getsignal(number) for number in sorted(signal.valid_signals())]}
    found |= {f"the variable {name}": value for name, value in os.environ.items()}
    found |= {f"{_HARNESS}{name}": value for name, value in _harness()}
    if hasattr(os, "sched_getaffinity"):
        found |= {"its cores": os.sched_getaffinity(0),
                  "its priority": (os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0))}
    for framework in FRAMEWORKS:
        if framework in sys.modules:
            found |= face(framework).state()
    return found


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The names of what was changed. A module of the harness that was imported in between is none of it."""
    return [name for name in {**before, **after} if before.get(name) != after.get(name)
            and (name in before or not name.startswith(_HARNESS))]


def _folder() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it has been removed
        return ""


def _harness() -> Iterator[tuple[str, Any]]:
    """Its functions and methods, and their code; by the names under which they are called."""
    for name, module in list(sys.modules.items()):
        if name in HARNESS or name.startswith(tuple(f"{part}." for part in HARNESS)):
            yield from _functions(name, vars(module))


def _functions(owner: str, names: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in list(names.items()):
        if isinstance(value, FunctionType):
            yield f"{owner}.{name}", (value, value.__code__)
        elif isinstance(value, type) and value.__module__ == owner:
            yield from _functions(f"{owner}.{name}", dict(vars(value)))
