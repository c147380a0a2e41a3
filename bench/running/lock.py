"""One run at a time in a folder: a lock of the kernel's, which ends with the process that holds it."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import weakref
from pathlib import Path

PREFIX = "ntk-bench-"


class Lock:
    """Held until `release`, for as long as there is this object, at most until the end of the process.

    Raises `BlockingIOError` where another one holds it.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise
        self.release = weakref.finalize(self, os.close, self._descriptor)


def sweep() -> None:
    """Remove the temporary folders of runs that were killed: those whose lock nobody holds."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/lock"):
        try:
            lock = Lock(path)
        except OSError:  # its run goes on, or it is another user's
            continue
        shutil.rmtree(path.parent, ignore_errors=True)
        lock.release()
