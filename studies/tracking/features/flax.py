"""Of Flax NNX modules."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from flax import nnx

from impls.frameworks.jax import flax_features
from impls.frameworks.jax.params import leaf_names
from studies.tracking.features.observation import Observation, as_observation


def observe(model: nnx.Module, x: Any, layers: tuple[str, ...]) -> Observation:
    return as_observation(flax_features.observe(model, x, layers))


def weights(model: nnx.Module) -> dict[str, np.ndarray]:
    found, _ = jax.tree_util.tree_flatten_with_path(nnx.state(model, nnx.Param))
    names = [name.removesuffix(".value") for name in leaf_names(path for path, _ in found)]
    return {name: np.asarray(leaf) for name, (_, leaf) in zip(names, found, strict=True)}
