"""Mistakes in the closed form of a fully connected network, `explicit_mlp`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from impls.methods import explicit_mlp
from tests.mutants.mutant import Mutant, Patch, attribute, entry, patched


def _slope(name: str, function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Patch:
    """Another derivative of an activation, from z and the right φ(z) and φ'(z)."""
    right = explicit_mlp.ACTIVATIONS[name]

    def wrong(z: Tensor) -> tuple[Tensor, Tensor]:
        a, slope = right(z)
        return a, function(z, a, slope)

    return entry(explicit_mlp.ACTIVATIONS, name, wrong)


def _shares(change: Callable[..., Tensor]) -> Patch:
    right = explicit_mlp._share
    return attribute(explicit_mlp, "_share", lambda *args, **options: change(right, *args, **options))


def _kernel(change: Callable[..., Tensor]) -> Patch:
    right = explicit_mlp._kernel
    return attribute(explicit_mlp, "_kernel", lambda *args, **options: change(right, *args, **options))


def _explicit(name: str, item: str, what: str, patch: Patch, case: str | None, **options: Any) -> Mutant:
    return Mutant(f"explicit.{name}", item, "MLP", what, "explicit_mlp", patched(patch), case, **options)


MUTANTS = (
    _explicit("relu_slope", "17", "the derivative of ReLU is that of a leaky one",
              _slope("relu", lambda z, a, slope: slope.clamp(min=0.01)), "mlp_relu"),
    _explicit("tanh_slope", "17", "1 − tanh for 1 − tanh²", _slope("tanh", lambda z, a, slope: 1 - a), "mlp_tanh_ntk"),
    _explicit("erf_slope", "17", "the derivative of erf without its factor 2/√π",
              _slope("erf", lambda z, a, slope: torch.exp(-z * z)), "mlp_erf_ntk_no_bias"),
    _explicit("gelu_slope", "17", "Φ(z) for Φ(z) + z Φ'(z)",
              _slope("gelu", lambda z, a, slope: 0.5 * torch.erfc(-z / 2**0.5)), "mlp_gelu"),
    _explicit("sin_slope", "17", "the derivative of sin is sin", _slope("sin", lambda z, a, slope: a),
            "mlp_sin_no_bias"),
    _explicit("relu_at_0", "17", "the derivative of ReLU at 0 is 1",
              _slope("relu", lambda z, a, slope: (z >= 0).to(z.dtype)), None, check="test_relu_at_0"),
    _explicit("no_biases", "1", "bias terms are never added",
              _shares(lambda right, *args, weights, biases: right(*args, weights=weights, biases=False)), "mlp_relu"),
    _explicit("first_layer_dropped", "17", "the first layer is left out of the sum",
              _kernel(lambda right, problem, request, indices, **which: right(problem, request, indices[1:], **which)),
              "mlp_relu_deep"),
    _explicit("output_layer_dropped", "17", "the last layer is left out of the sum",
              _kernel(lambda right, problem, request, indices, **which: right(problem, request, indices[:-1], **which)),
              "mlp_wide"),
    _explicit("weight_scale", "17", "the scale of the NTK parameterization enters once, not squared",
              _shares(lambda right, layer, *args, **which: right(
                  layer._replace(weight_scale=layer.weight_scale**0.5), *args, **which)), "mlp_tanh_ntk"),
)
