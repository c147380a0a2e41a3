"""Mistakes of methods that work layer by layer with hooks: `tests.mutants.layerwise`, one thing wrong in each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from impls import Method
from tests.mutants import layerwise
from tests.mutants.layerwise import Linear, Shares, Use, exact, gradient, products, total, zeros
from tests.mutants.mutant import OTHER_BASES, Mutant, attribute, patched

OTHER_BASES[layerwise.LAYERWISE.name] = layerwise.LAYERWISE


def _with(shares: Shares) -> Callable[[Method], Method]:
    return lambda base: replace(base, shares=shares)  # type: ignore[type-var]


def _weights_only(layer: Linear, uses1: list[Use], uses2: list[Use]) -> Tensor:
    return products(*(total(map(gradient, some)) for some in (uses1, uses2)))


def _biases_only_once(layer: Linear, uses1: list[Use], uses2: list[Use]) -> Tensor:
    """The bias, as often as the layer is used, but not its cross terms."""
    weights = _weights_only(layer, uses1, uses2)
    if layer.bias is None:
        return weights
    return total([weights, *(products(one.delta.sum(2), other.delta.sum(2))
                             for one, other in zip(uses1, uses2, strict=True))])


def _without_cross_terms(layer: Linear, uses1: list[Use], uses2: list[Use]) -> Tensor:
    return total(exact(layer, [one], [other]) for one, other in zip(uses1, uses2, strict=True))


def _last_use(layer: Linear, uses1: list[Use], uses2: list[Use]) -> Tensor:
    return exact(layer, uses1[-1:], uses2[-1:])


def _frozen_too(layer: Linear, uses1: list[Use], uses2: list[Use]) -> Tensor:
    share = _weights_only(layer, uses1, uses2)
    if layer.bias is None:
        return share
    return share + products(*(total(use.delta.sum(2) for use in some) for some in (uses1, uses2)))


def _pooled(layer: Linear, uses1: list[Use], uses2: list[Use]) -> Tensor:
    """Gram(a) ∘ Gram(g) / T over positions that were pooled before."""
    shares = [zeros(uses1, uses2)]
    for one, other in zip(uses1, uses2, strict=True):
        inflows = one.inflow.sum(1) @ other.inflow.sum(1).T
        deltas = products(one.delta.sum(2), other.delta.sum(2))
        shares.append(inflows[:, :, None, None] * deltas / one.inflow.shape[1])
        if layer.bias is not None:
            shares.append(deltas)
    return total(shares)


def _positions_uncorrelated(layer: Linear, uses1: list[Use], uses2: list[Use]) -> Tensor:
    """Σ_t (a_t·a'_t)(g_t·g'_t), as Kronecker factorisations have it."""
    shares = [torch.einsum("nti,mti,nato,mbto->nmab", one.inflow, other.inflow, one.delta, other.delta)
              for one, other in zip(uses1, uses2, strict=True)]
    if layer.bias is not None:
        shares.append(products(*(total(use.delta.sum(2) for use in some) for some in (uses1, uses2))))
    return total(shares)


def _bias_at_one_position(layer: Linear, uses1: list[Use], uses2: list[Use]) -> Tensor:
    """The bias of a convolution as that of a dense layer: its deltas averaged, not summed, over positions."""
    shares = [_weights_only(layer, uses1, uses2)]
    if layer.bias is not None:
        shares.append(products(*(total(use.delta.mean(2) for use in some) for some in (uses1, uses2))))
    return total(shares)


def _layer_by_name(layer: Linear, uses1: list[Use], uses2: list[Use]) -> Tensor:
    """Gradients joined into one vector a layer and normalised to length 1."""
    def unit(some: list[Use]) -> Tensor:
        return F.normalize(total(map(gradient, some)), dim=2)

    return products(unit(uses1), unit(uses2))


def _without_dilation(layer: Any, x: Tensor) -> Tensor:
    """As many windows as there have to be, but without holes in them."""
    height, width = (size - dilation * (kernel - 1) for size, kernel, dilation
                     in zip(x.shape[2:], layer.kernel_size, layer.dilation, strict=True))
    dense = F.unfold(x, layer.kernel_size)
    rows = x.shape[2] - layer.kernel_size[0] + 1
    return dense.unflatten(2, (rows, -1))[:, :, :height, :width].flatten(2).transpose(1, 2)


def _transposed_windows(layer: Any, x: Tensor) -> Tensor:
    height, width = (size - kernel + 1 for size, kernel in zip(x.shape[2:], layer.kernel_size, strict=True))
    right = F.unfold(x, layer.kernel_size)
    return right.unflatten(2, (height, width)).transpose(2, 3).flatten(2).transpose(1, 2)


def _mutant(name: str, item: str, architecture: str, what: str, make: Callable[[Method], Method], case: str,
            **options: Any) -> Mutant:
    return Mutant(f"layerwise.{name}", item, architecture, what, "layerwise", make, case, **options)


MUTANTS = (
    _mutant("no_biases", "1", "MLP", "bias terms are never added", _with(_weights_only), "mlp_relu"),
    _mutant("no_conv_biases", "1", "ConvNet", "bias terms are never added", _with(_weights_only), "conv_stride"),
    _mutant("tied_cross_terms_lost", "3", "tied dense", "each use of a tied weight counts, their cross terms do not",
            _with(_without_cross_terms), "tied_dense"),
    _mutant("tied_bias_cross_terms_lost", "3", "tied dense", "the cross terms of a tied bias are lost",
            _with(_biases_only_once), "tied_dense"),
    _mutant("tied_last_use", "3", "tied dense", "the hook of the second use overwrites what the first one kept",
            _with(_last_use), "tied_dense"),
    _mutant("frozen_counted", "4", "frozen MLP", "frozen layers have hooks as well", _with(_frozen_too), "frozen"),
    _mutant("conv_as_dense", "8", "ConvNet", "Gram(a) ∘ Gram(g) / T over pooled positions", _with(_pooled),
            "conv_same_global"),
    _mutant("conv_image_as_dense", "8", "ConvNet with image outputs", "Gram(a) ∘ Gram(g) / T over pooled positions",
            _with(_pooled), "conv_image_outputs"),
    _mutant("positions_uncorrelated", "8", "ConvNet", "cross terms between the positions of a convolution are lost",
            _with(_positions_uncorrelated), "conv_pool_dense"),
    _mutant("conv_bias_averaged", "8", "ConvNet", "a convolution's bias counts once, not at each position",
            _with(_bias_at_one_position), "conv_same_global"),
    _mutant("cosine_by_layer", "15", "MLP", "the gradients of each layer are normalised first", _with(_layer_by_name),
            "mlp_relu"),
    _mutant("transposed_windows", "", "ConvNet", "the windows of a convolution are read column by column",
            patched(attribute(layerwise, "patches", _transposed_windows)), "conv_pool_dense"),
    _mutant("dilation_ignored", "", "ConvNet with image outputs", "the patches of a dilated convolution are dense ones",
            patched(attribute(layerwise, "patches", _without_dilation)), "conv_image_outputs"),
)
