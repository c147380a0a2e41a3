"""How a kernel that no memory holds comes to lie on disk: in tiles, resumed where it stopped, read as one array.

A `store.Store` is a zarr 3 array, one chunk a tile, with a note of what it is the kernel of (`identity`) and lists, to
which lines are only added, of the tiles that are done (`manifest`). `plan` says which tiles there are, and in which
order; `compute` what is in one; `run` goes through them. All about a tile is idempotent: whoever computes it, in
whichever process and however often, writes the same numbers to the same place, and then says so.

May import all of `impls`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from impls.tiles.lazy import LazyKernel

__all__ = ["open_kernel"]


def open_kernel(path: str | Path) -> LazyKernel:
    """The kernel that lies there, as an array of which only what is asked for is read; see `lazy.LazyKernel`.

    Raises `InputError` where there is none.
    """
    from impls.tiles.lazy import LazyKernel
    from impls.tiles.store import Store

    return LazyKernel(Store.open(path))
