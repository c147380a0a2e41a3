"""Where the contraction cuts products, and what it makes at once, by the processor."""

from __future__ import annotations

from dataclasses import dataclass

from reference.case import Device


@dataclass(frozen=True)
class Sizes:
    """How much is made at once: for speed, and small beside what a plan holds."""

    rows: int
    """Of the kernel, in a block of a symmetric product: fewer leave more of the lower triangle out, more run at full
    speed."""
    wide_rows: int
    """Of the kernel, in a block of any other product."""
    pair_flops: int
    """A product of positions that takes more is made by itself for each pair of examples."""
    separable_numbers: int
    """In a block of the products of separable cotangents."""
    gathered_bytes: int
    """Up to here separable terms are added for all pairs of outputs at once, from as large a copy."""
    whole_kernel_bytes: float
    """A larger kernel is filled from panels of examples even where all of them fit at once, as each parameter is added
    to all of it."""
    panels_kernel_bytes: float
    """Of the kernel of two such panels."""


SIZES: dict[Device, Sizes] = {
    # Blocks that stay in the caches. Seen on one core: 64 and 128 rows are equally good, 320 take 1.2 times as long; a
    # gathered kernel of 100 KiB takes 14 µs and not 111, of 1.6 MiB 103 and not 165, of 6 MiB 750 and not 470. An
    # MLP's kernel of 1000 examples and 10 outputs (400 MB) takes 0.75 of the time in panels of 144, of 500 (100 MB) as
    # long, of 256 1.5 times as long; the trace for 6000 (144 MB) 0.7 in panels of 1448.
    "cpu": Sizes(rows=64, wide_rows=256, pair_flops=1 << 20, separable_numbers=1 << 19, gathered_bytes=1 << 21,
                 whole_kernel_bytes=2**27, panels_kernel_bytes=2**23),
    # Seen on one H200: an MLP's kernel of 640 rows in one block takes 0.55 ms, in blocks of 64 0.72; of a transformer
    # pairs of examples by themselves (67 MFLOP each) 4.7 ms, all at once 9.1; of a ResNet (down to 1.3 MFLOP) all at
    # once 4.5, by themselves 6.2.
    "cuda": Sizes(rows=2048, wide_rows=2048, pair_flops=1 << 25, separable_numbers=1 << 22, gathered_bytes=1 << 26,
                  whole_kernel_bytes=float("inf"), panels_kernel_bytes=float("inf")),
}
