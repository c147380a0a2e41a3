"""The names of layer types, encodings and initialisations, for who must not import JAX to know them."""

from __future__ import annotations

from typing import Literal

LayerName = Literal["siren", "finer", "finer_gaussian", "finer_wire_real", "finer_wire_complex", "gaussian",
                    "laplacian", "quadratic", "multi_quadratic", "super_gaussian", "exp_sin", "hosc", "ada_hosc",
                    "sinc", "sinc_plain", "wire_real", "wire_complex", "wire_complex_2d"]
EncodingName = Literal["none", "fourier", "positional", "harmonics", "trident", "lattice"]
Initialisation = Literal["siren", "finer", "standard"]
