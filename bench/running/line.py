"""The line from a process of the pool to its parent: each message behind its length, and nothing believed of it."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

from bench.running.data import Garbled, Message, decoded, encoded

_LENGTH = struct.Struct(">Q")
_AT_ONCE = 1 << 16
"""Bytes of one read: what a pipe holds."""
_READS = 64
"""Until the parent looks at time and memory again."""


def tell(descriptor: int, message: Message) -> None:
    """Write all of it. Raises `OSError` where the line is closed, `TypeError` for what cannot be sent."""
    data = encoded(message)
    left = memoryview(_LENGTH.pack(len(data)) + data)
    while left:
        left = left[os.write(descriptor, left):]


class Line:
    """The parent's end. It never waits, so that half a message keeps nobody; `most` bytes may come in all."""

    def __init__(self, descriptor: int, most: int) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self.open = True
        """Whether more may come."""
        self._most, self._received, self._buffer = most, 0, bytearray()

    def messages(self) -> Iterator[Message]:
        """Those that are there whole by now. Raises `Garbled` for what is no message, or more than may come."""
        for _ in range(_READS):
            if not self._read():
                break
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > self._most:
                raise Garbled(f"one of {length} bytes, where {self._most} are allowed")
            if len(self._buffer) < _LENGTH.size + length:
                return
            text = bytes(self._buffer[_LENGTH.size : _LENGTH.size + length])
            del self._buffer[: _LENGTH.size + length]
            yield decoded(text)

    def _read(self) -> bool:
        """Whether there was something."""
        try:
            data = os.read(self.descriptor, _AT_ONCE) if self.open else b""
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        self.open = bool(data)
        self._received += len(data)
        if self._received > self._most + _LENGTH.size:
            raise Garbled(f"more than {self._most} bytes in all")
        self._buffer += data
        return self.open
