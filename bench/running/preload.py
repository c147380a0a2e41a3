"""Imported once by the fork server, which then forks processes that have the methods' modules already.

Only imports: no array is made, so that no backend of a framework runs before the fork. The modules' names come in the
variable `VARIABLE`, separated by commas.
"""

from __future__ import annotations

import importlib
import os

VARIABLE = "NTK_BENCH_PRELOAD"

for name in filter(None, os.environ.get(VARIABLE, "").split(",")):
    try:
        importlib.import_module(name)
    except Exception:  # a method that cannot be imported says so in its own row, where it is loaded again
        continue
