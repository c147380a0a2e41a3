"""Fresh processes from a fork server with the frameworks already imported, watched for time, memory and death."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing import forkserver, resource_tracker, util
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import psutil

from bench.machine import memory, processes
from bench.machine.threads import variables
from bench.running import preload
from bench.running.data import Answer, Failure, Garbled, Message, Progress
from bench.running.line import Line
from bench.running.lock import OwnFolder, sweep
from bench.running.worker import serve
from impls.frameworks.environment import environment

POLL_S = 0.02
_SERVER_TRIES = 100
_LONGEST_FOLDER = 107 - len("/pymp-12345678/sock-12345678")
"""Of a socket: unix(7)."""
_LOG_TAIL = 4000
"""Characters of a process's stderr that are kept."""
_LOG_MOST = 64 * 2**20
"""Bytes of it on the disk: what is beyond them is dropped while the process runs."""


@dataclass(frozen=True)
class Limits:
    """Of one process: wall-clock seconds, resident bytes, bytes that it may tell its parent in all."""

    time_s: float
    memory_bytes: int
    told_bytes: int = 4 * 2**20


@dataclass(frozen=True)
class Outcome:
    """How a task ended. `measured` is what it sent on the way, kept whatever happened later."""

    status: Literal["ok", "timeout", "oom", "crash", "refused"]
    reason: str = ""
    answer: Any = None
    measured: dict[str, Any] = field(default_factory=dict)
    stderr: str = ""
    left: int = 0
    """Processes that the task had started, or theirs, which were still there at its end; they were ended."""


class Pool:
    """Starts the fork server. It is one for this process (multiprocessing keeps it), and ends with this process."""

    def __init__(self, modules: Sequence[str], threads: int, device: str) -> None:
        self._threads = threads
        self._variables = _server_variables(modules, threads, device)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([preload.__name__])
        resource_tracker.ensure_running()  # first, as it unblocks SIGINT when it has started
        with _temporary_files_in(str(_own_folder().path)):  # the server's socket as well
            self._ensure_server()

    def _ensure_server(self) -> None:
        with environment(self._variables), _sigint_blocked():
            forkserver.ensure_running()

    def _start(self, process: BaseProcess) -> None:
        """A server that a method has killed starts again; until the kernel has buried it, it seems to be there."""
        for _ in range(_SERVER_TRIES):
            self._ensure_server()
            try:
                with _starting:
                    process.start()
                    assert process.pid is not None
                    return _running.add(process.pid)
            except (EOFError, ConnectionError, FileNotFoundError):
                time.sleep(POLL_S)
        raise RuntimeError("the server that starts the processes of the cells was killed and does not start again")

    def run(self, limits: Limits, task: Callable[..., Any], *arguments: Any) -> Outcome:
        """``task(send, *arguments)`` in a new process, one at a time; it is killed when it passes a limit."""
        with tempfile.TemporaryDirectory(dir=_own_folder().path) as folder:
            log = Path(folder, "log")
            receiver, sender = self._context.Pipe(duplex=False)
            inside = (sender, self._threads, log, task, arguments)
            process = self._context.Process(target=serve, args=inside, daemon=True)
            kills = memory.kills_by_kernel()
            try:
                with _sigint_put_off():
                    self._start(process)
                sender.close()
                outcome = _Watch(process, Line(receiver.fileno(), limits.told_bytes), log, limits, kills).outcome()
            finally:
                left = _end(process)
                receiver.close()
                _restore()
            return replace(outcome, left=left, stderr=_tail(log) if log.exists() else "")


@functools.cache
def _own_folder() -> OwnFolder:
    """This process's, removed at its end, or by the next run where it is killed."""
    sweep()
    folder = OwnFolder()
    util.Finalize(None, folder.remove, exitpriority=-200)  # after the socket's folder, which is at -100
    return folder


def _restore() -> None:
    """A method that has removed the temporary files has removed the socket of the server, which then starts again."""
    sockets = Path(util.get_temp_dir())
    socket: str | None = forkserver._forkserver._forkserver_address  # pyright: ignore
    if _own_folder().whole() and (socket is None or Path(socket).exists()):
        return
    _own_folder().restore()
    sockets.mkdir(exist_ok=True)
    if (server := _server()) is not None:
        with suppress(ProcessLookupError):
            os.kill(server, signal.SIGKILL)


@contextmanager
def _temporary_files_in(folder: str) -> Iterator[None]:
    before = tempfile.tempdir
    if len(folder) <= _LONGEST_FOLDER:
        tempfile.tempdir = folder
    try:
        yield
    finally:
        tempfile.tempdir = before


class _Watch:
    """Follows one process until it has answered, has died or has passed a limit."""

    def __init__(self, process: BaseProcess, line: Line, log: Path, limits: Limits, kills: int) -> None:
        self._process, self._line, self._log, self._limits, self._kills = process, line, log, limits, kills
        self._phase = "start"
        self._measured: dict[str, Any] = {}
        self._children = 0
        """Bytes: the most that the processes which this one started held together."""

    def outcome(self) -> Outcome:
        deadline = time.monotonic() + self._limits.time_s
        inside = _ps(self._process.pid)
        while True:
            watched = [self._process.sentinel, *([self._line.descriptor] if self._line.open else [])]
            ready = wait(watched, timeout=POLL_S)
            try:
                told = next((end for message in self._line.messages() if (end := self._heard(message))), None)
            except Garbled as error:
                return self._ended("crash", f"it wrote what is no message ({error}), in phase: {self._phase}")
            if told is not None:
                return told
            if self._process.sentinel in ready:
                return self._died()
            _shorten(self._log)
            if time.monotonic() > deadline:
                return self._ended("timeout", f"killed after {self._limits.time_s:g} s, in phase: {self._phase}")
            children = memory.of_others(_started_by(self._process))
            self._children = max(self._children, children)
            held = _resident(inside) + children
            if held > self._limits.memory_bytes:
                return self._ended("oom", f"killed at {held / 2**30:.2f} GiB, over the limit of "
                                          f"{self._limits.memory_bytes / 2**30:.2f} GiB, in phase: {self._phase}")

    def _heard(self, message: Message) -> Outcome | None:
        """The end, where the message is that."""
        if not isinstance(message, Progress):
            return self._answered(message)
        self._phase = message.phase
        self._measured |= message.measured
        return None

    def _answered(self, message: Answer | Failure) -> Outcome:
        if isinstance(message, Answer):
            return Outcome("ok", answer=message.value, measured=self._all_measured())
        reason = message.reason if message.status == "refused" else f"{message.reason}, in phase: {self._phase}"
        return self._ended(message.status, reason)

    def _died(self) -> Outcome:
        self._process.join()
        code = self._process.exitcode
        if code is None or code >= 0:
            return self._ended("crash", f"the process ended with exit code {code}, in phase: {self._phase}")
        if -code == signal.SIGKILL and memory.kills_by_kernel() > self._kills:
            return self._ended("oom", f"killed by the kernel for want of memory, in phase: {self._phase}")
        return self._ended("crash", f"the process was ended by {signal.Signals(-code).name}, in phase: {self._phase}")

    def _ended(self, status: Literal["timeout", "oom", "crash", "refused"], reason: str) -> Outcome:
        return Outcome(status, reason, measured=self._all_measured())

    def _all_measured(self) -> dict[str, Any]:
        """The peak with that of the processes which the method started: the two need not have been at one moment."""
        peak = self._measured.get("peak_bytes")
        return self._measured if peak is None else self._measured | {"peak_bytes": peak + self._children}


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """What is started inside inherits it: Ctrl-C, which reaches the whole group, is the parent's to decide on."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _sigint_put_off() -> Iterator[None]:
    """Ctrl-C waits until the end: a process that is started, but whose number is not known yet, could not be ended.

    A mask would not do, as any other thread may take the signal for the main one.
    """
    if threading.current_thread() is not threading.main_thread():  # no KeyboardInterrupt is raised in the others
        yield
        return
    received: list[FrameType | None] = []
    before = signal.signal(signal.SIGINT, lambda _, frame: received.append(frame))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if received:
            signal.raise_signal(signal.SIGINT)


def _end(process: BaseProcess) -> int:
    """Nothing of a process, or of those that it started, is left behind; one that has answered has no more to do.

    How many of those that it started were still there: they are below it, or below the server, which adopts them.
    """
    if process.pid is None:
        return 0
    left = len(_started_by(process))
    pid = process.pid
    with suppress(ProcessLookupError):  # it ended before it had a group of its own, or nobody of the group is left
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    if (server := _server()) is not None:  # which says that it ended, and which a method may have stopped
        os.kill(server, signal.SIGCONT)
    process.join()
    process.close()
    with _starting:
        _running.discard(pid)
        if (server := _server()) is not None:
            processes.end_below(server, but=_running)
        else:  # a method has killed it: who was below it is below nobody
            processes.end_marked(preload.PARENT, str(os.getpid()))
    return left


_running: set[int] = set()
"""Processes of tasks that go on."""
_starting = threading.Lock()
"""Held while one starts, which is below the server before its number is known, and while what is below it is looked at:
two tasks may run at the same moment (`bench.running.duet`)."""


def _started_by(process: BaseProcess) -> list[int]:
    with _starting:
        server = _server()
        found = processes.below(process.pid if server is None else server, but=_running - {process.pid})
    return [pid for pid in found if pid != process.pid]


def _server() -> int | None:
    """The server's number, while it lives: multiprocessing keeps it to itself."""
    pid: int | None = forkserver._forkserver._forkserver_pid  # pyright: ignore
    return pid if pid is not None and processes.lives(pid) else None


def _shorten(log: Path) -> None:
    with suppress(OSError):
        if log.stat().st_size > _LOG_MOST:
            os.truncate(log, 0)  # it is appended to: the next words are the first ones


def _tail(log: Path) -> str:
    """Its last characters; a log may be larger than the memory."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4 * _LOG_TAIL))  # a character of UTF-8 has at most 4 bytes
        return file.read(4 * _LOG_TAIL).decode("utf-8", errors="replace")[-_LOG_TAIL:]


def _server_variables(modules: Sequence[str], threads: int, device: str) -> dict[str, str]:
    # multiprocessing imports this program in each process: what it needs of the harness is there already.
    harness = sorted(name for name in sys.modules if name.partition(".")[0] == "bench" and "__main__" not in name)
    found = variables(threads) | {
        preload.PARENT: str(os.getpid()),
        preload.VARIABLE: ",".join(("bench.running.measure", *harness, *modules)),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # else the allocator's peak is 75 % of the device
        "JAX_ENABLE_COMPILATION_CACHE": "false",   # else the first call of a second run compiles nothing
    }
    return found | ({"JAX_PLATFORMS": "cpu"} if device == "cpu" else {})


def _ps(pid: int | None) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:  # it is already over
        return None


def _resident(process: psutil.Process | None) -> int:
    try:
        return 0 if process is None else process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0
