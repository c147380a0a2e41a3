"""What counts as a method's memory."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bench.machine import memory
from bench.running.peak import Peak
from impls.frameworks.face import Memory

SIZE = 2**26

of_host = pytest.mark.skipif(not memory.reset_peak(), reason="this system does not tell the peak memory of a process")


@contextmanager
def mapped(path: Path) -> Iterator[None]:
    """As the code of a library that is called: one page after the other comes in."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
        before = memory.of_files()
        assert sum(pages[:: mmap.PAGESIZE]) >= 0
        assert memory.of_files() - before > 0.9 * SIZE
        yield


@pytest.fixture
def big_file(tmp_path: Path) -> Path:
    path = tmp_path / "pages"
    path.write_bytes(bytes(SIZE))
    return path


@of_host
def test_pages_of_files_do_not_count(big_file: Path) -> None:
    peak = Peak("numpy", "cpu")
    with mapped(big_file):
        found = peak.bytes()
    assert found is not None
    assert found < SIZE / 8


@of_host
def test_what_was_let_go_counts(big_file: Path) -> None:
    """Whatever comes in after it."""
    peak = Peak("numpy", "cpu")
    np.ones(SIZE // 8)
    peak.note()
    with mapped(big_file):
        found = peak.bytes()
    assert found is not None
    assert 0.98 * SIZE < found < 1.2 * SIZE


@pytest.mark.parametrize(("driver", "said"), [
    ((10, 110), ""), ((None, None), ""),
    ((10, 10 + 3 * 2**20), "by the driver it took 3.00 MiB of the device, and 100 B")])
def test_the_driver_is_told_where_it_differs_from_the_allocator(
        monkeypatch: pytest.MonkeyPatch, driver: tuple[int | None, int | None], said: str) -> None:
    held = iter([Memory(7, 7, driver[0]), *[Memory(7, 107, driver[1])] * 2])
    monkeypatch.setattr("bench.running.peak.face", lambda framework: SimpleNamespace(device_memory=lambda: next(held)))
    peak = Peak("torch", "cuda")
    peak.note()
    assert peak.bytes() == 100
    assert peak.remark().startswith(said)
    assert bool(peak.remark()) == bool(said)


def test_on_a_device_the_allocators_peak_counts() -> None:
    torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device here")
    torch.zeros(1, device="cuda")
    peak = Peak("torch", "cuda")
    torch.ones(SIZE // 4, device="cuda").sum()
    found = peak.bytes()
    assert found is not None
    assert abs(found - SIZE) <= 0.05 * SIZE
