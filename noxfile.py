"""Every task of the project: `nox -l` lists them. Each session makes its own environment and installs what it needs."""

from __future__ import annotations

import os

import nox

nox.needs_version = ">=2024.4"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True

# More workers than this gain little: the gate is bound by the slowest compilations.
WORKERS = str(min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 8))

# One thread a worker: two OpenMP threads on two busy cores turned 1 ms into 56 ms.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def install(session: nox.Session, extra: str = "all") -> None:
    """The project with the versions that CI proves, and the packages whose declared dependencies would break it."""
    session.install("-c", "constraints.txt", "-e", f".[{extra}]")
    session.install("--no-deps", "-r", "requirements-nodeps.txt")


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff."""
    session.install("-c", "constraints.txt", "ruff")
    session.run("ruff", "check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Pyright, with every framework present."""
    install(session)
    session.install("-c", "constraints.txt", "pyright[nodejs]", "nox")  # Node.js as a wheel: pip alone suffices
    session.run("pyright")


@nox.session
def tests(session: nox.Session) -> None:
    """The gate and the tests of everything else; ARGS go to pytest."""
    install(session)
    args = session.posargs or ["-n", WORKERS]
    session.run("pytest", *args, env=ONE_THREAD)


@nox.session
def mutants(session: nox.Session) -> None:
    """Methods with one mistake each against the gate; prints the kill table and writes docs/mutants.md."""
    install(session)
    session.run("python", "-m", "tests.mutants", *session.posargs, env=ONE_THREAD)


@nox.session
def mutation(session: nox.Session) -> None:
    """The comparison, the gate and the closed form mutated line by line (mutmut); writes docs/mutation.md."""
    install(session)
    session.install("-c", "constraints.txt", "mutmut")
    session.run("python", "-m", "tests.mutation", *session.posargs, env=ONE_THREAD)


@nox.session
def laws(session: nox.Session) -> None:
    """Every method to every law on 100 random networks of each family: an hour; ARGS go to pytest, e.g. --laws-seed."""
    install(session)
    session.run("pytest", "tests/gate/test_laws.py", "--laws-examples", "100", "-n", WORKERS, *session.posargs,
                env=ONE_THREAD)


@nox.session
def bench(session: nox.Session) -> None:
    """Benchmark every method; ARGS go to `python -m bench run`."""
    install(session)
    session.run("python", "-m", "bench", "run", *session.posargs)


@nox.session
def microbench(session: nox.Session) -> None:
    """The same cells under pytest-benchmark, saved as JSON under .benchmarks/; ARGS go to pytest."""
    install(session)
    session.run("pytest", "bench/suites/microbench.py", "--benchmark-autosave", *session.posargs, env=ONE_THREAD)


@nox.session
def asv(session: nox.Session) -> None:
    """airspeed velocity over commits, e.g. `nox -s asv -- continuous HEAD~1 HEAD`."""
    session.install("-c", "constraints.txt", "asv", "virtualenv")
    session.run("asv", "machine", "--yes")  # or it asks on the terminal what this machine is
    session.run("asv", *(session.posargs or ["run", "--quick", "HEAD^!"]), env=ONE_THREAD)


@nox.session
def kernels(session: nox.Session) -> None:
    """Prove every reference kernel anew and write it to reference/kernels/; with `-- --check`, only compare."""
    session.install("-c", "constraints.txt", "-e", ".")
    session.run("python", "-m", "reference", "regenerate", *session.posargs)


@nox.session
def false_alarms(session: nox.Session) -> None:
    """How often the gate fails a right random method: simulate it, write tests/records/false_alarms.json (minutes)."""
    install(session)
    session.run("python", "-m", "tests.records.false_alarms", *session.posargs, env=ONE_THREAD)
