"""Mistakes in the kernel of the infinitely wide network, `neural_tangents.infinite`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp

from impls import Method
from impls.methods import neural_tangents_infinite
from impls.networks import stax as stax_networks
from reference import Request
from tests.mutants import mistakes
from tests.mutants.mutant import Mutant, Patch, attribute, entry, patched


def _limit(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Patch:
    right = stax_networks._scales
    return attribute(stax_networks, "_scales", lambda network: change(right(network)))


def _all_ones(theta: jax.Array, n_outputs: int, request: Request) -> jax.Array:
    """The same kernel between all outputs, where the limit has none between two of them."""
    full = jnp.broadcast_to(theta[:, :, None, None], (*theta.shape, n_outputs, n_outputs))
    return mistakes.selected(full, request)


def _mean_of_trace(theta: jax.Array, n_outputs: int, request: Request) -> jax.Array:
    return theta if request.outputs == "trace" else _with_outputs(theta, n_outputs, request)


_with_outputs = neural_tangents_infinite._with_outputs


@contextmanager
def _nngp() -> Iterator[None]:
    """The kernel of the network's values where that of its gradients is due."""
    right = stax_networks.layers

    def layers(network: Any) -> Any:
        init, apply, kernel = right(network)
        return init, apply, lambda x1, x2, get: kernel(x1, x2, "nngp")

    with attribute(stax_networks, "layers", layers)():
        yield


def _infinite(name: str, item: str, what: str, make: Callable[[Method], Method], case: str, **options: Any) -> Mutant:
    return Mutant(f"infinite.{name}", item, "infinite width", what, "neural_tangents.infinite", make, case, **options)


MUTANTS = (
    _infinite("nngp", "", "the kernel of the values for that of the gradients", patched(_nngp), "limit_relu"),
    _infinite("no_bias", "1", "biases are left out", patched(_limit(lambda scales: {**scales, "b_std": None})),
              "limit_erf"),
    _infinite("bias_not_squared", "17", "√b_std for b_std",
              patched(_limit(lambda scales: {**scales, "b_std": scales["b_std"] and scales["b_std"]**0.5})),
              "limit_erf"),
    _infinite("weight_scale", "17", "W_std² for W_std",
              patched(_limit(lambda scales: {**scales, "W_std": scales["W_std"]**2})), "limit_sin_no_bias"),
    _infinite("all_ones", "", "the same kernel between all outputs, for none between two of them",
              patched(attribute(neural_tangents_infinite, "_with_outputs", _all_ones)), "limit_relu"),
    _infinite("mean", "9", "the mean over outputs for their sum",
              patched(attribute(neural_tangents_infinite, "_with_outputs", _mean_of_trace)), "limit_relu",
              outputs="trace"),
    _infinite("erf_for_gelu", "17", "erf for GELU",
              patched(entry(stax_networks.ACTIVATIONS, "gelu", stax_networks.ACTIVATIONS["erf"])), "limit_gelu"),
)
