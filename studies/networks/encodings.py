"""Encodings of a point x (d,) before the first layer. Their frequencies are drawn or given, and not trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np

from studies.networks.names import EncodingName

Encode = Callable[[jax.Array, jax.Array], jax.Array]
"""(frequencies, x) ↦ features (F,)."""

TRIDENT_SHARPNESS = 1.0


def frequencies(name: EncodingName, m: int, scale: float, d: int, rng: np.random.Generator) -> np.ndarray:
    """The frequencies of an encoding of d coordinates, float64.

    `fourier`: m vectors of N(0, scale²), (m, d). `positional`: π scale^k, k = 0 … m − 1 (NeRF's scale is 2).
    `harmonics`: π k, k = 1 … m. `trident`: 2π scale^(k/(m − 1)). `lattice`: the whole vectors with |n|∞ ≤ m, one of n
    and −n, (((2m + 1)^d + 1)/2, d). `none`: nothing.
    """
    k = np.arange(m, dtype=np.float64)
    if name == "fourier":
        return scale * rng.standard_normal((m, d))
    if name == "lattice":
        whole = [n for n in product(range(-m, m + 1), repeat=d) if n >= (0,) * d]
        return np.array(whole, dtype=np.float64)
    return {"none": np.zeros(0), "positional": np.pi * scale**k, "harmonics": np.pi * (k + 1),
            "trident": 2 * np.pi * scale ** (k / max(m - 1, 1))}[name]


def encode(name: EncodingName, of: jax.Array, x: jax.Array) -> jax.Array:
    """The features of one point x (d,), in its dtype."""
    return ENCODINGS[name](of, x)


def _projected(of: jax.Array, x: jax.Array) -> jax.Array:
    """(cos 2πBx, sin 2πBx), (2m,) (Tancik et al. 2020; of the lattice of whole vectors, Benbarka et al. 2022)."""
    phase = 2 * jnp.pi * (of @ x)
    return jnp.concatenate([jnp.cos(phase), jnp.sin(phase)])


def _positional(of: jax.Array, x: jax.Array) -> jax.Array:
    """(x, sin ω_k x_i, cos ω_k x_i), (d + 2md,) (Mildenhall et al. 2020, NeRF, equation 4; x itself as in its code)."""
    return jnp.concatenate([x, _waves(of, x)])


def _trident(of: jax.Array, x: jax.Array) -> jax.Array:
    """exp(−(s sin ω_k x_i)²) and of the cosine, (2md,), s = 1 (Shen et al. 2023, TRIDENT, as in INR_BEP)."""
    return jnp.exp(-((TRIDENT_SHARPNESS * _waves(of, x)) ** 2))


def _waves(of: jax.Array, x: jax.Array) -> jax.Array:
    phase = jnp.outer(of, x).ravel()
    return jnp.concatenate([jnp.sin(phase), jnp.cos(phase)])


ENCODINGS: Mapping[str, Encode] = {
    "none": lambda of, x: x, "fourier": _projected, "positional": _positional, "harmonics": _waves, "trident": _trident,
    "lattice": _projected,
}
assert tuple(ENCODINGS) == get_args(EncodingName)
