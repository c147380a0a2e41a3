"""A load on every core, beside which measurements are tried: products and copies, which take the caches too."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bench.machine.threads import cores, variables

_BURN = """
import os, sys
import numpy as np
core, parent = map(int, sys.argv[1:])
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {core})
matrix = np.random.default_rng(core).standard_normal((512, 512))
while os.getppid() == parent:
    matrix = np.tanh(matrix @ matrix.T / 512).copy()
"""


@contextmanager
def load() -> Iterator[list[subprocess.Popen[bytes]]]:
    """A process on each core that is never done; it ends with this one, however that ends."""
    command, alone = [sys.executable, "-c", _BURN], os.environ | variables(1)
    started = [subprocess.Popen([*command, str(core), str(os.getpid())], env=alone) for core in cores()]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()
