"""Mistakes in the networks that PyTorch's methods differentiate: one layer built wrongly in each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from impls.networks import torch as torch_networks
from impls.networks import torch_layers
from impls.networks.torch_layers import Function
from reference import InputError, layers
from tests.mutants.mutant import Mutant, Patch, attribute, described_as, entry, layer, patched, together

CONTRACTION, LOOP, ENGINE = "torch_func.jacobian_contraction", "torch_autograd.per_example", "structured_torch"


class Changed(nn.Module):
    """A module whose forward is a function of the module and the input."""

    def __init__(self, module: nn.Module, function: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.module = module
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.module, x)


def _forward(kind: type, function: Callable[[Any, Tensor], Tensor]) -> Patch:
    """Another forward pass of one kind of layer, on the module that the right build makes."""
    return layer(torch_layers.module, kind, lambda original, *rest: Changed(original(*rest), function))


def _described(kind: type, **changes: Any) -> Patch:
    return described_as(torch_layers.module, kind, lambda described: replace(described, **changes))


def _activation(name: str, function: Callable[[Tensor], Tensor]) -> Patch:
    """In place of the function of `reference.layers.Activate` of that name."""
    return layer(torch_layers.module, layers.Activate, lambda original, described, *rest: (
        Function(lambda x: function(x * described.frequency if name in ("siren", "finer") else x))
        if described.function == name else original(described, *rest)))


def _attention(**changes: Callable[[Tensor], Tensor]) -> Patch:
    """Attention written out, with the mask, the scores or the heads changed."""

    def forward(self_attention: Any, x: Tensor) -> Tensor:
        attention = self_attention.attention
        n, length, width = x.shape
        projected = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)
        query, key, value = projected.reshape(n, length, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
        scores = changes.get("scores", _scaled)(query @ key.transpose(-1, -2)) / math.sqrt(query.shape[-1])
        mask = changes.get("mask", _same)(torch.ones(length, length, dtype=torch.bool).tril())
        heads = torch.softmax(scores.masked_fill(~mask, -math.inf), -1) @ value
        joined = changes.get("heads", _same)(heads.transpose(1, 2)).reshape(n, length, width)
        return attention.out_proj(joined)

    return _forward(layers.Attention, forward)


def _same(x: Tensor) -> Tensor:
    return x


_scaled = _same


def _mutant(name: str, item: str, architecture: str, what: str, patch: Patch, case: str | None, base: str = CONTRACTION,
            **options: Any) -> Mutant:
    return Mutant(f"torch.{name}", item, architecture, what, base, patched(patch), case, **options)


def _once_cloned(original: Callable[..., nn.Module], described: Any, shape: Any, table: Any) -> nn.Module:
    """Parameters of its own for each use: values are shared, the name is not."""
    copies = {name: nn.Parameter(tensor.clone()) for name, tensor in table.items() if isinstance(tensor, nn.Parameter)}
    return original(described, shape, {**table, **copies})


def _first_use_only(original: Callable[..., nn.Module], described: Any, shape: Any, table: Any) -> nn.Module:
    """The output layer reads the embedding's values, detached."""
    if described.name != "tokens":
        return original(described, shape, table)
    return Changed(original(described, shape, table), lambda linear, x: F.linear(x, linear.weight.detach()))


def _training_norm(norm: Any, x: Tensor) -> Tensor:
    return F.batch_norm(x, None, None, norm.weight, norm.bias, training=True, eps=norm.eps)


def _state_detached(unrolled: Any, x: Tensor) -> Tensor:
    state = x.new_zeros(len(x), unrolled.cell.hidden_size)
    for step in x.unbind(1):
        state = unrolled.cell(step, state.detach())
    return state


def _mean_state(unrolled: Any, x: Tensor) -> Tensor:
    states = [x.new_zeros(len(x), unrolled.cell.hidden_size)]
    for step in x.unbind(1):
        states.append(unrolled.cell(step, states[-1]))
    return torch.stack(states[1:]).mean(0)


def _padded_token(embedding: Any, x: Tensor) -> Tensor:
    return F.embedding(x, embedding.weight) * (x != 0).unsqueeze(-1) \
        + F.embedding(x, embedding.weight).detach() * (x == 0).unsqueeze(-1)


def _grouped_as_dense(conv: Any, x: Tensor) -> Tensor:
    """Every filter sees all channels: its weight repeated over the groups."""
    weight = conv.weight.repeat(1, conv.groups, 1, 1)
    return F.conv2d(x, weight, conv.bias, conv.stride, conv.padding, conv.dilation)


def _shuffled_groups(conv: Any, x: Tensor) -> Tensor:
    """Channels are dealt out to the groups in turn, not block by block."""
    return conv(x.unflatten(1, (-1, conv.groups)).transpose(1, 2).flatten(1, 2))


def _flipped(conv: Any, x: Tensor) -> Tensor:
    """A convolution in the strict sense, where a cross-correlation is meant."""
    return F.conv2d(x, conv.weight.flip(2, 3), conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups)


def _bessel(norm: Any, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt(x.var(-1, keepdim=True) + norm.eps) * norm.weight + norm.bias


def _statistics_detached(norm: Any, x: Tensor) -> Tensor:
    mean, variance = x.mean(-1, keepdim=True).detach(), x.var(-1, keepdim=True, correction=0).detach()
    return (x - mean) / torch.sqrt(variance + norm.eps) * norm.weight + norm.bias


def _length_detached(linear: Any, x: Tensor) -> Tensor:
    gain, direction = linear.parametrizations.weight.original0, linear.parametrizations.weight.original1
    return F.linear(x, gain * direction / direction.norm(dim=1, keepdim=True).detach(), linear.bias)


def _norm_of_all(linear: Any, x: Tensor) -> Tensor:
    gain, direction = linear.parametrizations.weight.original0, linear.parametrizations.weight.original1
    return F.linear(x, gain * direction / direction.norm(), linear.bias)


def _dense_layers_activated(network: Any, widths: Any) -> Any:
    made = _dense_layers(network, widths)
    made["output_activation"] = torch_networks.ACTIVATIONS[network.activation]()
    return made


_dense_layers = torch_networks._dense_layers


def _padded_with(mode: str) -> Patch:
    conv_layer = torch_networks._conv_layer

    def wrong(network: Any, conv: Any, channels_in: int) -> nn.Module:
        made: Any = conv_layer(network, conv, channels_in)
        return Changed(made, lambda made, x: F.conv2d(F.pad(x, (1, 1, 1, 1), mode=mode), made.weight, made.bias)) \
            if made.padding == (1, 1) and made.stride == (1, 1) else made

    return _named_as_before(wrong)


def _named_as_before(conv_layer: Callable[..., nn.Module]) -> Patch:
    """For layers of a ConvNet, whose parameters are loaded by name: those of `Changed` have one part more."""
    def load(self: nn.Module, params: Any, assign: bool) -> None:
        own = {name.replace(".module.", "."): name for name in dict(self.named_parameters())}
        _load(self, {own[name]: tensor for name, tensor in params.items()}, assign=assign)

    return lambda: together((attribute(torch_networks, "_conv_layer", conv_layer),
                             attribute(nn.Sequential, "load_state_dict", load)))


_load = nn.Module.load_state_dict

MUTANTS = (
    _mutant("output_activated", "2", "MLP", "the activation follows the output layer as well",
            attribute(torch_networks, "_dense_layers", _dense_layers_activated), "mlp_gelu"),
    _mutant("output_activated_conv", "2", "ConvNet", "the activation follows the output layer as well",
            attribute(torch_networks, "_dense_layers", _dense_layers_activated), "conv_stride"),
    _mutant("tied_cloned", "3", "tied dense", "a tied layer is two with equal values: their cross terms are lost",
            layer(torch_layers.module, layers.Dense, _once_cloned), "tied_dense"),
    _mutant("embedding_untied", "3", "transformer", "the output layer holds a copy of the embedding",
            layer(torch_layers.module, layers.Dense, _once_cloned), "transformer"),
    _mutant("embedding_counted_once", "3", "transformer", "the output layer reads the embedding's values, detached",
            layer(torch_layers.module, layers.Dense, _first_use_only), "transformer", ENGINE),
    _mutant("truncated_backpropagation", "3", "recurrent", "the state is detached at each step",
            _forward(layers.Recurrent, _state_detached), "recurrent"),
    _mutant("ntk_scaling", "17", "MLP", "d for √d in the NTK scaling",
            attribute(torch_networks, "weight_scale", lambda network, shape: network.W_std / shape[-1]),
            "mlp_tanh_ntk"),
    _mutant("ntk_scaling_conv", "17", "ConvNet", "√channels for √(channels·kh·kw) in the NTK scaling",
            attribute(torch_networks, "weight_scale", lambda network, shape: network.W_std / math.sqrt(shape[1])),
            "conv_ntk"),
    _mutant("ntk_bias_scale", "17", "MLP", "the biases are not scaled by b_std in the NTK parameterization",
            attribute(torch_networks, "bias_scale", lambda network: 1.0), "mlp_tanh_ntk"),
    _mutant("tanh_gelu", "17", "MLP", "GELU in its tanh approximation",
            entry(torch_networks.ACTIVATIONS, "gelu", lambda: nn.GELU("tanh")), "mlp_gelu"),
    _mutant("tanh_gelu_in_float32", "17", "transformer", "GELU in its tanh approximation, seen in float32 too",
            entry(torch_networks.ACTIVATIONS, "gelu", lambda: nn.GELU("tanh")),
            "transformer", symmetric=True, dtype="float32"),
    _mutant("relu6", "", "MLP", "ReLU6 for ReLU",
            entry(torch_networks.ACTIVATIONS, "relu", lambda: nn.ReLU6()), None,
            check="test_as_many_examples_in_x2"),
    _mutant("leaky_relu", "17", "MLP", "ReLU with a slope of 1e-6 below 0",
            entry(torch_networks.ACTIVATIONS, "relu", lambda: nn.LeakyReLU(1e-6)),
            "mlp_relu"),
    _mutant("batch_norm_training", "19", "residual ConvNet", "BatchNorm normalises with the statistics of the batch",
            _forward(layers.BatchNorm, _training_norm), "residual_batch_norm", LOOP, raises=InputError),
    _mutant("batch_norm_eps", "", "residual ConvNet", "the ε of BatchNorm is 1e-3, as elsewhere",
            _described(layers.BatchNorm, eps=1e-3), "residual_batch_norm"),
    _mutant("layer_norm_eps", "", "transformer", "the ε of LayerNorm is 1e-6, as elsewhere",
            _described(layers.LayerNorm, eps=1e-6), "transformer"),
    _mutant("rms_norm_eps", "", "norms", "the ε of RMSNorm is that of its dtype, PyTorch's default",
            _described(layers.RMSNorm, eps=torch.finfo(torch.float64).eps), "norms"),
    _mutant("layer_norm_bessel", "", "norms", "LayerNorm divides by n − 1", _forward(layers.LayerNorm, _bessel),
            "norms"),
    _mutant("norm_statistics_detached", "", "norms", "no derivative of LayerNorm's mean and variance",
            _forward(layers.LayerNorm, _statistics_detached), "norms"),
    _mutant("weight_norm_detached", "", "weight normalisation", "no derivative of the length that v is divided by",
            _forward(layers.WeightNormDense, _length_detached), "weight_norm"),
    _mutant("weight_norm_of_all", "", "weight normalisation", "v is divided by its norm, not each row by its own",
            _forward(layers.WeightNormDense, _norm_of_all), "weight_norm"),
    _mutant("residual_dropped", "", "residual ConvNet", "a residual without its shortcut",
            _forward(layers.Residual, lambda residual, x: residual.body(x)), "residual_batch_norm"),
    _mutant("residual_dropped_in_transformer", "", "transformer", "a residual without its shortcut",
            _forward(layers.Residual, lambda residual, x: residual.body(x)), "transformer", ENGINE),
    _mutant("residual_scaled", "", "transformer", "residuals divided by √2",
            _forward(layers.Residual, lambda residual, x: residual(x) / math.sqrt(2)), "transformer"),
    _mutant("groups_as_dense", "", "residual ConvNet", "a grouped convolution as a dense one",
            _forward(layers.Convolution, lambda conv, x: _grouped_as_dense(conv, x) if conv.groups > 1 else conv(x)),
            "residual_batch_norm"),
    _mutant("groups_shuffled", "", "residual ConvNet", "channels are dealt out to the groups in turn",
            _forward(layers.Convolution, _shuffled_groups), "residual_batch_norm", ENGINE),
    _mutant("kernel_flipped", "", "ConvNet with image outputs", "a flipped kernel: convolution for cross-correlation",
            _forward(layers.Convolution, _flipped), "conv_image_outputs"),
    _mutant("circular_padding", "", "ConvNet", "padded with the other side for zeros", _padded_with("circular"),
            "conv_same_global"),
    _mutant("replicated_padding", "", "ConvNet", "padded with the border for zeros", _padded_with("replicate"),
            "conv_same_global", LOOP),
    _mutant("mask_dropped", "", "transformer", "attention is not causal",
            _described(layers.Attention, causal=False), "transformer"),
    _mutant("mask_off_by_one", "", "transformer", "a position attends to the one after it",
            _attention(mask=lambda mask: mask | mask.roll(1, 1).tril(1)), "transformer"),
    _mutant("attention_scale", "", "transformer", "scores are not divided by the root of the head's width",
            _attention(scores=lambda scores: scores * math.sqrt(2)), "transformer"),
    _mutant("attention_scale_of_all", "", "transformer", "scores are divided by √D, not by √(D/heads)",
            _attention(scores=lambda scores: scores / math.sqrt(2)), "transformer", LOOP),
    _mutant("head_order", "", "transformer", "the heads are joined in the reverse order",
            _attention(heads=lambda heads: heads.flip(2)), "transformer"),
    _mutant("softmax_over_queries", "", "transformer", "scores are transposed: softmax over the queries",
            _attention(scores=lambda scores: scores.transpose(-1, -2)), "transformer"),
    _mutant("positions_dropped", "", "transformer", "position embeddings are not added",
            _forward(layers.Positions, lambda positions, x: x + 0 * positions.weight), "transformer"),
    _mutant("positions_rolled", "", "transformer", "positions are counted from 1",
            _forward(layers.Positions, lambda positions, x: x + positions.weight.roll(1, 0)), "transformer"),
    _mutant("padding_token", "", "transformer", "token 0 is taken for padding: its row has no gradient",
            _forward(layers.Embedding, _padded_token), "transformer"),
    _mutant("embedding_scaled", "", "transformer", "the embedding is multiplied by √D",
            _forward(layers.Embedding, lambda embedding, x: math.sqrt(embedding.embedding_dim) * embedding(x)),
            "transformer"),
    _mutant("time_reversed", "", "recurrent", "the sequence is read backwards",
            _forward(layers.Recurrent, lambda unrolled, x: unrolled(x.flip(1))), "recurrent"),
    _mutant("mean_state", "", "recurrent", "the mean of the states, not the last one",
            _forward(layers.Recurrent, _mean_state), "recurrent"),
    _mutant("siren_frequency", "", "coordinate network", "sin(x) where sin(ω x) is meant",
            _activation("siren", lambda x: torch.sin(x / 30)), "fourier_siren"),
    _mutant("finer_detached", "17", "coordinate network", "no derivative of FINER's |x| + 1, as in its authors' code",
            _activation("finer", lambda x: torch.sin((x.abs() / 1.5 + 1).detach() * x)), "finer_gaussian"),
    _mutant("gaussian_half", "", "coordinate network", "exp(−(s x)²/2) for exp(−(s x)²)",
            _activation("gaussian", lambda x: torch.exp(-(0.5 * x) ** 2 / 2)), "finer_gaussian"),
    _mutant("sinc_pi", "", "coordinate network", "NumPy's sinc, with a π inside",
            _activation("sinc", lambda x: torch.sinc(3 * x)), "sinc_wire"),
    _mutant("wire_not_squared", "", "coordinate network", "exp(−|s x|) for exp(−(s x)²)",
            _activation("wire", lambda x: torch.cos(5 * x) * torch.exp(-(0.75 * x).abs())), "sinc_wire"),
    _mutant("fourier_2pi", "", "coordinate network", "frequencies multiplied by 2π",
            _forward(layers.FourierFeatures, lambda fourier, x: fourier(2 * math.pi * x)), "fourier_siren"),
    _mutant("fourier_order", "", "coordinate network", "(sin, cos) for (cos, sin)",
            _forward(layers.FourierFeatures, lambda fourier, x: fourier(x).roll(4, -1)), "fourier_siren"),
    _mutant("weight_transposed", "", "tied dense", "x W for x Wᵀ where W is square",
            _forward(layers.Dense, lambda linear, x: x @ linear.weight + linear.bias
                     if linear.in_features == linear.out_features else linear(x)), "tied_dense"),
    _mutant("outputs_channels_last", "", "ConvNet with image outputs", "outputs flattened with the channels last",
            layer(torch_layers.module, layers.Convolution, lambda original, described, *rest: Changed(
                original(described, *rest), lambda conv, x: conv(x).movedim(1, 3))
                if described.name == "second" else original(described, *rest)), "conv_image_outputs"),
)
