"""What is switched on around a method does not enter its kernel: no_grad, autocast, default dtypes, the environment."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from impls import Method
from reference import Case, Request
from reference.case import DType, Outputs
from tests.gate.calls import Kept, given
from tests.gate.checks import copied, skip_unsupported
from tests.gate.drawn import Draws, told
from tests.gate.selection import Selection
from tests.gate.surroundings import MAY_REFUSE, surroundings
from tests.gate.test_calls import small_case
from tests.gate.test_independence import plain_request

ROOT = Path(__file__).parents[2]


def test_surroundings(method: Method, selection: Selection) -> None:
    """Prepared and called inside; and prepared outside, called inside. In every second one with float32."""
    draw, kept = Draws(selection.gate_seed, f"surroundings {method.name}"), Kept(method)
    case = small_case(draw)
    found = surroundings(method.framework)
    if not selection.alone and method.framework == "jax":
        found = dict([draw.one_of(*found.items())])
    for i, (what, around) in enumerate(found.items()):
        for dtype in get_args(DType)[:: 1 if i % 2 else -1][: 2 if selection.alone else 1]:
            request = replace(plain_request(method, selection), dtype=dtype, outputs=draw.one_of(*get_args(Outputs)))
            skip_unsupported(method, case, request)
            with told(f"under {what}", selection.gate_seed):
                calls = given(method, copied(case), request)
                first = kept.hold("prepared and called outside", calls(), case, request)
                for how, prepared in (("prepared and called", None), ("prepared outside, called", calls)):
                    try:
                        with around():
                            kernel = (prepared or given(method, copied(case), request))()
                    except Exception:
                        if what not in MAY_REFUSE:
                            raise
                        continue
                    kept.hold(f"{how} inside, in {dtype}", kernel, case, request, first)


def test_a_process_of_its_own(method: Method, selection: Selection) -> None:
    """As its users run it: no test around, nothing computed before. For a method that is tried alone."""
    if not selection.alone or selection.spec is None:
        pytest.skip("where many methods are tried, the benchmark's tests run them in processes of their own")
    draw, kept = Draws(selection.gate_seed, "process"), Kept(method)
    case, request = small_case(draw), plain_request(method, selection)
    skip_unsupported(method, case, request)
    with told("in a process of its own", selection.gate_seed):
        there = _elsewhere(selection.spec, case, request)
        due = None if method.kind == "exact" else kept.hold("here", given(method, case, request)(), case, request)
        kept.hold("there", there, case, request, due)


def _elsewhere(spec: str, case: Case, request: Request) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        asked, kernel = Path(folder, "asked"), Path(folder, "kernel.npy")
        asked.write_bytes(pickle.dumps((spec, case, request)))
        child = subprocess.run([sys.executable, "-m", "tests.gate.alone", asked, kernel], cwd=ROOT,
                               capture_output=True, text=True)
        assert child.returncode == 0, f"it ended with status {child.returncode}: {child.stderr.strip()[-2000:]}"
        return np.load(kernel)
