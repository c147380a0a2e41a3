"""A gate that a method has ended is not one that it has passed.

A method runs in the process of the gate, and `os._exit(0)` there, on import already, would end it with the status of
success. So a gate that is to run methods from elsewhere runs in a child process, which adds `FINISHED` to the status of
a run that came to its end; the parent takes it off again, and what comes without it has failed. With pytest-xdist the
child is the controller, which takes a worker that vanishes for a failure.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from typing import Any

import pytest

from impls.registry import ENTRY_POINT_GROUP

FINISHED = 64
"""Beyond every exit status of pytest's own."""

_CHILD = """
import sys
sys.path[:] = {path!r}
import pytest
sys.exit({finished} + pytest.main({args!r}))
"""

OPTION = "--in-child"


def is_due(config: pytest.Config) -> bool:
    """Whether methods from elsewhere will run, here, and nobody watches over this process yet.

    A run that was given plugins as objects (pytester's, in the tests of the gate) cannot be handed to another process.
    """
    if config.option.in_child or hasattr(config, "workerinput") or config.invocation_params.plugins:
        return False
    return config.option.impl is not None or bool(entry_points(group=ENTRY_POINT_GROUP))


def run_in_child(config: pytest.Config) -> int:
    """The exit status of the same run in a process of its own; 1, with a word, where it did not come to its end."""
    args = [OPTION, *config.invocation_params.args]
    capture: Any = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.suspend_global_capture(in_=True)  # the child's standard input is the terminal's, for --pdb
    code = _CHILD.format(path=sys.path, finished=FINISHED, args=args)
    child = subprocess.Popen([sys.executable, "-c", code], cwd=config.invocation_params.dir)
    status = _wait(child)
    if status >= FINISHED:
        return status - FINISHED
    print(f"\nGATE FAILED: the run did not come to its end: its process exited with status {status}", file=sys.stderr)
    return int(pytest.ExitCode.TESTS_FAILED)


def _wait(child: subprocess.Popen[bytes]) -> int:
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            continue  # the child was interrupted as well, and says so
