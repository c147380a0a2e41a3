"""One run at a time in a folder: a lock of the kernel's, which ends with the process that holds it."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path

PREFIX = "ntk-bench-"
_LOCK = "lock"


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


class OwnFolder:
    """A new temporary folder, with the lock that says whose it is; for as long as there is this object."""

    def __init__(self) -> None:
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
            with suppress(FileNotFoundError, BlockingIOError):  # another run that starts has swept it, or does
                self.held = Lock(self.path / _LOCK)
                if self.whole():
                    return

    def whole(self) -> bool:
        """Whether nobody has removed it."""
        return (self.path / _LOCK).exists()

    def restore(self) -> None:
        """Make it again, where somebody has."""
        self.path.mkdir(mode=0o700, exist_ok=True)
        if not self.whole():
            self.held = Lock(self.path / _LOCK)

    def remove(self) -> None:
        """At the end."""
        if self.path.exists():
            remove(self.path)


def sweep() -> None:
    """Remove the temporary folders of runs that were killed: those whose lock nobody holds, and empty ones."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # it has contents: see its lock
            folder.rmdir()
            continue
        with suppress(OSError):  # its run goes on, or it is another user's
            lock = Lock(folder / _LOCK)
            remove(folder)
            lock.release()


def remove(folder: Path) -> None:
    """The lock last: where this is killed, the next one goes on with it."""
    for path in folder.iterdir():
        if path.name != _LOCK:
            with suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    (folder / _LOCK).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()
