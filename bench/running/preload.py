"""Imported once by the fork server, which then forks processes that have the methods' modules already.

Only imports: no array is made, so that no backend of a framework runs before the fork. The modules' names come in the
variable `VARIABLE`, separated by commas.
"""

from __future__ import annotations

import gc
import importlib
import os

from bench.running import bound

VARIABLE = "NTK_BENCH_PRELOAD"
PARENT = "NTK_BENCH_PARENT"
"""The number of the process that starts the server, with which it ends."""

SERVER = os.getpid()
if PARENT in os.environ:
    bound.end_with(int(os.environ[PARENT]))

for name in filter(None, os.environ.get(VARIABLE, "").split(",")):
    try:
        importlib.import_module(name)
    except Exception:  # a method that cannot be imported says so in its own row, where it is loaded again
        continue

gc.collect()  # once for all processes: each would take a quarter of a second, and a copy of every page, to look at
gc.freeze()   # what is there now, which stays

if PARENT in os.environ:
    bound.serve(int(os.environ[PARENT]))
