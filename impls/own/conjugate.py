"""`conjugate`: the kernel φφᵀ/h of the features of a named layer of a network of your own."""

from __future__ import annotations

from typing import Any

import numpy as np

from impls.frameworks.faces import face
from impls.methods.conjugate import product
from impls.own.nngp import checked_examples
from impls.own.recognise import as_network
from reference import InputError


def conjugate(model: Any, x1: Any, x2: Any = None, *, layer: str, batch_size: int | None = None) -> Any:
    """`impls.conjugate`, which says what it is; it stands apart so that importing `impls` stays quick."""
    network = as_network(model)
    if network is None or (isinstance(model, tuple) and network.framework != "equinox"):
        raise InputError(f"the features of a layer are those of a torch.nn.Module, an Equinox module or a Flax NNX "
                         f"module, got {type(model).__name__}")
    first, second = checked_examples(x1, x2)
    with face("torch" if network.framework == "torch" else "jax").precision("float32"):  # all bits of any dtype
        phi1 = _features(model, network.framework, first, layer, batch_size)
        phi2 = phi1 if second is None else _features(model, network.framework, second, layer, batch_size)
        return product(phi1, phi2, "trace")


def _features(model: Any, framework: str, x: np.ndarray, layer: str, batch_size: int | None) -> Any:
    """φ (N, h), the framework's own array."""
    if framework == "torch":
        import torch

        from impls.methods.conjugate_torch import features_of

        return features_of(model, torch.tensor(x.copy()), layer, batch_size)
    if framework == "equinox":
        import jax.numpy as jnp

        from impls.methods.conjugate_equinox import features_of

        return features_of(model, jnp.asarray(x), layer, batch_size)
    from impls.own.jax.conjugate import features_of

    return features_of(model, x, layer, batch_size)
