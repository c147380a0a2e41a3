"""Tiles dealt out to processes, one for each device of PyTorch's.

A child gets the network and the examples once (an array in a file by its name), opens the store for itself, and holds
the one against the other. Then the parent sends it a band whenever it has done one. What the children have done stands
in the store, whatever becomes of them. What passes between the two passes through pipes, and nothing is read of a file.
"""

from __future__ import annotations

import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import multiprocessing

from impls.tiles.job import Job
from impls.tiles.plan import Band
from impls.tiles.progress import Advance
from impls.tiles.store import Store
from impls.tiles.torch.devices import entered
from impls.tiles.torch.sent import sent
from impls.tiles.worker import Worker
from reference import InputError


@dataclass(frozen=True)
class Order:
    """What a child needs beside its device."""

    make: Callable[[], Job]
    path: Path
    threads: int
    check: bool


def compute(job: Job, store: Store, dealt: Sequence[Band], devices: Sequence[object], advance: Advance, *,
            check: bool) -> None:
    """What goes wrong in a child is raised as `InputError`, when the others have ended with the tiles that they are
    in."""
    context, waiting = multiprocessing.get_context("spawn"), list(reversed(dealt))
    threads = max(1, torch.get_num_threads() // len(devices))
    order = Order(sent(job.again, store.path), store.path, threads, check)
    children: dict[Connection, Any] = {}
    try:
        for device in devices[:len(dealt)]:
            here, there = context.Pipe()
            child = context.Process(target=_child, args=(there, order, device), daemon=True)
            _start(child)
            there.close()
            children[here] = child
        _serve(children, waiting, advance)
    finally:
        for here in children:
            here.close()  # a child without a parent ends after its tile
        for child in children.values():
            child.join()


def _start(child: Any) -> None:
    try:
        child.start()
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InputError(f"devices= starts a process for each device, to which the network is sent, and that fails "
                         f"({error}): define its classes and functions at the top of a module") from error


def _serve(children: dict[Connection, Any], waiting: list[Band], advance: Advance) -> None:
    """Messages of a child: how many pairs more are done; None, that it waits; or what went wrong."""
    working = dict(children)
    while working:
        ready: Any = wait(list(working))
        for here in ready:
            try:
                said = here.recv()
            except (EOFError, ConnectionError):
                child = working.pop(here)
                child.join()
                if child.exitcode:
                    raise InputError(f"a process of devices= ended with {_how(child.exitcode)}; the tiles so far are "
                                     "kept, and the same call goes on from them") from None
                continue
            if isinstance(said, str):
                raise InputError(said)
            if said is not None:
                advance(said)
            else:
                here.send(waiting.pop() if waiting else None)


def _how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _child(parent: Connection, order: Order, device: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when it is over
    torch.set_num_threads(order.threads)
    lock = Lock()

    def say(what: Any) -> None:  # of both threads
        with lock:
            parent.send(what)

    def bands() -> Iterator[Band]:
        while True:
            say(None)
            band = parent.recv()
            if band is None:
                return
            yield band

    try:
        with suppress(EOFError, ConnectionError), entered(device):  # of a parent that has ended
            try:
                _work(order, bands, say)
            except InputError as error:
                say(str(error))
    finally:
        parent.close()


def _work(order: Order, bands: Callable[[], Iterator[Band]], advance: Advance) -> None:
    job, store = order.make(), Store.open(order.path)
    job.check(store)
    with Worker(job, store, advance, check=order.check) as worker:
        for band in bands():
            worker(band)
