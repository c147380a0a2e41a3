"""A method leaves no trace: what it measures must not change what comes after."""

from __future__ import annotations

import importlib

import pytest

from impls import Method, names, unsupported
from reference import Request
from reference.case import DType
from tests.gate.checks import cases_for, prepare
from tests.gate.selection import Selection
from tests.gate.state import global_state


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_global_state_is_changed(method: Method, dtype: DType, selection: Selection) -> None:
    """Settings and random generators of the process are, after `prepare` and after the call, what they were before."""
    importlib.import_module(method.framework)  # what a method imports no sooner than here would not be looked at
    options = {"proj_dim": 64} if method.kind == "stochastic" else {}
    request = Request(dtype=dtype, device=selection.device, options=options)
    case = next((case for case in cases_for(method.kind) if unsupported(method, case, request) is None), None)
    if case is None:
        pytest.skip(f"{method.name} supports no case")
    before = global_state()
    compute = prepare(method, case, request)
    assert changed(before) == [], "by prepare"
    compute()
    assert changed(before) == [], "by the call"


def test_unknown_option(method: Method, selection: Selection) -> None:
    """An option that a method does not know is refused (`reference.Request`): a misspelt one would be ignored.

    Those of the registry have to; of another method it is told at the end, and no failure: its kernels are right for
    every option that it does know. What these change is asked for where it can be told: seeds, numbers and
    distributions of projections in their own tests; `batch_size` changes no value, and a method that cannot compute in
    blocks may leave it (`reference.Request`).
    """
    request = Request(device=selection.device, options={"no_such_option": 1})
    case = next((case for case in cases_for(method.kind) if unsupported(method, case, Request()) is None), None)
    if case is None:
        pytest.skip(f"{method.name} supports no case")
    try:
        prepare(method, case, request)()
    except Exception:
        return
    ignored = f"{method.name} takes an option that it does not know, `no_such_option`, and ignores it"
    assert method.name not in names(), ignored
    pytest.xfail(ignored)


def changed(before: dict) -> list[str]:
    after = global_state()
    return [name for name in after if name in before and after[name] != before[name]]
