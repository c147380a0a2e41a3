"""`impls.ntk` with `out=`: the kernel on disk, in one call."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from impls.frameworks.uncompiled import uncompiled
from impls.given.asked import Asked
from impls.given.saying import saying
from impls.given.selection import Where
from impls.own.halves import framework_of, half
from impls.own.ntk import check_no_options
from impls.own.recognise import user_network
from impls.programs.traces import traced_once
from impls.tiles import sizes
from impls.tiles.job import Asking, job
from impls.tiles.lazy import LazyKernel
from impls.tiles.progress import bar, nothing
from impls.tiles.run import run
from reference import InputError
from reference.case import Outputs


@uncompiled
@traced_once()
def ntk(model: Any, x1: Any, x2: Any = None, *, out: str | Path, tile: Any, devices: Any, progress: bool, params: Any,
        outputs: Outputs, method: str, batch_size: int | None, memory_limit: int | None, verbose: bool, seed: int,
        check: bool, inputs: Any, select: Any, where: Where, without: Mapping[str, Any],
        options: Mapping[str, Any]) -> LazyKernel:
    """`impls.ntk`, which says what it is. `without`: what it takes that tiles do not."""
    if given := [name for name, value in without.items() if value is not None and value is not False]:
        raise InputError(f"a kernel that is computed into a folder takes no {', '.join(given)}; leave it away")
    if method == "auto":
        check_no_options(options)
    if memory_limit is not None and not (isinstance(memory_limit, int | float) and memory_limit > 0):
        raise InputError(f"memory_limit must be a positive number of bytes, got {memory_limit!r}")
    limit = sizes.LIMIT if memory_limit is None else int(memory_limit)
    asking = Asking(outputs, method, tile, limit, batch_size, seed, options, devices, Asked(inputs, select, where))
    network = user_network(model, params)
    with half(framework_of(network)).apart():
        found = job(network, x1, x2, asking=asking, path=out)
        return run(found, out, check=check, watch=bar if progress else nothing, say=saying(verbose))
