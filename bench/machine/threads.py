"""How many threads a measurement has, and on which cores: pinned, since more threads than cores slow all of them."""

from __future__ import annotations

import os

import threadpoolctl

from reference import InputError

_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def cores() -> list[int]:
    """The cores that this process may run on."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def check_threads(threads: int) -> None:
    """Raise `InputError` unless this machine can give that many threads a core each."""
    if not 1 <= threads <= len(cores()):
        raise InputError(f"--threads {threads}: this process has {len(cores())} cores; choose 1 to {len(cores())}")


def variables(threads: int) -> dict[str, str]:
    """The environment that the libraries of linear algebra read when they are loaded."""
    return dict.fromkeys(_VARIABLES, str(threads))


def pin(threads: int) -> None:
    """Keep this process to `threads` cores and its loaded libraries to as many threads.

    XLA sizes its pool by the cores that it finds when its backend starts; PyTorch's threads are its OpenMP library's.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores()[:threads])
    threadpoolctl.threadpool_limits(threads)
