"""The gate's parametrization: `check` is one cell of the matrix, `method` a method, `pair` a method on a case
(`stochastic_pair`: of the stochastic methods only; `stochastic_case`: on every case; `stochastic_few`: on a few;
`limit_case`: a limit method on the cases of its rate), `exact_method`, `stochastic_method` and `limit_method` one of
that kind, `registered` a method of the registry."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast, get_args

import pytest

from impls import names
from impls.protocol import Kind, Method
from reference import Case
from tests.gate.checks import CHOOSERS, Check, cases_for, cases_for_pairs, checks, is_due
from tests.gate.compilation import drop_many_programs, fitting_optimizations
from tests.gate.known_wrong import expected_failure
from tests.gate.limit_rate import rate_cases
from tests.gate.quantities import QuantityCheck, quantity_checks
from tests.gate.selection import SELECTION, Selection
from tests.gate.shares import OF_CHOOSERS, is_drawn, share_of
from tests.gate.stochastic import few_cases
from tests.gate.summary import Tag

PAIRS = ("pair", "stochastic_pair", "stochastic_case", "stochastic_few", "limit_case")
"""Fixtures whose value is a method and a case."""

METHODS: dict[str, tuple[Kind, ...]] = {
    "method": get_args(Kind), "exact_method": ("exact",), "stochastic_method": ("stochastic",),
    "limit_method": ("limit",)}
"""Fixtures whose value is a method, of these kinds."""


def pytest_configure(config: pytest.Config) -> None:
    """The marks of pyproject.toml, for a run under another configuration."""
    for marker in ("many_projections", "against_the_truth"):
        config.addinivalue_line("markers", f"{marker}: see pyproject.toml")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    selection = metafunc.config.stash[SELECTION]
    if "check" in metafunc.fixturenames:
        cells = [check for method in selection.methods.values() for check in checks(method.name, method.kind)]
        metafunc.parametrize("check", cells, ids=[check.id for check in cells])
    for fixture in PAIRS:
        if fixture in metafunc.fixturenames:
            kind = fixture.partition("_")[0]  # "pair": of every kind
            methods = [method for method in selection.methods.values() if kind in ("pair", method.kind)]
            pairs = [(method, case) for method in methods for case in _cases_of(fixture, method, selection)]
            metafunc.parametrize(fixture, pairs, ids=[f"{method.name}-{case.name}" for method, case in pairs])
    for fixture, kinds in METHODS.items():
        if fixture in metafunc.fixturenames:
            methods = [method for method in selection.methods.values() if method.kind in kinds]
            metafunc.parametrize(fixture, methods, ids=[method.name for method in methods])
    if "registered" in metafunc.fixturenames:
        registered = [method for name, method in selection.methods.items() if name in names()]
        metafunc.parametrize("registered", registered, ids=[method.name for method in registered])
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", selection.all_names)
    if "quantity_check" in metafunc.fixturenames:
        asked = quantity_checks(selection)
        metafunc.parametrize("quantity_check", asked, ids=[check.id for check in asked])
    if "of_quantity" in metafunc.fixturenames:
        each = [(method, quantity) for quantity, found in selection.others.items() for method in found.values()]
        metafunc.parametrize("of_quantity", each, ids=[f"{method.name}-{quantity}" for method, quantity in each])


def _cases_of(fixture: str, method: Method, selection: Selection) -> Sequence[Case]:
    if fixture == "stochastic_few":
        return few_cases(method, selection.device)
    if fixture == "limit_case":
        return rate_cases()
    return cases_for(method.kind) if fixture == "stochastic_case" else cases_for_pairs(method.kind)


def _is_left_out(item: pytest.Item, tag: Tag, selection: Selection) -> bool:
    if selection.alone:
        return False
    if tag.is_check:
        check = cast(Check, cast(pytest.Function, item).callspec.params["check"])
        unchosen = check.method in CHOOSERS and not is_drawn(f"{check.method} {check.case.name}", OF_CHOOSERS,
                                                            selection.gate_seed)
        return unchosen or not is_due(check, selection.methods[tag.method], selection.gate_seed)
    method = selection.methods.get(tag.method)  # of other kernels alone it has none
    share = share_of(item.path.stem, cast(pytest.Function, item).originalname, tag.method,
                     None if method is None else method.framework)
    return not is_drawn(item.nodeid, share, selection.gate_seed)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tag the gate's tests for the summary, and put those of one method on one case side by side.

    What a method compiled, and what a truth cost, then serves the next test too, which pytest-xdist gives to the same
    worker as a rule. Tests of no case come last: where a kernel is wrong, its values say so most plainly.
    """
    gate = [item for item in items if Path(__file__).parent in item.path.parents]
    tagged = [(tag, item) for item in gate if (tag := _tag(item)) is not None]  # None: parametrized over nothing
    for tag, item in tagged:
        tag.attach(item)
        if (mark := _expected_failure(item)) is not None:
            item.add_marker(mark)
    left_out = [item for tag, item in tagged if _is_left_out(item, tag, config.stash[SELECTION])]
    config.hook.pytest_deselected(items=left_out)
    gone = set(left_out)
    tagged = [(tag, item) for tag, item in tagged if item not in gone]
    tagged.sort(key=lambda pair: (pair[0].method, pair[0].case is None, pair[0].case or ""))
    items[:] = [item for item in items if item not in gate] + [item for _, item in tagged]


def _expected_failure(item: pytest.Item) -> pytest.MarkDecorator | None:
    assert isinstance(item, pytest.Function)
    params, device = item.callspec.params, item.config.stash[SELECTION].device
    if isinstance(check := params.get("check"), Check):
        return expected_failure(check.method, check.case, check.dtype, device)
    if item.get_closest_marker("against_the_truth"):
        method, case = cast("tuple[Method, Case]", params["pair"])
        return expected_failure(method.name, case, "float64", device)
    return None


def _tag(item: pytest.Item) -> Tag | None:
    assert isinstance(item, pytest.Function)
    for fixture, value in item.callspec.params.items():
        if isinstance(value, Check):
            return Tag(value.method, value.case.name, is_check=True)
        if isinstance(value, QuantityCheck):
            return Tag(value.method, value.case.name, is_check=False)
        if fixture == "of_quantity" and isinstance(value, tuple):
            return Tag(value[0].name, None, is_check=False)
        if isinstance(value, tuple) and fixture in PAIRS:
            return Tag(value[0].name, value[1].name, is_check=False)
        if isinstance(value, Method):
            return Tag(value.name, None, is_check=False)
        if fixture == "name" and isinstance(value, str):
            return Tag(value, None, is_check=False)
    return None


@pytest.fixture(scope="session")
def selection(request: pytest.FixtureRequest) -> Selection:
    return request.config.stash[SELECTION]


@pytest.fixture(autouse=True)
def few_programs_in_memory(request: pytest.FixtureRequest, selection: Selection) -> None:
    """Drop what JAX compiled, where it is much, when the tests of a method on a case are over."""
    tag = _tag(request.node)
    if tag is not None and selection.under_test != (tag.method, tag.case):
        selection.under_test = (tag.method, tag.case)
        drop_many_programs()


@pytest.fixture(autouse=True)
def quick_compilation(request: pytest.FixtureRequest, selection: Selection) -> Iterator[None]:
    """See `tests.gate.compilation`; nothing with --optimized."""
    tag = _tag(request.node)
    method = None if tag is None else selection.method(tag.method)
    if method is None or request.config.option.optimized:
        yield
        return
    with fitting_optimizations(method, many_projections=bool(request.node.get_closest_marker("many_projections"))):
        yield


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> Iterator[None]:
    """Two threads on two busy cores turned 1 ms into 56 ms; the fixture is for those methods that use PyTorch."""
    if (torch := sys.modules.get("torch")) is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
