"""The most memory that a method holds, above what its process held before: of the host, or of a CUDA device.

The kernel keeps the mark (VmHWM), whoever asks and when, so that nothing is done while time is taken; it is read and
set back between the calls. Processes that the method starts are watched from outside (`bench.running.pool`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bench import units
from bench.machine import memory
from impls.frameworks.face import Memory
from impls.frameworks.faces import face
from impls.protocol import Framework

_DIFFERS = 0.05
"""Share by which the driver's figure is beside the allocator's, from which on both are told."""


@dataclass
class Peak:
    """Bytes from here on, net of what the process (on CUDA: the framework's allocator) holds now and of the pages of
    files, such as the code of libraries."""

    framework: Framework
    device: str
    _before: int | None = field(init=False)
    _files: int = field(init=False, default=0)
    _highest: int = field(init=False, default=0)
    _driver_before: int = field(init=False, default=0)
    _driver: int | None = field(init=False, default=None)
    """The most that the driver has counted after a call."""

    def __post_init__(self) -> None:
        if self.device == "cuda":
            held = self._device()
            self._before = None if held is None else held.now
            self._driver_before = 0 if held is None or held.driver is None else held.driver
        else:
            self._before, self._files = (memory.resident() if memory.reset_peak() else None), memory.of_files()

    def note(self) -> None:
        """After each call that may bring code in: what comes after a peak would be taken off it. (Within one call it
        is; the calls that follow bring none.)"""
        if self.device == "cuda":
            self._note_device()
        elif self._before is not None:
            peak, files = memory.peak(), memory.of_files()
            self._highest = max(self._highest, (peak or 0) - self._before - max(0, files - self._files))
            memory.reset_peak()

    def bytes(self) -> int | None:
        """None where the system does not tell."""
        if self._before is None:
            return None
        self.note()
        return self._highest

    def remark(self) -> str:
        """What the driver of the device says, where that differs; "" else."""
        if self._driver is None:
            return ""
        taken = self._driver - self._driver_before
        if abs(taken - self._highest) <= _DIFFERS * max(taken, self._highest):
            return ""
        return (f"by the driver it took {units.memory(taken)} of the device, and {units.memory(self._highest)} by the "
                "allocator: libraries and what the allocator keeps count for the one alone")

    def _device(self) -> Memory | None:
        return face(self.framework).device_memory()

    def _note_device(self) -> None:
        held = self._device()
        if held is None or self._before is None:
            return
        self._highest = max(self._highest, held.peak - self._before)
        if held.driver is not None:  # the allocator gives nothing back between two calls
            self._driver = max(self._driver or 0, held.driver)
