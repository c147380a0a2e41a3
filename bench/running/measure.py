"""One cell, measured in a process of its own: set-up, first call, steady state, memory, then whether it was right."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter  # by this name, as a method may put another clock into the module
from typing import Any

import numpy as np

import impls
from bench.cells import bounds
from bench.cells.cases import CaseSource
from bench.cells.methods import load_method
from bench.machine.meter import Meter
from bench.records.record import Cell, Send
from bench.running.anew import Anew
from bench.running.conduct import Conduct
from bench.running.floor import least_seconds
from bench.running.peak import Peak
from bench.running.worker import describe
from bench.truth.check import check
from bench.truth.truth import Truth
from impls import Array, MethodNotInstalled
from impls.frameworks.arrays import block_until_ready, is_plain, to_numpy
from impls.frameworks.faces import face
from impls.given.user_network import UserNetwork
from impls.protocol import Kind
from reference import Case, Request

MAX_SAMPLES = 30

QUIET_S = 0.2
"""Between two messages to the parent, which wakes up for each and takes time of a core from the calls that follow."""


@dataclass(frozen=True, eq=False)
class Job:
    """All that a process needs to measure a cell."""

    cell: Cell
    source: CaseSource
    truth: Truth
    impl: str | None
    """``FILE.py:OBJECT``, for a method that is not in the registry."""
    steady_s: float
    """The steady state is sampled until calls have taken this long, at least once."""
    n_checks: int
    """Stochastic cells of the run, which share its rate of false alarms."""


def measure(send: Send, job: Job) -> dict[str, Any]:
    """The fields of a `Record` that the measurement gives; what is known on the way goes through `send`."""
    send("import", {})
    try:
        method = load_method(job.cell.method, job.impl)
    except MethodNotInstalled as error:
        return {"status": "not_installed", "reason": str(error)}
    send("building the case", {"kind": method.kind})
    case, request = job.source.build(), request_of(job.cell)
    reason = impls.unsupported(method, case, request)
    if reason is not None:
        return {"status": "unsupported", "reason": reason}
    of_framework = face(method.framework)
    meter = Meter()  # before the framework has threads: those that are there already are not counted
    of_framework.wake(job.cell.device)
    of_framework.set_threads(job.cell.threads)
    gc.collect()
    gc.freeze()  # what is there now is kept for good: collecting between the calls stays quick
    peak = Peak(method.framework, job.cell.device)
    least_s = _least_seconds(case, job, method.kind)
    witness = Witness(Anew(case, method.kind, job.cell.seed), Conduct(job.cell.threads), peak.note, meter)

    def prepare() -> Callable[[], Array]:
        return method.prepare(case, request)

    try:
        kernel, fault = _time(send, prepare, witness, job.steady_s, least_s)
    except NotImplementedError as error:
        if not isinstance(case.network, UserNetwork):  # of the described ones a method says beforehand
            raise
        return {"status": "unsupported", "reason": describe(error).reason}
    if method.kind == bounds.KIND:
        return {"status": "ok", "checked_against": "nothing: it computes the products of a kernel, and no kernel"}
    peak_bytes = peak.bytes()
    noticed = "; ".join(filter(None, (witness.conduct.noticed(), peak.remark())))
    send("check", {"peak_bytes": peak_bytes, "kernel_bytes": kernel.nbytes, "noticed": noticed})
    as_given = witness.anew.in_order(kernel)
    del kernel
    verdict = check(as_given, job.truth, job.cell, method.kind, job.n_checks)
    send("another set-up", {})
    verdict |= _judged(verdict["status"], fault, *witness.anew.verdict(prepare))
    untested = witness.anew.untested and f"whether a call computes anew was not tested: {witness.anew.untested}"
    return verdict | {"noticed": "; ".join(filter(None, (noticed, untested)))}


def _judged(status: str, fault: str, kept: str, doubt: str) -> dict[str, str]:
    """What the calls say of a kernel that is right."""
    if fault or kept:
        return {"status": "wrong", "reason": fault or kept}
    return {"status": "undecided", "reason": doubt} if doubt and status == "ok" else {}


def request_of(cell: Cell) -> Request:
    return Request(outputs=cell.outputs, dtype=cell.dtype, device=cell.device, seed=cell.seed,  # pyright: ignore[reportArgumentType]
                   batch_size=cell.batch_size, options=cell.own_options,
                   quantity=cell.quantity)  # pyright: ignore[reportArgumentType]


def _least_seconds(case: Case, job: Job, kind: Kind) -> float:
    """A limit is of no finite network: nothing passes through one."""
    return 0.0 if kind == "limit" or job.cell.device != "cpu" else least_seconds(case, job.cell.threads)


@dataclass
class Witness:
    """What looks on while calls are timed, outside of the time that is taken."""

    anew: Anew
    conduct: Conduct
    note_peak: Callable[[], None]
    meter: Meter


def _time(send: Send, prepare: Callable[[], Callable[[], Array]], witness: Witness, steady_s: float,
          least_s: float) -> tuple[Array, str]:
    """The last kernel, and what was wrong with the way in which it came."""
    send("set-up", {})
    setup_s, compute = _timed(prepare)
    witness.note_peak()
    witness.anew.prepared(compute)
    send("first call", {"setup_s": setup_s})
    first_call_s, kernel = _timed(lambda: _computed(compute()))
    first_call_s += witness.conduct.settle()
    witness.note_peak()
    witness.anew.called_first(kernel)
    send("steady state", {"first_call_s": first_call_s})
    samples: list[float] = []
    fault, told_s, call_s = "", -QUIET_S, first_call_s  # the first one is told
    while len(samples) < MAX_SAMPLES and (not samples or sum(samples) < steady_s):
        before = weakref.ref(kernel)
        del kernel  # else a call would be charged with the memory of two kernels
        gc.collect()
        witness.conduct.collected()
        witness.anew.rearrange(nudge=call_s < steady_s)  # where it takes long, one call more would be dear
        with witness.meter:
            sample_s, kernel = _timed(lambda: _computed(compute()))
        call_s = sample_s + witness.conduct.called()
        samples.append(call_s)
        witness.anew.called(kernel)
        if sum(samples) - told_s > QUIET_S:
            told_s = sum(samples)
            send("steady state", {"samples_s": tuple(samples), **witness.meter.told()})
        if before() is kernel:
            fault = "a call returned the very array of the call before: a kernel is to be computed anew each time"
    send("steady state", {"samples_s": tuple(samples), **witness.meter.told()})
    if witness.anew.nudged:
        del kernel
        kernel = _of_what_was_given(compute, witness)
    if min(samples) < least_s:
        fault = (f"a call took {min(samples):.3g} s, and {least_s:.3g} s are the least in which the examples pass "
                 "through the network: the kernel, or a part of it, was computed in the set-up")
    return kernel, fault


def _of_what_was_given(compute: Callable[[], Array], witness: Witness) -> Array:
    """The kernel of the very numbers that its truth is of; not timed."""
    witness.anew.put_back()
    kernel = _computed(compute())
    witness.conduct.called()
    witness.anew.called(kernel)
    return kernel


def _computed(array: Array) -> Array:
    """Once it is there. An array of a class of the method's own may compute when it is read: it is, by NumPy."""
    ready = block_until_ready(array)
    if isinstance(ready, np.generic):  # one number, which has no kernel's shape: its check says so
        return np.asarray(ready)
    return ready if is_plain(ready) else to_numpy(ready)


def _timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """Wall-clock seconds with the garbage collector at rest, and the answer."""
    gc.disable()
    try:
        begin = perf_counter()
        answer = action()
        return perf_counter() - begin, answer
    finally:
        gc.enable()
