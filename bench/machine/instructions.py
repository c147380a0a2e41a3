"""Instructions that this process and its later threads retire, in user space: what a busy machine hardly changes.

Source: perf_event_open(2). It asks no library; where the kernel, a sandbox or a virtual machine withholds the counter,
there is none, and the reason is said.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

_NUMBERS = {"x86_64": 298, "aarch64": 241}
"""Of the system call, by machine: unistd.h."""
_TYPE_HARDWARE, _COUNT_INSTRUCTIONS, _SIZE = 0, 1, 112
_INHERIT, _EXCLUDE_KERNEL, _EXCLUDE_HYPERVISOR = 1 << 1, 1 << 5, 1 << 6
_CLOSE_ON_EXEC = 1 << 3
_THIS_PROCESS, _ANY_CORE, _NO_GROUP = 0, -1, -1


class Counter:
    """Counts from now on. Raises `OSError` where there is no such counter, with the reason.

    Threads that were there before are not counted: it is made before a framework starts its own.
    """

    def __init__(self) -> None:
        number = _NUMBERS.get(platform.machine())
        if not sys.platform.startswith("linux") or number is None:
            raise OSError(f"no perf_event_open on {platform.system()} {platform.machine()}")
        attributes = (ctypes.c_char * _SIZE).from_buffer_copy(_attributes())
        call = ctypes.CDLL(None, use_errno=True).syscall
        self._descriptor = call(number, attributes, _THIS_PROCESS, _ANY_CORE, _NO_GROUP, _CLOSE_ON_EXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), f"perf_event_open: {os.strerror(ctypes.get_errno())}")

    def read(self) -> int:
        """So far."""
        return int.from_bytes(os.read(self._descriptor, 8), sys.byteorder)

    def close(self) -> None:
        os.close(self._descriptor)


def missing() -> str:
    """Why there is no counter here, "" where there is one."""
    try:
        Counter().close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _attributes() -> bytes:
    """struct perf_event_attr: type, size, config, four fields of 8 bytes that stay 0, flags, and the rest."""
    head = struct.pack("=IIQQQQQ", _TYPE_HARDWARE, _SIZE, _COUNT_INSTRUCTIONS, 0, 0, 0,
                       _INHERIT | _EXCLUDE_KERNEL | _EXCLUDE_HYPERVISOR)
    return head.ljust(_SIZE, b"\0")
