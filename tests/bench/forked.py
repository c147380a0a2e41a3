"""`python -m bench` in processes forked from one that has imported it already, which takes half a second each time.

As a program, this is that process: it reads one request a line, and a process forked for it goes on as a new one would.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import runpy
import select
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests import ROOT

TIMEOUT_S = 300


def run(arguments: Sequence[str], cwd: Path, environment: Mapping[str, str],
        imported: str = "") -> subprocess.CompletedProcess[str]:
    """``python -m bench ARGUMENTS``, started in `cwd`; what the environment says to Python's start has no effect.

    `imported`: a framework that it will import, and finds imported.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        request = {"arguments": arguments, "cwd": str(cwd), "environment": dict(environment),
                   "streams": [f"/proc/{os.getpid()}/fd/{file.fileno()}" for file in (out, errors)]}
        status = _status(_server(imported), request)
        texts = [os.pread(file.fileno(), 2**26, 0).decode() for file in (out, errors)]
    return subprocess.CompletedProcess(["python", "-m", "bench", *arguments], status, *texts)


def _status(server: subprocess.Popen[str], request: Mapping[str, Any]) -> int:
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    if not select.select([server.stdout], [], [], TIMEOUT_S)[0]:
        raise TimeoutError(f"bench {request['arguments']} took longer than {TIMEOUT_S} s")
    answer = server.stdout.readline()
    assert answer, "the process that forks others has ended"
    return os.waitstatus_to_exitcode(int(answer))


@cache
def _server(imported: str) -> subprocess.Popen[str]:
    """One for this process, which ends with it."""
    server = subprocess.Popen([sys.executable, "-m", "tests.bench.forked", imported], cwd=ROOT, text=True, bufsize=1,
                              env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"},
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    atexit.register(server.communicate)  # it ends where its input does
    return server


def _serve() -> dict[str, Any] | None:
    """None at the end, and in a forked process the request to fulfil."""
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            return json.loads(line)
        print(os.waitpid(child, 0)[1], flush=True)
    return None


def _become(request: Mapping[str, Any]) -> None:
    """What the request asks for, until the end of this process."""
    os.environ.clear()
    os.environ.update(request["environment"])
    for descriptor, path in enumerate([os.devnull, *request["streams"]]):
        opened = os.open(path, os.O_RDWR)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.chdir(request["cwd"])
    sys.path[0] = request["cwd"]
    sys.argv = ["bench", *request["arguments"]]
    runpy.run_module("bench", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    for module in ("bench.commands.cli", "bench.running.runner", "bench.report.table", *filter(None, sys.argv[1:])):
        importlib.import_module(module)
    if (asked := _serve()) is not None:
        _become(asked)
