"""The zarr array of a kernel on disk: one chunk a tile, plain numbers with their CRC-32C."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from impls.tiles.compute import Layout
from impls.tiles.identity import Identity
from impls.tiles.plan import Plan, Tile
from reference import InputError

CRC_BYTES = 4
"""What the codec crc32c appends to a chunk."""


def plan_of(identity: Identity) -> Plan:
    """Its tiles."""
    return Plan(identity.x1.examples, None if identity.x2 is None else identity.x2.examples, identity.tile)


def entry_shape(identity: Identity) -> tuple[int, ...]:
    """Of one pair of examples."""
    o = identity.n_outputs
    return {"full": (o, o), "diagonal": (o,), "trace": ()}[identity.outputs]


def laid_out(shape: tuple[int, ...], dtype: Any, layout: Layout) -> np.ndarray:
    """An array of that shape, not filled, whose axes lie in memory in that order."""
    return np.empty([shape[axis] for axis in layout], dtype).transpose(np.argsort(layout))


def mirrored(block: np.ndarray) -> np.ndarray:
    """(M, N, …) from (N, M, …) of a kernel with x2 = x1."""
    return block.transpose((1, 0, 3, 2) if block.ndim == 4 else (1, 0, 2)[:block.ndim])


def create(path: Path, identity: Identity, layout: Layout) -> None:
    """An array without a chunk, in whose chunks the axes lie in that order."""
    from zarr.codecs import Crc32cCodec, TransposeCodec

    plan, entry, as_they_are = plan_of(identity), entry_shape(identity), tuple(range(len(layout)))
    _zarr().create_array(store=str(path), shape=(*plan.shape, *entry), chunks=(*plan.tile, *entry),
                         dtype=identity.dtype, fill_value=math.nan,
                         filters=None if layout == as_they_are else [TransposeCodec(order=layout)],
                         compressors=[Crc32cCodec()], zarr_format=3,
                         attributes={"kernel": f"NTK, {identity.outputs}", "x2 = x1": plan.symmetric,
                                     "stored": "upper triangle" if plan.symmetric else "all"})


def opened(path: Path) -> Any:
    """The array, to be written to where that is allowed."""
    return _zarr().open_array(store=str(path), mode="r+" if os.access(path, os.W_OK) else "r", zarr_format=3,
                              config={"write_empty_chunks": True})


def layout(array: Any) -> Layout:
    """The order in which the axes lie in its chunks."""
    from zarr.codecs import TransposeCodec

    orders = [codec.order for codec in array.metadata.codecs if isinstance(codec, TransposeCodec)]
    return orders[0] if orders else tuple(range(array.ndim))


def check(path: Path, array: Any, identity: Identity) -> None:
    """Raise `InputError` unless it has plain numbers, as they were written; one that was stopped while growing is
    brought into the shape that the identity says."""
    from zarr.codecs import BytesCodec, Crc32cCodec, TransposeCodec

    plan, entry = plan_of(identity), entry_shape(identity)
    chunks, codecs = (*plan.tile, *entry), [type(codec) for codec in array.metadata.codecs]
    found = array.dtype, array.chunks, [each for each in codecs if each is not TransposeCodec]
    if found != (np.dtype(identity.dtype), chunks, [BytesCodec, Crc32cCodec]):
        raise InputError(f"{path} is no kernel of ours any more: its array has {array.dtype} in chunks of "
                         f"{array.chunks} ({', '.join(codec.__name__ for codec in codecs)}), and plain "
                         f"{identity.dtype} in {chunks} was written")
    if array.shape != (*plan.shape, *entry):
        array.resize((*plan.shape, *entry))


def checksum(path: Path, array: Any, tile: Tile) -> str:
    """What a tile's chunk says is its CRC-32C, which zarr holds against its numbers whenever it reads it."""
    place = (*tile, *(0 for _ in range(array.ndim - 2)))
    with (path / array.metadata.encode_chunk_key(place)).open("rb") as file:
        file.seek(-CRC_BYTES, os.SEEK_END)
        return file.read().hex()


def _zarr() -> Any:
    try:
        import zarr
    except ModuleNotFoundError as error:
        raise InputError('a kernel on disk needs zarr: pip install "ntk-bench[scale]"') from error
    return zarr
