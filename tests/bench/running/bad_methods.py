"""Methods that misbehave, each in one way, to be named on a command line: ``--impl bad_methods.py:NAME``.

All compute the right kernel, in float64 by the reference's tape, from the inputs as they are at the call, and then do
what they should not.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import reference
from reference import Case, Request

Compute = Callable[[], Any]
WORK_S = 0.05
LEAKED = 2**20
HELD = 2**28
GIB = 2**30


def kernel_of(case: Case, request: Request) -> np.ndarray:
    n1, n2 = len(case.x1), len(case.x1 if case.x2 is None else case.x2)
    return reference.float64_expected(case, range(n1), range(n2)).outputs(request.outputs).astype(request.dtype)


@dataclass(frozen=True)
class Bad:
    name: str
    wrap: Callable[[Compute, Case], Compute]
    """From an honest call, and the case whose inputs it reads."""
    framework: str = "numpy"
    kind: str = "exact"

    def prepare(self, case: Case, request: Request) -> Compute:
        return self.wrap(lambda: kernel_of(case, request), case)


def before(action: Callable[[], Any], calls: int | None = None) -> Callable[[Compute, Case], Compute]:
    """Do that in each call, or in the first ones."""
    def wrap(compute: Compute, case: Case) -> Compute:
        left = itertools.repeat(True) if calls is None else iter([True] * calls)

        def call() -> Any:
            if next(left, False):
                action()
            return compute()
        return call
    return wrap


def cached(key: Callable[[Case, int], Any], wait_s: float = 0.0) -> Callable[[Compute, Case], Compute]:
    """Compute once for each key of the case and the number of the call."""
    def wrap(compute: Compute, case: Case) -> Compute:
        kernels: dict[Any, Any] = {}
        calls: list[int] = []

        def call() -> Any:
            calls.append(1)
            time.sleep(wait_s)
            found = key(case, len(calls))
            if found not in kernels:
                kernels[found] = compute()
            return kernels[found].copy()
        return call
    return wrap


def cached_by_example(compute: Compute, case: Case) -> Compute:
    """Right in every order, and quick where the examples are those of before."""
    kernels: dict[Any, Any] = {}

    def call() -> Any:
        rows = [row.tobytes() for row in case.x1]
        if not kernels.keys() >= {(a, b) for a in rows for b in rows}:
            spin(WORK_S)
            kernel = compute()
            kernels.update({(a, b): kernel[i, j] for i, a in enumerate(rows) for j, b in enumerate(rows)})
        return np.array([[kernels[a, b] for b in rows] for a in rows])
    return call


def in_set_up(compute: Compute, case: Case) -> Compute:
    kernel = compute()

    def call() -> Any:
        time.sleep(WORK_S / 10)
        return kernel.copy()
    return call


def in_set_up_and_packed(compute: Compute, case: Case) -> Compute:
    """In a form in which nobody finds it."""
    kernel = compute()
    packed, shape, dtype = kernel.tobytes(), kernel.shape, kernel.dtype

    def call() -> Any:
        time.sleep(WORK_S / 10)
        return np.frombuffer(packed, dtype).reshape(shape).copy()
    return call


def only_some(compute: Compute, case: Case) -> Compute:
    """Of the examples that a harness may well look at."""
    def call() -> Any:
        kernel, n = compute(), len(case.x1)
        shown = np.isin(np.arange(n), (0, n // 2, (n - 1) // 2, n - 1))
        kernel[~shown] = 0
        kernel[:, ~shown] = 0
        return kernel
    return call


def by_a_thread(compute: Compute, case: Case) -> Compute:
    """An array that a thread fills after the call has returned."""
    pool = ThreadPoolExecutor(1)

    def call() -> Any:
        kernel = np.zeros_like(compute())

        def fill() -> None:
            spin(WORK_S)
            kernel[...] = compute()
        pool.submit(fill)
        return kernel
    return call


def future(compute: Compute, case: Case) -> Compute:
    pool = ThreadPoolExecutor(1)
    return lambda: pool.submit(compute)


def lazy(compute: Compute, case: Case) -> Compute:
    """A tensor that computes when it is read."""
    import torch

    class Lazy(torch.Tensor):
        def numpy(self, *, force: bool = False) -> np.ndarray:
            spin(WORK_S)
            return compute()

    return lambda: torch.zeros(compute().shape).as_subclass(Lazy)


def lazy_under_another_name(compute: Compute, case: Case) -> Compute:
    """An attribute of a plain tensor computes."""
    import torch

    def call() -> Any:
        def numpy(*, force: bool = False) -> np.ndarray:
            spin(WORK_S)
            return compute()
        tensor = torch.zeros(compute().shape)
        tensor.numpy = numpy  # pyright: ignore[reportAttributeAccessIssue]
        return tensor
    return call


def slows_the_clock(compute: Compute, case: Case) -> Compute:
    clock = time.perf_counter
    time.perf_counter = lambda: clock() / 1000

    def call() -> Any:
        spin(WORK_S)
        return compute()
    return call


def remove_temporary_files() -> None:
    """Those of the run: what is printed goes to one of them."""
    shutil.rmtree(Path(os.readlink("/proc/self/fd/1")).parents[1])


def stop_the_server() -> None:
    os.kill(os.getppid(), signal.SIGSTOP)


def take_other_cores() -> None:
    os.sched_setaffinity(0, range(os.cpu_count() or 1))


def put_in_place_of_the_harness() -> None:
    import bench.truth.check

    bench.truth.check._verdict = lambda comparison, against: {"status": "ok"}  # pyright: ignore[reportAttributeAccessIssue]


def burning(compute: Compute, case: Case) -> Compute:
    threading.Thread(target=spin, args=(60,), daemon=True).start()
    return compute


def leaking(compute: Compute, case: Case) -> Compute:
    kept: list[Any] = []

    def call() -> Any:
        kept.append(np.ones(LEAKED, dtype=np.uint8))
        return compute()
    return call


def spin(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        hash(b"x" * 1000)


def exhaust() -> None:
    held = []
    while True:
        held.append(np.ones(2**20))


def print_a_gigabyte() -> None:
    for _ in range(16):
        os.write(1, b"word" * (GIB // 64))


def change_state() -> None:
    import torch

    os.environ["BAD_METHOD"] = "was here"
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002
    np.seterr(all="ignore")


def write_everywhere() -> None:
    for descriptor in range(3, 100):
        try:
            os.write(descriptor, b"word")
        except OSError:
            continue


def send_daemons() -> None:
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(60)
        os._exit(0)
    os.waitpid(child, 0)


def work_in_a_child() -> None:
    """It is still at work when the call returns."""
    if os.fork() == 0:
        spin(60)
        os._exit(0)


def fail(message: str) -> Callable[[], None]:
    def action() -> None:
        raise ValueError(message)
    return action


def as_torch(array: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(array)


def as_jax(array: np.ndarray) -> Any:
    import jax

    return jax.numpy.asarray(array)


def holding(allocate: Callable[[], Any], convert: Callable[[np.ndarray], Any] = np.asarray
            ) -> Callable[[Compute, Case], Compute]:
    """Hold what `allocate` gives during each call."""
    def wrap(compute: Compute, case: Case) -> Compute:
        def call() -> Any:
            held = allocate()
            kernel = convert(compute())
            del held
            return kernel
        return call
    return wrap


def hold_torch() -> Any:
    import torch

    return torch.ones(HELD // 4)


def hold_jax() -> Any:
    import jax

    return jax.numpy.ones(HELD // 4, dtype="float32").block_until_ready()


def hold_in_program() -> None:
    """A process of another program holds it, for a while after which it is sure to have been seen."""
    subprocess.run([sys.executable, "-c", f"import time; held = bytearray(b'x') * {HELD}; time.sleep(0.2)"], check=True)


def hold_in_child() -> None:
    """The same of a forked process, which shares all that this one has."""
    child = os.fork()
    if child == 0:
        held = bytearray(b"x") * HELD
        time.sleep(0.2)
        os._exit(not held)
    os.waitpid(child, 0)


HOLDING = {"held_numpy": holding(lambda: np.ones(HELD, dtype=np.uint8)), "held_torch": holding(hold_torch, as_torch),
           "held_jax": holding(hold_jax, as_jax), "held_in_program": holding(hold_in_program),
           "held_in_child": holding(hold_in_child)}
EMPTY = {"honest": holding(lambda: None), "empty_torch": holding(lambda: None, as_torch),
         "empty_jax": holding(lambda: None, as_jax)}

METHODS = {
    **HOLDING, **EMPTY,
    "holds_the_gil": before(lambda: ctypes.PyDLL(None).sleep(60)),
    "exhausts": before(exhaust),
    "segfaults": before(lambda: os.kill(os.getpid(), signal.SIGSEGV)),
    "by_a_thread": by_a_thread, "future": future, "lazy": lazy, "burning": burning, "leaking": leaking,
    "in_set_up": in_set_up, "in_set_up_and_packed": in_set_up_and_packed, "only_some": only_some,
    "cached": cached(lambda case, _: 0),
    "cached_and_waits": cached(lambda case, _: 0, 1e-4),
    "cached_by_identity": cached(lambda case, _: id(case.x1)),
    "cached_by_shape": cached(lambda case, _: case.x1.shape),
    "cached_by_repr": cached(lambda case, _: repr(case)),
    "cached_by_sum": cached(lambda case, _: round(float(case.x1.sum()), 6)),
    "cached_by_first": cached(lambda case, _: (float(case.x1.flat[0]), case.x1[0].tobytes())),
    "cached_after_three": cached(lambda case, call: min(call, 4)),
    "cached_one_in_two": cached(lambda case, call: call if call % 2 else 0),
    "prints_a_gigabyte": before(print_a_gigabyte, calls=1), "changes_state": before(change_state),
    "closes_all": before(lambda: os.closerange(0, 100)), "writes_everywhere": before(write_everywhere),
    "sends_daemons": before(send_daemons, calls=1), "works_in_a_child": before(work_in_a_child, calls=1),
    "cached_example": cached_by_example, "lazy_attribute": lazy_under_another_name,
    "slows_the_clock": slows_the_clock,
    "removes_temporary_files": before(remove_temporary_files, calls=1),
    "stops_the_server": before(stop_the_server, calls=1),
    "takes_other_cores": before(take_other_cores), "replaces_the_check": before(put_in_place_of_the_harness),
    "long_message": before(fail("word " * 2**18)), "no_text": before(fail("lone \udcff")),
}
FRAMEWORKS = {"lazy": "torch", "lazy_attribute": "torch", "held_torch": "torch", "empty_torch": "torch",
              "held_jax": "jax", "empty_jax": "jax"}
OBJECTS = {name: Bad(name, wrap, FRAMEWORKS.get(name, "numpy")) for name, wrap in METHODS.items()}
globals().update({name.upper(): method for name, method in OBJECTS.items()})
