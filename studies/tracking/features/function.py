"""Of ``f(params, x)`` in JAX, and of Linen's modules with their variables: outputs and weights, no layers."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from impls.frameworks.jax.params import differentiable, leaf_names
from reference import InputError
from studies.tracking.features.observation import Observation


def observe(f: Any, params: Any, x: Any, layers: tuple[str, ...]) -> Observation:
    if layers:
        raise InputError(f"a function has no layer {layers[0]!r}; track a torch.nn.Module, an Equinox or a Flax NNX "
                         "module, or leave layers out")
    return Observation(np.asarray(f(params, jnp.asarray(x))), {})


def weights(f: Any, params: Any) -> dict[str, np.ndarray]:
    found = [(path, leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(params) if differentiable(leaf)]
    names = leaf_names(path for path, _ in found)
    return {name: np.asarray(leaf) for name, (_, leaf) in zip(names, found, strict=True)}
