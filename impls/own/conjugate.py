"""`conjugate`: the kernel φφᵀ/h of the features of a named layer of a network of your own."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from impls.frameworks.faces import face
from impls.frameworks.uncompiled import uncompiled
from impls.methods.conjugate import product
from impls.own.halves import framework_of, half
from impls.own.nngp import checked_examples
from impls.own.recognise import as_network
from reference import InputError


@uncompiled
def conjugate(model: Any, x1: Any, x2: Any = None, *, layer: str, batch_size: int | None = None) -> Any:
    """`impls.conjugate`, which says what it is; it stands apart so that importing `impls` stays quick."""
    network = as_network(model)
    if network is None or (isinstance(model, tuple) and network.framework != "equinox"):
        raise InputError(f"the features of a layer are those of a torch.nn.Module, an Equinox module or a Flax NNX "
                         f"module, got {type(model).__name__}")
    with half(framework_of(network)).apart(), _precision(model, network.framework):
        first, second = checked_examples(x1, x2)
        phi1 = _features(model, network.framework, first, layer, batch_size)
        phi2 = phi1 if second is None else _features(model, network.framework, second, layer, batch_size)
        return product(phi1, phi2, "trace")


def _precision(model: Any, framework: str) -> AbstractContextManager[None]:
    """All bits of any dtype; in JAX float64 is there where the model is of it."""
    if framework == "torch":
        return face("torch").precision("float32")
    from impls.frameworks.jax.support import precision, widest

    return precision(widest(model))


def _features(model: Any, framework: str, x: np.ndarray, layer: str, batch_size: int | None) -> Any:
    """φ (N, h), the framework's own array."""
    if framework == "torch":
        import torch

        from impls.methods.conjugate_torch import features_of

        return features_of(model, torch.tensor(x, device="cpu"), layer, batch_size)
    if framework == "equinox":
        import jax.numpy as jnp

        from impls.methods.conjugate_equinox import features_of

        return features_of(model, jnp.asarray(x), layer, batch_size)
    from impls.own.jax.conjugate import features_of

    return features_of(model, x, layer, batch_size)
