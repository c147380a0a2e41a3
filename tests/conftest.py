"""Options of the gate, and the runtime check of array shapes for every test.

The options stand here, not in tests/gate/, because pytest reads them only from the conftest files above its arguments:
both `pytest tests/gate --impl …` (from any directory) and a plain `pytest` find this one.
"""

from __future__ import annotations

import argparse
import gc
import secrets
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.shapes import check_shapes

check_shapes()  # before anything imports the modules that it is about

from tests.bench.command import write_files  # noqa: E402
from tests.gate import supervision  # noqa: E402
from tests.gate.compilation import few_optimizations, set_xla_flags  # noqa: E402
from tests.gate.selection import SELECTION, Selection  # noqa: E402
from tests.gate.summary import GateSummary  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gate", "the gate: every method against the proved kernels")
    group.addoption("--impl", metavar="METHOD",
                    help="hold this method alone against the gate: a name of the registry, or FILE.py:OBJECT")
    group.addoption("--frameworks", metavar="NAMES", default="jax,torch,numpy",
                    help="comma-separated; methods of other frameworks are left out (default: %(default)s)")
    group.addoption("--require-all", action="store_true",
                    help="methods of optional packages have to be installed as well")
    group.addoption("--device", choices=("cpu", "cuda"), default="cpu",
                    help="where the methods run (default: %(default)s)")
    group.addoption("--optimized", action="store_true",
                    help="let JAX compile with all optimizations, as its users do: twice the time")
    group.addoption("--laws-examples", metavar="N", type=int,
                    help="hold every method to every law on N random networks of each family (default: few of each)")
    group.addoption("--laws-seed", metavar="SEED", type=int, default=0,
                    help="which random networks are drawn (default: %(default)s)")
    group.addoption("--gate-seed", metavar="SEED", type=int,
                    help="what the gate draws at each run: sizes, networks, weights (default: another each time)")
    group.addoption(supervision.OPTION, action="store_true", help=argparse.SUPPRESS)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    return supervision.run_in_child(config) if supervision.is_due(config) else None


def pytest_configure(config: pytest.Config) -> None:
    gc.set_threshold(50_000, 20, 100)  # already while all modules are imported: a tenth of the collection's time
    if not config.option.optimized:
        set_xla_flags()
    given = getattr(config, "workerinput", {}).get("gate_seed", config.option.gate_seed)
    config.option.gate_seed = secrets.randbelow(2**32) if given is None else given
    config.stash[SELECTION] = Selection.from_options(config)
    if not hasattr(config, "workerinput"):  # the workers of pytest-xdist report to the controller, which counts
        config.pluginmanager.register(GateSummary(config.stash[SELECTION]), "gate-summary")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """To each worker of pytest-xdist the seed of the controller: all have to collect the same tests."""
    node.workerinput["gate_seed"] = node.config.option.gate_seed


def pytest_report_header(config: pytest.Config) -> str:
    return f"what the gate draws: --gate-seed {config.option.gate_seed}"


def pytest_collection_finish() -> None:
    """Tell the garbage collector of what lives as long as the run, or it looks at all of it each time a program is
    traced: an eighth of the gate's time."""
    if gc.get_freeze_count():  # in a run within this one, of the gate's own tests
        return
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def bench_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with methods, models and inputs to name on the command line of `python -m bench`."""
    folder = tmp_path_factory.mktemp("files")
    write_files(folder)
    return folder


@pytest.fixture(scope="module")
def quick_compilation_of_module(request: pytest.FixtureRequest) -> Iterator[None]:
    """As the gate has it, for modules that compile much and compute little; nothing with --optimized."""
    with nullcontext() if request.config.option.optimized else few_optimizations():
        yield


@pytest.fixture
def separated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the costs, the engines contract separable cotangents as such wherever they can."""
    from impls.structured import planner  # here: every run of the gate loads this file

    possible = planner.possible_ways

    def only(product: planner.Product, task: planner.Task) -> tuple[planner.Way, ...]:
        return ("separable",) if product.separable else possible(product, task)

    monkeypatch.setattr(planner, "possible_ways", only)
