"""Right methods that end the process, with the exit status of success: the gate must not be taken for passed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from impls.protocol import Framework, Kind
from reference import Case, Request
from tests.planted.exact import planted, right


@planted
def IN_THE_CALL(case: Case, request: Request) -> np.ndarray:
    os._exit(0)
    return right(case, request)


@dataclass(frozen=True)
class EndsInPrepare:
    name: str = "planted.IN_PREPARE"
    framework: Framework = "numpy"
    kind: Kind = "exact"

    def prepare(self, case: Case, request: Request) -> Callable[[], np.ndarray]:
        os._exit(0)
        return lambda: right(case, request)


IN_PREPARE = EndsInPrepare()
