"""Where the windows of a convolution or a pooling lie in an image."""

from __future__ import annotations

from itertools import product

import numpy as np

from reference.networks import Pair


def window_indices(shape: tuple[int, ...], kernel: Pair, stride: Pair, padding: Pair,
                   dilation: Pair = (1, 1)) -> np.ndarray:
    """Where each window finds its entries in an image of shape (channels, height, width), flattened; -1 in the padding.

    Shape (channels·kh·kw, positions), both in C order: of (channel, kernel row, kernel column), and of (row, column).
    """
    (channels, height, width), (kh, kw), (sh, sw), (ph, pw), (dh, dw) = shape, kernel, stride, padding, dilation
    tops = range(-ph, height + ph - dh * (kh - 1), sh)
    lefts = range(-pw, width + pw - dw * (kw - 1), sw)

    def index(channel: int, row: int, column: int) -> int:
        inside = 0 <= row < height and 0 <= column < width
        return (channel * height + row) * width + column if inside else -1

    return np.array([[index(c, top + dh * i, left + dw * j) for top, left in product(tops, lefts)]
                     for c, i, j in product(range(channels), range(kh), range(kw))])
