"""What counts as a method's memory."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from bench.machine import memory
from bench.running.measure import Peak

SIZE = 2**26

pytestmark = pytest.mark.skipif(
    not memory.reset_peak(), reason="this system does not tell the peak memory of a process"
)


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


def test_pages_of_files_do_not_count(big_file: Path) -> None:
    peak = Peak("numpy", "cpu")
    with mapped(big_file):
        found = peak.bytes()
    assert found is not None
    assert found < SIZE / 8


def test_what_was_let_go_counts(big_file: Path) -> None:
    """Whatever comes in after it."""
    peak = Peak("numpy", "cpu")
    np.ones(SIZE // 8)
    peak.note()
    with mapped(big_file):
        found = peak.bytes()
    assert found is not None
    assert 0.98 * SIZE < found < 1.2 * SIZE
