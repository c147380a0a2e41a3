"""The inside of a process of the pool: it is pinned, does one task, and tells how it went."""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from bench.machine.threads import pin
from impls import RegistryError
from reference import InputError

# What PyTorch (CPU and CUDA) and XLA say when memory is not to be had; neither raises MemoryError.
_OUT_OF_MEMORY = re.compile(r"out of memory|RESOURCE_EXHAUSTED|can(no|')t allocate memory", re.IGNORECASE)


@dataclass(frozen=True)
class Progress:
    phase: str
    measured: dict[str, Any]


@dataclass(frozen=True)
class Answer:
    value: Any


@dataclass(frozen=True)
class Failure:
    """`refused` is input that cannot be used: the user's to mend, not the method's."""

    status: Literal["oom", "crash", "refused"]
    reason: str


def serve(connection: Connection, threads: int, log: Path, task: Callable[..., Any],
          arguments: tuple[Any, ...]) -> None:
    """Run ``task(send, *arguments)`` and send its answer, or why there is none."""
    os.setpgid(0, 0)  # a group of its own, which ends as a whole: nothing that a method starts outlives its cell
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to decide on
    _redirect_output(log)
    faulthandler.enable()  # the stack of a crash by signal goes to the log
    pin(threads)

    def send(phase: str, measured: dict[str, Any]) -> None:
        connection.send(Progress(phase, measured))

    try:
        connection.send(Answer(task(send, *arguments)))
    except (InputError, RegistryError) as error:
        connection.send(Failure("refused", printable(str(error))))
    except BaseException as error:  # whatever a method raises, SystemExit included, is its row's reason
        traceback.print_exc()
        connection.send(describe(error))


def describe(error: BaseException) -> Failure:
    """Type, message and place of an exception that a task raised, in one line."""
    message = printable(" ".join(_text_of(error).split()))
    frames = traceback.extract_tb(error.__traceback__)
    place = f" (at {'/'.join(Path(frames[-1].filename).parts[-2:])}:{frames[-1].lineno})" if frames else ""
    memory = isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(message) is not None
    return Failure("oom" if memory else "crash", f"{type(error).__name__}: {message}{place}")


def printable(text: str) -> str:
    """`text` with what neither UTF-8 nor a terminal takes, lone surrogates and control characters, as escapes."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as second:  # an exception whose message cannot be had is reported all the same
        return f"(its message raised {type(second).__name__})"


def _redirect_output(log: Path) -> None:
    """What Python and native code write to stdout or stderr goes to the log."""
    sys.stdout.flush()
    sys.stderr.flush()
    target = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)
