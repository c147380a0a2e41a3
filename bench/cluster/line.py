"""Tasks wait here until a worker is free for them, and come back in the order in which they end."""

from __future__ import annotations

import hashlib
import queue
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

from bench.cluster.connection import CELL

POLL_S = 1.0
"""How often it is looked whether there are more workers."""


class WorkersKilled(Exception):
    """Of a task that no worker survived; `node` is the last one's."""

    def __init__(self, node: str) -> None:
        super().__init__(f"one beside other cells or tiles, and then one on {node} while it was alone in the cluster; "
                         "it is not tried again")
        self.node = node


@dataclass(frozen=True)
class Ended:
    """How a task ended."""

    value: Any = None
    error: Exception | None = None

    def result(self) -> Any:
        """Raises what it raised, or `WorkersKilled`."""
        if self.error is not None:
            raise self.error
        return self.value


@dataclass(frozen=True)
class _Task:
    name: str
    about: Any
    run: Callable[..., Any]
    arguments: tuple[Any, ...]
    alone: bool = False
    """Sent while no other one was at any worker."""


class Line:
    """No more tasks are at the workers than there are workers.

    When a worker dies, so do all tasks that waited there, whoever's fault it was. They are run again at the end, each
    alone in the cluster: of what a worker dies then, that it is.
    """

    def __init__(self, client: Any) -> None:
        self._client, self._run, self._lock = client, uuid.uuid4().hex, Lock()
        self._waiting: deque[_Task] = deque()
        self._suspects: deque[_Task] = deque()
        self._sent: dict[str, tuple[_Task, Any]] = {}
        self._back: queue.SimpleQueue[tuple[Any, Ended]] = queue.SimpleQueue()

    def add(self, key: str, about: Any, task: Callable[..., Any], *arguments: Any) -> None:
        """``task(*arguments)``, which `about` comes back with."""
        name = f"{hashlib.sha256(key.encode()).hexdigest()}-{self._run}"
        with self._lock:
            self._waiting.append(_Task(name, about, task, arguments))
        self._send()

    def workers(self) -> dict[str, Any]:
        """Those that are there, by address."""
        return self._client.scheduler_info(n_workers=-1)["workers"]

    def arrived(self) -> Iterator[tuple[Any, Ended]]:
        """What has ended by now, with what it is about."""
        while not self._back.empty():
            yield self._back.get()

    def __iter__(self) -> Iterator[tuple[Any, Ended]]:
        """All that is left, as it ends."""
        while self._is_any_left():
            self._send()
            try:
                yield self._back.get(timeout=POLL_S)
            except queue.Empty:
                continue

    def _is_any_left(self) -> bool:
        with self._lock:  # while one is being sent, it is in none of them
            return bool(self._sent or self._waiting or self._suspects) or not self._back.empty()

    def _send(self) -> None:
        """Also from a thread of Dask's, as soon as a task has ended."""
        workers = max(1, len(self.workers()))
        with self._lock:
            while self._waiting and len(self._sent) < workers:
                self._submit(self._waiting.popleft())
            if self._suspects and not self._sent:
                suspect = self._suspects.popleft()
                self._submit(replace(suspect, name=f"{suspect.name}-alone", alone=True))

    def _submit(self, task: _Task) -> None:
        future = self._client.submit(task.run, *task.arguments, key=task.name, resources={CELL: 1}, pure=False)
        self._sent[task.name] = task, future
        future.add_done_callback(self._ended)

    def _ended(self, future: Any) -> None:
        """What it gave is fetched before it counts as ended: it lies with its worker, and would go with it."""
        found = _fetched(future)
        with self._lock:
            task, _ = self._sent.pop(future.key)
            if not task.alone and isinstance(found.error, WorkersKilled):
                self._suspects.append(task)
            else:
                self._back.put((task.about, found))
        self._send()


def _fetched(future: Any) -> Ended:
    from distributed import KilledWorker

    try:
        return Ended(future.result())
    except KilledWorker as error:
        return Ended(error=WorkersKilled(getattr(error.last_worker, "host", "") or "an unknown node"))
    except Exception as error:  # of the task's own, to be raised where its result is asked for
        return Ended(error=error)
