"""Tasks in line: none is lost between two places."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bench.cluster.line import Line


class Sent:
    """Its callback is called by another thread, as Dask's are."""

    def __init__(self, key: str, task: Callable[[], Any], worker: ThreadPoolExecutor) -> None:
        self.key, self.result, self._worker = key, task, worker

    def add_done_callback(self, call: Callable[[Sent], None]) -> None:
        self._worker.submit(call, self)


class SlowToSend:
    """A client with one worker, for which sending takes a while on any thread but the first."""

    def __init__(self, worker: ThreadPoolExecutor) -> None:
        self._worker = worker

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        return {"workers": {"one": {}}}

    def submit(self, task: Callable[..., Any], *arguments: Any, key: str, resources: Any, pure: bool) -> Sent:
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.1)
        return Sent(key, lambda: task(*arguments), self._worker)


@pytest.fixture
def client() -> Iterator[SlowToSend]:
    with ThreadPoolExecutor(1) as worker:
        yield SlowToSend(worker)


def test_a_task_that_is_just_being_sent_is_waited_for(client: SlowToSend) -> None:
    """It neither waits any more nor is it at a worker yet."""
    line = Line(client)
    for number in range(4):
        line.add(str(number), number, lambda number: number**2, number)
    assert [(about, ended.result()) for about, ended in line] == [(0, 0), (1, 1), (2, 4), (3, 9)]
