"""The shared networks built from `torch.nn` layers, as PyTorch's users write them.

Weights are (out, in) and (channels_out, channels_in, kh, kw), images are (N, channels, height, width): PyTorch's own
conventions, so the arrays are loaded as they are. The NTK parameterization, which PyTorch lacks, subclasses the layers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from impls.networks import torch_layers
from impls.networks.torch_layers import ACTIVATIONS
from reference import MLP, Case, Conv, ConvNet, Described, Layered, Network, initialisation
from reference.layers import Drawn
from reference.networks import bias_scale, weight_scale


class NTKLinear(nn.Linear):
    """y = s_W W x + s_b b (Jacot et al. 2018, section 3)."""

    weight_scale = 1.0
    bias_scale = 1.0

    def forward(self, input: Tensor) -> Tensor:
        y = self.weight_scale * F.linear(input, self.weight)
        return y if self.bias is None else y + self.bias_scale * self.bias


class NTKConv2d(nn.Conv2d):
    """y = s_W W ⋆ x + s_b b (Jacot et al. 2018, section 3, for a convolution)."""

    weight_scale = 1.0
    bias_scale = 1.0

    def forward(self, input: Tensor) -> Tensor:
        y = self.weight_scale * F.conv2d(input, self.weight, None, self.stride, self.padding)
        return y if self.bias is None else y + self.bias_scale * self.bias[:, None, None]


def tensor_of(array: np.ndarray, dtype: torch.dtype, where: torch.device) -> Tensor:
    """A copy; PyTorch takes no strides below 0, as `x[::-1]` has them."""
    return torch.tensor(array.copy(), dtype=dtype, device=where)


def build(case: Case, dtype: torch.dtype, where: torch.device) -> nn.Module:
    """The case's network in evaluation mode, on that device. Draws no random numbers."""
    params, constants = ({name: tensor_of(array, dtype, where) for name, array in arrays.items()}
                         for arrays in (case.params, case.constants))
    return of_tensors(case.network, params, constants)


def fresh(case: Case, dtype: torch.dtype, where: torch.device) -> nn.Module:
    """The case's network freshly initialised, from PyTorch's global generator; its constants are the case's."""
    assert isinstance(case.network, Described)

    def drawn(how: Drawn) -> Tensor:
        values = torch.randn(how.shape, dtype=dtype, device=where)
        return how.mean + how.std * (values.abs() if how.positive else values)

    constants = {name: tensor_of(array, dtype, where) for name, array in case.constants.items()}
    params = {name: drawn(how) for name, how in initialisation(case.network).items()}
    return of_tensors(case.network, params, constants)


def of_tensors(network: Network, params: Mapping[str, Tensor], constants: Mapping[str, Tensor]) -> nn.Module:
    """The network in evaluation mode with these arrays for its own."""
    if isinstance(network, Layered):
        return _layered(network, params, constants).eval()
    if isinstance(network, MLP):
        layers = _dense_layers(network, network.widths)
    elif isinstance(network, ConvNet):
        layers = _convnet_layers(network)
    else:
        raise TypeError(f"PyTorch has no build of a {type(network).__name__}; known are MLP, ConvNet and Layered")
    module = nn.Sequential(layers)
    module.load_state_dict(dict(params), assign=True)  # replaces the parameters on the meta device
    return module.eval()


def _layered(network: Layered, params: Mapping[str, Tensor], constants: Mapping[str, Tensor]) -> nn.Module:
    frozen = {name: nn.Parameter(constants[name], requires_grad=False) for name in network.frozen}
    trained = {name: nn.Parameter(tensor) for name, tensor in params.items()}
    return torch_layers.sequential(network.layers, network.input_shape, {**constants, **frozen, **trained})


def _convnet_layers(network: ConvNet) -> OrderedDict[str, nn.Module]:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i, conv in enumerate(network.convs):
        layers[f"conv{i}"] = _conv_layer(network, conv, network.feature_shapes()[i][0])
        layers[f"conv{i}_activation"] = ACTIVATIONS[network.activation]()
        if conv.pool is not None:
            layers[f"conv{i}_pool"] = nn.AvgPool2d(conv.pool)
    if network.head == "global":
        layers["head"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers.update(_dense_layers(network, network.dense_widths))
    return layers


def _dense_layers(network: MLP | ConvNet, widths: tuple[int, ...]) -> OrderedDict[str, nn.Module]:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i, (fan_in, fan_out) in enumerate(pairwise(widths)):
        if i > 0:
            layers[f"dense{i - 1}_activation"] = ACTIVATIONS[network.activation]()
        layers[f"dense{i}"] = _dense_layer(network, fan_in, fan_out)
    return layers


# Layers are made on the meta device: no memory, and the global random generator stays untouched.


def _dense_layer(network: MLP | ConvNet, fan_in: int, fan_out: int) -> nn.Module:
    if network.parameterization == "standard":
        return nn.Linear(fan_in, fan_out, bias=network.bias, device="meta")
    return _scaled(NTKLinear(fan_in, fan_out, bias=network.bias, device="meta"), network)


def _conv_layer(network: ConvNet, conv: Conv, channels_in: int) -> nn.Module:
    layer = nn.Conv2d if network.parameterization == "standard" else NTKConv2d
    built = layer(channels_in, conv.channels, conv.kernel, conv.stride, conv.padding, bias=network.bias, device="meta")
    return _scaled(built, network) if isinstance(built, NTKConv2d) else built


def _scaled(layer: NTKLinear | NTKConv2d, network: MLP | ConvNet) -> nn.Module:
    layer.weight_scale = weight_scale(network, tuple(layer.weight.shape))
    layer.bias_scale = bias_scale(network)
    return layer
