"""airspeed velocity: time, peak memory and error of one kernel, methods × widths.

The steady state is timed: the first call, which traces and compiles, belongs to the set-up.
"""

from __future__ import annotations

import math

import impls
from bench.truth.check import check

from .cells import PROFILE, Skip, prepare


class Kernel:
    """One kernel of digits, full, float32, x2 = x1, on one thread."""

    params = (impls.names(), PROFILE.widths)
    param_names = ("method", "width")
    timeout = 120
    warmup_time = 0  # the set-up has made the first call
    repeat = (1, 10, 2.0)  # at least, at most, seconds
    rounds = 2

    def setup(self, method: str, width: int) -> None:
        try:
            self.prepared = prepare(method, width)
        except Skip as reason:
            print(reason)  # asv keeps what a set-up prints beside the cell
            raise NotImplementedError(str(reason)) from reason

    def time_kernel(self, method: str, width: int) -> None:
        self.prepared.call()

    def peakmem_kernel(self, method: str, width: int) -> None:
        """Of the whole process, frameworks included: asv knows no baseline."""
        self.prepared.call()

    def track_error(self, method: str, width: int) -> float:
        """The error as the gate normalises it; NaN, which asv shows as failed, where the kernel is wrong."""
        prepared = self.prepared
        verdict = check(prepared.kernel(), prepared.truth, prepared.cell, prepared.kind, n_checks=1)
        if verdict["status"] != "ok":
            print(verdict["reason"])
            return math.nan
        return verdict["error"]

    track_error.unit = "1"  # pyright: ignore[reportFunctionMemberAccess]
