"""Tasks wait here until a worker is free for them, and come back in the order in which they end."""

from __future__ import annotations

import hashlib
import queue
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from threading import Lock
from typing import Any

from bench.cluster.connection import CELL

POLL_S = 1.0
"""How often it is looked whether there are more workers."""


class WorkersKilled(Exception):
    """Of a task that no worker survived; `node` is the last one's."""

    def __init__(self, node: str, number: int) -> None:
        super().__init__(f"{number} of them, the last one on {node}; it is not tried again")
        self.node = node


class Line:
    """No more tasks are at the workers than there are workers: Dask counts the death of a worker against each task that
    waits there, and would give up tasks that had no part in it."""

    def __init__(self, client: Any) -> None:
        self._client, self._run, self._lock = client, uuid.uuid4().hex, Lock()
        self._waiting: deque[tuple[str, Any, Callable[..., Any], tuple[Any, ...]]] = deque()
        self._sent: dict[str, tuple[Any, Any]] = {}
        self._back: queue.SimpleQueue[str] = queue.SimpleQueue()

    def add(self, key: str, about: Any, task: Callable[..., Any], *arguments: Any) -> None:
        """``task(*arguments)``, which `about` comes back with. Of a worker that dies the task is run by another."""
        name = f"{hashlib.sha256(key.encode()).hexdigest()}-{self._run}"
        with self._lock:
            self._waiting.append((name, about, task, arguments))
        self._send()

    def arrived(self) -> Iterator[tuple[Any, Any]]:
        """What has ended by now: (about, future)."""
        while not self._back.empty():
            yield self._sent.pop(self._back.get())

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """All that is left, as it ends."""
        while self._sent or self._waiting:
            self._send()
            try:
                yield self._sent.pop(self._back.get(timeout=POLL_S))
            except queue.Empty:
                continue

    def _send(self) -> None:
        """Also from a thread of Dask's, as soon as a task has ended."""
        workers = max(1, len(self._client.scheduler_info(n_workers=-1)["workers"]))
        with self._lock:
            while self._waiting and sum(not future.done() for _, future in self._sent.values()) < workers:
                name, about, task, arguments = self._waiting.popleft()
                future = self._client.submit(task, *arguments, key=name, resources={CELL: 1}, pure=False)
                self._sent[name] = about, future
                future.add_done_callback(self._ended)

    def _ended(self, future: Any) -> None:
        self._back.put(future.key)
        self._send()


def result(future: Any) -> Any:
    """Of a task that has ended. Raises what it raised, or `WorkersKilled`."""
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        node = getattr(error.last_worker, "host", "") or "an unknown node"
        raise WorkersKilled(node, error.allowed_failures + 1) from error
