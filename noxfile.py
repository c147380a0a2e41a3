"""Every task of the project: `nox -l` lists them. Each session makes its own environment and installs what it needs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.4"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
MEMORY_GIB = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if hasattr(os, "sysconf") else 16.0

# What a worker holds by the end of a whole run: JAX keeps the programs that it compiled.
WORKER_GIB = 5.0


def workers(wanted: int) -> str:
    """As many as the memory holds. More than eight gain little: the gate is bound by the slowest compilations."""
    return str(max(1, min(wanted, int(MEMORY_GIB / WORKER_GIB), 8)))


# The gate computes. Of the other tests many wait, for runs, kills and clusters, at the beginning of the first worker's
# share: one worker more than there are cores has something to do there meanwhile.
WORKERS, WORKERS_THAT_WAIT = workers(CORES), workers(CORES + 1)

# Each worker begins with a share of its own, where the tests of one method on one case, which share what was compiled,
# stand side by side.
SHARED_OUT = ["--dist", "worksteal"]

# One thread a worker: two OpenMP threads on two busy cores turned 1 ms into 56 ms.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

# The import hook that checks shapes has compiled files of its own for all that is imported under it, PyTorch too: where
# they may not be written, each of the many processes of the tests compiles it anew, for 10 s.
TESTING = {**ONE_THREAD, "PYTHONDONTWRITEBYTECODE": ""}


# The first and the last releases that pyproject.toml claims (tests/test_versions.py holds the two together); what a
# line does not name is as in constraints.txt. To claim another release of PyTorch, name it here: its build for the CPU
# comes from PyTorch's own index, and the one that pip finds elsewhere brings gigabytes of CUDA.
VERSIONS = {
    "lowest": {"jax": "0.8.0", "jaxlib": "0.8.0", "flax": "0.12.0", "torch": "2.13.0"},
    "newest": {"jax": "0.10.2", "jaxlib": "0.10.2", "torch": "2.13.0"},
    "newest_jax": {"jax": "0.11.2", "jaxlib": "0.11.2", "flax": "0.12.12", "torch": "2.13.0"},
}

# "newest" is what constraints.txt has for every Python that is claimed; JAX 0.11 wants a later one.
NEEDS_PYTHON = {"newest_jax": (3, 12)}


def install(session: nox.Session, extra: str = "all", constraints: str = "constraints.txt") -> None:
    """The project with the versions that CI proves, and the packages whose declared dependencies would break it."""
    session.install("-c", constraints, "-e", f".[{extra}]")
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
    """The gate and the tests of everything else; ARGS go to pytest. The optional packages have to be there."""
    install(session)
    args = session.posargs or ["-n", WORKERS_THAT_WAIT, *SHARED_OUT]
    session.run("pytest", "--require-all", *args, env=TESTING)


@nox.session
@nox.parametrize("versions", [name for name in VERSIONS if sys.version_info >= NEEDS_PYTHON.get(name, (3, 11))])
def tests_versions(session: nox.Session, versions: str) -> None:
    """The gate on the first and on the last JAX and PyTorch that pyproject.toml claims; ARGS go to pytest.

    The last JAX, 0.11, is offered where nox runs on Python 3.12 or later.
    """
    install(session, constraints=_constraints(session, VERSIONS[versions]))
    session.run("python", "-m", "pip", "list")
    args = session.posargs or ["-n", WORKERS, *SHARED_OUT]
    session.run("pytest", "tests/gate", "--require-all", *args, env=TESTING)


def _constraints(session: nox.Session, pins: dict[str, str]) -> str:
    """constraints.txt with these versions in place of its own; the path of the file."""
    lines = [line for line in Path("constraints.txt").read_text().splitlines() if line.partition("==")[0] not in pins]
    path = Path(session.create_tmp(), "constraints.txt")
    path.write_text("\n".join([*lines, *(f"{name}=={version}" for name, version in pins.items())]) + "\n")
    return str(path)


@nox.session
def mutants(session: nox.Session) -> None:
    """Methods with one mistake each against the gate, minutes; writes docs/mutants.md; ARGS: patterns of names."""
    install(session)
    session.run("python", "-m", "tests.mutants", *session.posargs, env=ONE_THREAD)


@nox.session
def agreement(session: nox.Session) -> None:
    """Every way of predicting by every other, two minutes; writes docs/prediction.md and the table of the README."""
    install(session)
    session.run("python", "-m", "tests.studies.prediction.table", env=ONE_THREAD)


@nox.session
def coverage(session: nox.Session) -> None:
    """Every operation of the frameworks in a small network, by the structured engines; writes docs/coverage.md."""
    install(session)
    session.run("python", "-m", "tests.coverage", env=ONE_THREAD)


@nox.session
def mutation(session: nox.Session) -> None:
    """The comparison, the gate and the closed form mutated line by line (mutmut), hours; writes docs/mutation.md."""
    install(session)
    session.install("-c", "constraints.txt", "mutmut")
    session.run("python", "-m", "tests.mutation", *session.posargs, env=ONE_THREAD)


@nox.session
def laws(session: nox.Session) -> None:
    """Every method to every law on 100 random networks of each family: an hour; ARGS go to pytest, e.g. --laws-seed."""
    install(session)
    session.run("pytest", "tests/gate/test_laws.py", "--laws-examples", "100", "-n", WORKERS, *session.posargs,
                env=TESTING)


@nox.session
def models(session: nox.Session) -> None:
    """Networks of other packages, by each engine and a loop, an hour; writes docs/models.md; ARGS: their names."""
    install(session)
    session.install("--no-deps", "-r", "tests/models/requirements.txt")
    session.run("python", "-m", "tests.models", *session.posargs, env={**ONE_THREAD, "HF_HUB_OFFLINE": "1"})


@nox.session
def bench(session: nox.Session) -> None:
    """Benchmark every method; ARGS go to `python -m bench run`."""
    install(session)
    session.run("python", "-m", "bench", "run", *session.posargs)


@nox.session
def two_names(session: nox.Session) -> None:
    """How often a ranking tells one method from itself; ARGS: quiet (while nothing else runs), busy, or show."""
    install(session)
    session.run("python", "-m", "bench.commands.two_names", *(session.posargs or ["show"]))


@nox.session
def sweep(session: nox.Session) -> None:
    """Kernels of coordinate networks, minutes, written to results/sweep/; ARGS go to `python -m studies sweep`."""
    install(session)
    session.run("python", "-m", "studies", "sweep", *(session.posargs or ["examples/sweep.toml"]))


@nox.session
def microbench(session: nox.Session) -> None:
    """The cells of asv under pytest-benchmark, two minutes, saved under .benchmarks/ and compared with the last.

    ARGS: --threshold 20%, and pytest's own, e.g. -k structured; NTK_BENCH_SUITES=all asks for every cell, hours.
    """
    install(session)
    session.run("python", "-m", "bench.suites.saved", *session.posargs, env=ONE_THREAD)


@nox.session
def asv(session: nox.Session) -> None:
    """airspeed velocity over commits, minutes for each, e.g. `nox -s asv -- continuous HEAD~1 HEAD`.

    NTK_BENCH_SUITES=all asks for every cell, a day; `upgrade COMMIT ENVIRONMENT ENVIRONMENT` compares two versions.
    """
    session.install("-c", "constraints.txt", "asv", "virtualenv")
    # Or it asks on the terminal what this machine is; with --yes it answers its questions itself, and prints them.
    session.run("asv", "machine", "--yes", silent=True)
    session.run("python", "bench/suites/commits.py", *(session.posargs or ["run", "HEAD^!"]), env=ONE_THREAD)


@nox.session
def alarms(session: nox.Session) -> None:
    """How often `asv continuous` is wrong: 20 commits that change nothing and one that slows a method, an hour.

    ARGS: --no-ops 20, --plants 1, --slower 0.3, --environments DIR.
    """
    session.install("-c", "constraints.txt", "asv", "virtualenv")
    session.run("python", "-m", "tests.bench.suites.alarms", *session.posargs, env=ONE_THREAD)


@nox.session
def calibrate(session: nox.Session) -> None:
    """The alarm of `bench compare` on this machine, idle and beside a load, an hour; writes docs/calibration.md."""
    install(session)
    for name, load in (("quiet", []), ("busy", ["--load"])):
        session.run("python", "-m", "bench.compare.calibration", "record", f"results/{name}.jsonl", *session.posargs,
                    *load)
    session.run("python", "-m", "bench.compare.calibration", "judge", "quiet=results/quiet.jsonl",
                "busy=results/busy.jsonl")


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
