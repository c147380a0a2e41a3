"""Tiles dealt out to devices, band by band.

Why dealt out, and not computed by all devices together with arrays that are sharded over them: tiles have nothing to do
with each other, so that devices that take whole bands exchange no numbers, wait for nobody, and run the program that
one device runs, on arrays of the same shapes. Sharded factors would be
gathered for each tile. The price is one set of parameters on each device, which a kernel's factors outweigh.

JAX drives all of its devices from one process, with a thread for each. PyTorch has a process for each: its passes hold
Python's lock for much of their time.
"""

from __future__ import annotations

from collections.abc import Sequence

from impls.tiles.job import Job
from impls.tiles.plan import Band, Tile
from impls.tiles.progress import Advance
from impls.tiles.store import Store

BANDS_EACH = 4
"""For each of several devices, at least: the last one of them is then idle for no more than a part of the time."""


def bands(job: Job, store: Store, missing: Sequence[Tile], devices: int = 1) -> list[Band]:
    """The missing tiles in bands of as many columns as factors are kept of, but that of the row; of several devices in
    narrower ones, those with most tiles first."""
    width = max(1, job.chosen.sizes.kept - 1)
    if devices > 1:
        width = min(width, -(-store.plan.grid[1] // (BANDS_EACH * devices)))
    left = set(missing)
    found = [tuple(tile for tile in band if tile in left) for band in store.plan.bands(width)]
    return sorted((band for band in found if band), key=lambda band: -len(band) if devices > 1 else 0)


def devices(job: Job) -> tuple[object, ...]:
    """Those that the job asks for, none where it does not ask. Raises `InputError` for what is not there."""
    if job.asking.devices is None:
        return ()
    if job.own.framework == "torch":
        from impls.tiles.torch.devices import found
    else:
        from impls.tiles.jax.devices import found
    return found(job.asking.devices, job.own.device)


def compute(job: Job, store: Store, dealt: Sequence[Band], to: Sequence[object], advance: Advance, *,
            check: bool) -> None:
    """These bands, on these devices."""
    if job.own.framework == "torch":
        from impls.tiles.torch.processes import compute as of_framework
    else:
        from impls.tiles.jax.threads import compute as of_framework
    of_framework(job, store, dealt, to, advance, check=check)
