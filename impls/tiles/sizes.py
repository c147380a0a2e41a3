"""How large tiles are, and how much is kept, so that all of it stays within a memory limit, whatever N is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from impls.structured.planner import even
from reference import InputError

LIMIT = 2**30
"""Bytes that are held beside the store, unless `memory_limit` says another number; the frameworks' own not counted."""

CHUNK_BYTES = 2**24
"""Of a tile at most, unless it is asked for: in larger ones nothing is faster, and more is lost with one."""

# Shares of the limit. Of a tile there are the one that is computed, the one that is written and the one that waits.
OF_TILES, OF_FACTORS, OF_ENGINE = 1 / 4, 1 / 2, 1 / 2
TILES = 3

KEPT, SMALL = 8, 256
"""Tiles whose factors are held at once, at least, unless tiles were then of fewer examples than these."""


@dataclass(frozen=True)
class Sizes:
    """`tile`: examples of x1 and of x2 in one; `kept`: tiles whose factors are held at once."""

    tile: tuple[int, int]
    kept: int


def tile_of(shape: tuple[int, int], entry_bytes: int, limit: int, most: int | None = None) -> tuple[int, int]:
    """For a kernel of that shape in examples, of `entry_bytes` a pair; `most`: examples of a tile at most."""
    pairs = min(CHUNK_BYTES, limit * OF_TILES / TILES) / entry_bytes
    if pairs < 1:
        raise InputError(f"memory_limit={limit} is not enough for one pair of examples, whose kernel takes "
                         f"{entry_bytes} bytes: give it {int(TILES / OF_TILES * entry_bytes)}, or ask for "
                         "outputs='trace' or 'diagonal'")
    size = max(1, int(pairs**0.5))
    if most is not None:
        size = max(1, min(size, most))
    size1, size2 = (min(n, size) for n in shape)
    return even(shape[0], size1), even(shape[1], size2)


def given(tile: Any, symmetric: bool) -> tuple[int, int]:
    """What the user asked for: a number, or two; more than there are examples, too, where others will follow. Raises
    `InputError` for what makes no sense."""
    found = tile if isinstance(tile, tuple | list) else (tile, tile)
    if len(found) != 2 or not all(isinstance(each, int) and each > 0 for each in found):
        raise InputError(f"tile must be a positive number of examples, or two of them (of x1 and of x2), got {tile!r}")
    if symmetric and found[0] != found[1]:
        raise InputError(f"where x2 = x1 tiles are square, got tile={tile!r}")
    return found[0], found[1]


def most_of(kept_bytes: float, limit: int) -> int:
    """Examples of a tile at most, at `kept_bytes` of factors an example; 0 where not even those of two fit.

    The more of the room is left to columns and not to the one row, the fewer times rows pass through the network.
    """
    fit = limit * OF_FACTORS / max(kept_bytes, 1)
    return int(max(fit / KEPT, min(fit / 2, SMALL)))


def kept_of(tile: tuple[int, int], kept_bytes: float, limit: int) -> int:
    """Tiles whose factors fit. Raises `InputError` where two do not."""
    kept = int(limit * OF_FACTORS / (max(tile) * max(kept_bytes, 1)))
    if kept < 2:
        fits = int(limit * OF_FACTORS / 2 / max(kept_bytes, 1))
        raise InputError(f"memory_limit={limit} is not enough for tiles of {max(tile)} examples: the factors of two "
                         f"take {int(2 * max(tile) * kept_bytes)} bytes, and half of the limit is theirs. "
                         + (f"Ask for tile={fits} or less" if fits else
                            f"Give it {int(4 * kept_bytes)} bytes at least"))
    return kept
