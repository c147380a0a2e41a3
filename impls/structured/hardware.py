"""What the planner has to know of a processor."""

from __future__ import annotations

from dataclasses import dataclass

from reference.case import Device


@dataclass(frozen=True)
class Hardware:
    """What the choices depend on, of the processor that computes."""

    flops_per_byte: float
    """Additions and multiplications in the time that it takes to move one byte to or from memory."""
    block_rows: int
    """Rows (examples times outputs) of a block of the contraction: large enough for a matrix product to run at full
    speed, small enough that leaving out the lower triangle of a symmetric kernel saves something."""
    block_bytes: int
    """What a block of the contraction may hold where no limit is given."""
    pass_bytes: int
    """What one panel's passes may hold where no limit is given: more examples at once are hardly faster."""
    few_rows: int
    """With no more rows than this (examples times outputs times positions) x1 and x2 pass through the network as one
    batch: the fewer rows a product has, the more of its time goes into reading the weight, or into its launch."""
    symmetry_flops: float
    """With fewer the contraction of the whole kernel is not worth cutting in blocks for its symmetry."""


HARDWARE: dict[Device, Hardware] = {
    # Seen on one core: 245 GFLOP/s in a float32 product, 10 GB/s copied; blocks of 128 to 320 rows are alike; at width
    # 1024 a product of 128 rows takes 0.86 of the time of two of 64 (0.8 with two threads). Blocks stay in the caches.
    "cpu": Hardware(flops_per_byte=25, block_rows=160, block_bytes=64 * 2**20, pass_bytes=2**30, few_rows=512,
                    symmetry_flops=1e8),
    # Seen on one H200: 4.3 TB/s copied, and 67 TFLOP/s in float32 by its data sheet. Small products occupy a part of
    # the processor, and are waited for: with the CPU's plan JAX takes 1.24 ms for an MLP's kernel of 640 rows, not
    # 0.40, and PyTorch, whose examples then pass one by one, 6.0 ms for a transformer, not 4.7. `few_rows` and
    # `symmetry_flops` were not measured by themselves.
    "cuda": Hardware(flops_per_byte=15, block_rows=2048, block_bytes=2**30, pass_bytes=2**32, few_rows=2**14,
                     symmetry_flops=1e10),
}
