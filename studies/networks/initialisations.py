"""How the weights and biases of a layer are drawn, in float64 by NumPy: the same numbers for both dtypes."""

from __future__ import annotations

import math

import numpy as np

from reference import InputError
from studies.networks.names import Initialisation

OWN: dict[str, Initialisation] = {"siren": "siren", "finer": "finer", "finer_gaussian": "finer",
                                  "finer_wire_real": "finer", "finer_wire_complex": "finer"}
"""A layer type's own, where it is not "standard"."""


def draw(kind: Initialisation, n_in: int, n_out: int, *, first: bool, w0: float, bias_k: float,
         rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A weight matrix (n_out, n_in) and a bias (n_out,), all of them uniform in ±a limit.

    - `siren`: weights 1/n_in in the first layer, √(6/n_in)/|w0| in the others (Sitzmann et al. 2020, section 3.2); bias
      π/‖W_row‖, a period of the sine over the unit interval (Romero et al. 2022, CKConv; as in INR_BEP).
    - `finer`: weights as `siren`, biases `bias_k` (Liu et al. 2024, FINER; INR_BEP in all layers).
    - `standard`: weights √(6/(n_in + n_out)) (Glorot, Bengio 2010), biases 1/√n_in.
    """
    if kind != "standard" and w0 == 0:
        raise InputError(f"the initialisation {kind} divides by w0, which is 0; give another, or the standard one")
    sine = 1 / n_in if first else math.sqrt(6 / n_in) / abs(w0)
    limit = math.sqrt(6 / (n_in + n_out)) if kind == "standard" else sine
    weight = rng.uniform(-limit, limit, (n_out, n_in))
    unit = rng.uniform(-1, 1, n_out)
    if kind == "siren":
        return weight, unit * np.pi / np.linalg.norm(weight, axis=1)
    return weight, unit * (bias_k if kind == "finer" else 1 / math.sqrt(n_in))


def draw_output(n_in: int, n_out: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Those of the last layer, linear: weights and biases uniform in ±1/√n_in."""
    limit = 1 / math.sqrt(n_in)
    return rng.uniform(-limit, limit, (n_out, n_in)), rng.uniform(-limit, limit, n_out)
