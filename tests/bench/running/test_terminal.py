"""A method has no terminal to write to, wherever the run was started."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests import ROOT
from tests.bench.command import environment

PROGRAM = '''
import os, pty, sys
from bench.running.worker import leave_terminal

def there():
    try: os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError: return False
    return True

process, terminal = pty.fork()
if process == 0:
    before = there()
    if (inside := os.fork()) == 0:
        leave_terminal()
        leave_terminal()
        os._exit(there())
    found = os.waitstatus_to_exitcode(os.waitpid(inside, 0)[1])
    os.write(1, repr((before, bool(found), there())).encode())
    os._exit(0)
print(os.read(terminal, 100).decode())
os.waitpid(process, 0)
'''


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a process leaves its terminal so on Linux")
def test_a_process_leaves_its_terminal_and_its_parent_keeps_it() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment(), capture_output=True, text=True,
                          check=False, timeout=120)
    assert done.stdout.split("\n")[0] == "(True, False, True)", done.stderr
