"""What a calibration measures, and of what sizes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Rates:
    """Operations and bytes per second; seconds."""

    matmul_flops: float
    """Of a product of two square matrices that fill the caches."""
    convolution_flops: float
    """Of a 3×3 convolution of a few images."""
    bytes: float
    """Read and written by a sum of two large arrays."""
    dispatch_s: float
    """Of a call that has hardly any numbers to work on: an operation of PyTorch, a compiled function of JAX."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not (isinstance(value, float) and 0 < value < float("inf")):
                raise ValueError(f"{name} must be a positive number, got {value!r}")


class Sizes(NamedTuple):
    """Of the calibration's arrays: the side of a matrix; of an image, and its channels; the length of a copy."""

    matrix: int
    image: int
    channels: int
    copied: int
