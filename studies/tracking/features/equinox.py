"""Of Equinox's modules, for one example each."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import numpy as np

from impls.frameworks.jax import equinox_features
from impls.frameworks.jax.params import leaf_names
from studies.tracking.features.observation import Observation, as_observation


def observe(model: Any, x: Any, layers: tuple[str, ...]) -> Observation:
    return as_observation(equinox_features.observe(model, x, layers))


def weights(model: Any) -> dict[str, np.ndarray]:
    module = model[0] if isinstance(model, tuple) else model
    found, _ = jax.tree_util.tree_flatten_with_path(eqx.filter(module, eqx.is_inexact_array))
    names = leaf_names(path for path, _ in found)
    return {name: np.asarray(leaf) for name, (_, leaf) in zip(names, found, strict=True)}
