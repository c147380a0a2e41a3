"""The inside of a process of the pool: it is pinned, does one task, and tells how it went."""

from __future__ import annotations

import faulthandler
import fcntl
import os
import re
import signal
import stat
import sys
import termios
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.machine.threads import pin
from bench.running import bound, preload
from bench.running.data import Answer, Failure, Progress
from bench.running.line import tell
from impls import RegistryError
from reference import InputError

# What PyTorch (CPU and CUDA) and XLA say when memory is not to be had; neither raises MemoryError.
_OUT_OF_MEMORY = re.compile(r"out of memory|RESOURCE_EXHAUSTED|can(no|')t allocate memory", re.IGNORECASE)


MOST_OF_A_MESSAGE = 1 << 16
"""Characters of an exception's message that are sent on; the store keeps fewer."""


def serve(connection: Connection, threads: int, log: Path, task: Callable[..., Any],
          arguments: tuple[Any, ...]) -> None:
    """Run ``task(send, *arguments)`` and send its answer, or why there is none."""
    bound.end_with(preload.SERVER)
    os.setpgid(0, 0)  # a group of its own, which ends as a whole: nothing that a method starts outlives its cell
    leave_terminal()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to decide on
    _redirect_output(log)
    line = connection.fileno()
    _close_other_pipes(line)
    faulthandler.enable()  # the stack of a crash by signal goes to the log
    pin(threads)

    def send(phase: str, measured: dict[str, Any]) -> None:
        tell(line, Progress(phase, measured))

    try:
        tell(line, Answer(task(send, *arguments)))
    except (InputError, RegistryError) as error:
        tell(line, Failure("refused", _text_of(error)[:MOST_OF_A_MESSAGE]))
    except BaseException as error:  # whatever a method raises, SystemExit included, is its row's reason
        with suppress(BaseException):  # it asks for the message, which may raise
            traceback.print_exc()
        tell(line, describe(error))


def describe(error: BaseException) -> Failure:
    """Type, message and place of an exception that a task raised, in one line."""
    message = " ".join(_text_of(error)[:MOST_OF_A_MESSAGE].split())
    frames = traceback.extract_tb(error.__traceback__)
    place = f" (at {'/'.join(Path(frames[-1].filename).parts[-2:])}:{frames[-1].lineno})" if frames else ""
    memory = isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(message) is not None
    name = type.__dict__["__name__"].__get__(type(error))  # whatever a metaclass has in its place
    return Failure("oom" if memory else "crash", f"{name}: {message}{place}")


def leave_terminal() -> None:
    """A method finds none at /dev/tty to write to. (A session of its own would do as well, but that is another group
    for Linux's scheduler, in which the niceness of the run says nothing.)"""
    with suppress(OSError):  # there is none
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
        try:
            fcntl.ioctl(terminal, termios.TIOCNOTTY)
        finally:
            os.close(terminal)


def _close_other_pipes(line: int) -> None:
    """Those of the fork server and of the resource tracker: a word written there would end the one or the other."""
    for name in os.listdir("/dev/fd"):
        with suppress(OSError):  # the one by which the folder was read is closed by now
            if int(name) > 2 and int(name) != line and stat.S_ISFIFO(os.fstat(int(name)).st_mode):
                os.close(int(name))


def _text_of(error: BaseException) -> str:
    try:
        return str.__str__(str(error))  # a plain one, where it is a subclass with methods of its own
    except BaseException as second:  # an exception whose message cannot be had is reported all the same
        return f"(its message raised {type(second).__name__})"


def _redirect_output(log: Path) -> None:
    """What Python and native code write to stdout or stderr goes to the log."""
    sys.stdout.flush()
    sys.stderr.flush()
    target = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)
