"""Bands dealt out to JAX's devices, with a thread for each."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event

import jax

from impls.tiles.job import Job
from impls.tiles.plan import Band
from impls.tiles.progress import Advance
from impls.tiles.store import Store
from impls.tiles.worker import Worker


def compute(job: Job, store: Store, dealt: Sequence[Band], devices: Sequence[object], advance: Advance, *,
            check: bool) -> None:
    """Each device takes the next band when it is done with one. What goes wrong on one ends all, after the tiles that
    they are in, and is raised."""
    queue: SimpleQueue[Band] = SimpleQueue()
    for band in dealt:
        queue.put(band)
    stop = Event()

    def work(device: object) -> None:
        computer = job.computer(partial(jax.device_put, device=device))
        with Worker(job, store, advance, check=check, computer=computer, stop=stop) as worker:
            while not stop.is_set():
                try:
                    band = queue.get_nowait()
                except Empty:
                    return
                worker(band)

    with ThreadPoolExecutor(len(devices), "ntk-device") as pool:
        working = [pool.submit(work, device) for device in devices]
        try:
            wait(working, return_when=FIRST_EXCEPTION)
        finally:
            stop.set()
    for each in working:
        each.result()
