"""Which tiles a kernel has, and the order in which they are computed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple


class Tile(NamedTuple):
    """By its place in the grid."""

    row: int
    column: int


Band = tuple[Tile, ...]
"""Tiles of a few neighbouring columns, row by row."""


class Region(NamedTuple):
    """A rectangle of a kernel: examples of x1 and of x2."""

    rows: slice
    columns: slice

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    @property
    def pairs(self) -> int:
        return self.shape[0] * self.shape[1]


@dataclass(frozen=True)
class Plan:
    """A kernel of n1 × n2 examples in tiles of ``tile[0]`` × ``tile[1]``; `n2` None means x2 = x1, whose tiles are
    square, and of which those on and above the diagonal are all that is computed and stored."""

    n1: int
    n2: int | None
    tile: tuple[int, int]

    @property
    def symmetric(self) -> bool:
        return self.n2 is None

    @property
    def shape(self) -> tuple[int, int]:
        """In examples."""
        return self.n1, self.n1 if self.n2 is None else self.n2

    @property
    def grid(self) -> tuple[int, int]:
        """In tiles."""
        (n1, n2), (size1, size2) = self.shape, self.tile
        return -(-n1 // size1), -(-n2 // size2)

    def region(self, tile: Tile) -> Region:
        """The examples of a tile; those at the end of the kernel may be smaller."""
        return Region(*(slice(place * size, min((place + 1) * size, n))
                        for place, size, n in zip(tile, self.tile, self.shape, strict=True)))

    def bands(self, width: int) -> list[Band]:
        """All tiles, in bands of at most `width` columns; within a band row by row.

        Whoever keeps the factors of `width` + 1 tiles and computes a band in its order has those of each column once,
        and those of each row once a band. Bands have nothing to do with each other: they may be dealt out.
        """
        rows, columns = self.grid
        return [tuple(self._band(rows, start, min(start + width, columns))) for start in range(0, columns, width)]

    def _band(self, rows: int, start: int, stop: int) -> Iterator[Tile]:
        for row in range(min(rows, stop) if self.symmetric else rows):
            for column in range(max(start, row) if self.symmetric else start, stop):
                yield Tile(row, column)

    @property
    def tiles(self) -> tuple[Tile, ...]:
        """All, column by column."""
        return tuple(tile for band in self.bands(1) for tile in band)
