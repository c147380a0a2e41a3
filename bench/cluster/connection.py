"""A Dask cluster by its name: ``local:N``, ``slurm:N``, or the address of a scheduler."""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from reference import InputError

CELL = "cell"
"""The resource of which each worker has one and each cell and each tile takes one, so that none meets another."""

SETTINGS = {"distributed.worker.daemon": False, "distributed.scheduler.allowed-failures": 0}
"""A daemon may start no processes, and a cell has its own. `bench.cluster.line` knows what to do when a worker dies."""

_PROLOGUE = ["export DASK_DISTRIBUTED__WORKER__DAEMON=False"]
_WORKER = f"dask worker ADDRESS --nthreads 1 --nworkers 1 --memory-limit 0 --resources {CELL}=1"
_REMEDY = f"start each, one a machine, by {' '.join(['DASK_DISTRIBUTED__WORKER__DAEMON=False', _WORKER])}"
STARTED = ("local", "slurm")
"""Kinds that are started here and end with the run."""

ANY_PORT = "127.0.0.1:0"
"""Of the scheduler's pages, which it serves in any case: two runs of one machine do not meet."""
_START_S = 120
"""How long to wait for the first worker."""


@contextmanager
def connected(name: str) -> Iterator[Any]:
    """The `distributed.Client` of that cluster; a cluster that this starts, ends with it. Raises `InputError`."""
    dask, distributed = _libraries()
    kind, number = check_name(name)
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(SETTINGS))
        address = stack.enter_context(_started(kind, number)) if kind in STARTED else name
        security = distributed.Security(require_encryption=True) if name.startswith("tls") else None
        try:
            client = stack.enter_context(distributed.Client(address, security=security, timeout="20s"))
            client.wait_for_workers(1, timeout=_START_S)
        except (OSError, TimeoutError) as error:
            raise InputError(f"--cluster {name}: no scheduler with a worker answers there ({error})") from error
        check_workers(client.scheduler_info(n_workers=-1)["workers"], of_one_machine=kind == "local")
        yield client


def check_workers(workers: dict[str, Any], *, of_one_machine: bool) -> None:
    """Raise `InputError` unless each measures one cell at a time, and on a machine of its own unless that is meant."""
    without = [address for address, worker in workers.items() if worker["resources"].get(CELL) != 1]
    if without:
        raise InputError(f"the workers {', '.join(without)} have no resource {CELL}=1, so that cells would be measured "
                         f"beside others; {_REMEDY}")
    hosts = [worker["host"] for worker in workers.values()]
    if not of_one_machine and (shared := sorted({host for host in hosts if hosts.count(host) > 1})):
        raise InputError(f"several workers run on {', '.join(shared)}, where cells would disturb each other; {_REMEDY}")


def check_can_start_processes() -> None:
    """In a worker. Raises `InputError`."""
    if multiprocessing.current_process().daemon:
        raise InputError(f"this worker may not start the processes of cells; {_REMEDY}")


def check_name(name: str) -> tuple[str, int]:
    """Its kind, and of one that is to be started the number of workers. Raises `InputError` for what is none."""
    kind, _, number = name.partition(":")
    if kind in STARTED:
        if not (number or "1").isdecimal() or int(number or "1") < 1:
            raise InputError(f"--cluster {name!r}: {number!r} is no number of workers")
        return kind, int(number or "1")
    if not re.fullmatch(r"(tcp|tls)://.+:\d+", name):
        raise InputError(f"--cluster {name!r} is none of local:N, slurm:N, tcp://HOST:PORT and tls://HOST:PORT")
    return kind, 0


@contextmanager
def _started(kind: str, workers: int) -> Iterator[str]:
    settings: dict[str, Any] = {"memory_limit": 0, "threads_per_worker": 1, "dashboard_address": None}
    if kind == "local":
        from distributed import LocalCluster

        cluster: Any = LocalCluster(n_workers=workers, processes=True, resources={CELL: 1}, **settings,
                                    scheduler_kwargs={"dashboard_address": ANY_PORT})
    else:
        cluster = slurm()
        cluster.scale(jobs=workers)
    with cluster:
        yield cluster.scheduler_address


def slurm() -> Any:
    """One worker a job; queue, account, cores, memory and time are those of the user's dask configuration
    (``jobqueue.slurm``)."""
    from dask_jobqueue.slurm import SLURMCluster

    return SLURMCluster(processes=1, worker_extra_args=["--resources", f"{CELL}=1", "--memory-limit", "0"],
                        job_script_prologue=_PROLOGUE)


def _libraries() -> tuple[Any, Any]:
    try:
        import dask
        import distributed
    except ModuleNotFoundError as error:
        raise InputError("--cluster needs the extra 'cluster', as in: pip install -c constraints.txt "
                         '".[torch,bench,cluster]"') from error
    return dask, distributed
