"""Small networks whose numbers do not come straight from parameters and examples: constants made on the way, complex
numbers, linear algebra, places in memory; and products at one position."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.impls.structured.modules import Function, Small, parameter


def _of(
    forward: Callable[[Any, Tensor], Tensor], n: int, *, rules: dict[str, str] | None = None, **more: tuple[int, ...]
) -> Small:
    """`forward(m, h)` of a dense layer's n numbers; `more`: parameters by name, of these shapes."""

    def module() -> nn.Module:
        parts = {name: parameter(*shape) for name, shape in more.items()}
        return Function(lambda m, x: forward(m, m.l(x)), l=nn.Linear(3, n), **parts)

    return Small(module, (3,), {"l.weight": "dense", "l.bias": "bias"} if rules is None else rules)


def _positive(h: Tensor) -> Tensor:
    a = h.view(-1, 3, 3)
    return a @ a.mT + torch.eye(3, dtype=h.dtype)


def _solved(m: Any, h: Tensor) -> Tensor:
    return torch.linalg.solve(_positive(h[:, :9]), h[:, 9:, None])[..., 0]


def _changed(m: Any, h: Tensor) -> Tensor:
    factor = torch.tensor([1.0, 2.0], dtype=h.dtype)
    factor[0] = 5.0
    torch.add(factor, 1, out=factor)
    return h * factor


def _drawn(m: Any, h: Tensor) -> Tensor:
    return h * torch.rand(2, generator=torch.Generator().manual_seed(0), dtype=h.dtype)


def _filtered(m: Any, h: Tensor) -> Tensor:
    """A spectral convolution, as a Fourier neural operator has it."""
    spectrum = torch.fft.rfft(h.view(-1, 2, 4))
    mixed = torch.einsum("nix,iox->nox", spectrum, torch.view_as_complex(m.w))
    return torch.fft.irfft(mixed, n=4).flatten(1)


def _correlated(m: Any, h: Tensor) -> Tensor:
    spectrum = torch.fft.fft(h)
    return torch.cat([(spectrum.conj() * spectrum).real, spectrum.conj().imag], 1)


def _short_time(m: Any, h: Tensor) -> Tensor:
    window = torch.ones(8, dtype=h.dtype)
    return torch.view_as_real(torch.stft(h, 8, 4, window=window, return_complex=True)).flatten(1)


def _channels_last(m: Any, x: Tensor) -> Tensor:
    x = F.relu(m.conv(x.contiguous(memory_format=torch.channels_last)))
    return m.out(F.adaptive_avg_pool2d(x, 1).flatten(1))


def _convolution_of_one(layer: Callable[[], nn.Module], *shape: int) -> Small:
    """With more channels than outputs, so that the factors of its gradient are less than itself."""
    return Small(lambda: nn.Sequential(layer(), nn.ReLU(), nn.Flatten(), nn.Linear(24, 2)), shape)


def _channels_last_upsampled(m: Any, x: Tensor) -> Tensor:
    """PyTorch takes the enlargement apart below autograd, where it copies into another order of memory."""
    x = m.conv(x).contiguous(memory_format=torch.channels_last)
    x = F.interpolate(x, scale_factor=2, mode="nearest").square()
    return m.out(F.adaptive_avg_pool2d(x, 1).flatten(1))


def _standardised(m: Any, x: Tensor) -> Tensor:
    """A convolution whose weight is standardised, with a gain."""
    w = F.batch_norm(m.conv.weight.reshape(1, 3, -1), None, None, training=True).reshape_as(m.conv.weight)
    return m.out(F.conv2d(x, w * m.gain, m.conv.bias).tanh().flatten(1))


def _one_token() -> nn.Module:
    return Function(
        lambda m, x: m.out(m.attention(*[m.table(x)] * 3, need_weights=False)[0].flatten(1)),
        table=nn.Embedding(5, 4),
        attention=nn.MultiheadAttention(4, 1, batch_first=True),
        out=nn.Linear(4, 3),
    )


ODD: dict[str, Small] = {
    "int_to_the_power": _of(lambda m, h: h * 2 ** torch.arange(4, dtype=h.dtype), 4),
    "power_of_parameter": _of(lambda m, h: h * 2**m.s, 4, s=(4,)),
    "power_of_example": _of(lambda m, h: 2**h, 4),
    "power_in_place": _of(lambda m, h: (h.abs() + 1).pow_(-0.5).pow_(torch.tensor([2, 3])), 2),
    "number_first": _of(lambda m, h: torch.polygamma(2, 1 + h.abs()) + torch.special.xlogy(2, 1 + h.abs()), 2),
    "tensor_changed": _of(_changed, 2),
    "linspace": _of(lambda m, h: h * torch.linspace(1, 3, 2, dtype=h.dtype) * torch.full((2,), 3.0), 2),
    "numpy": _of(lambda m, h: h * torch.from_numpy(np.arange(2.0)).to(h.dtype), 2),
    "item": _of(lambda m, h: h * torch.tensor(3.5).item(), 2, rules={"l.weight": "fallback"}),
    "drawn_from_a_seed": _of(_drawn, 2, rules={"l.weight": "fallback: it draws random numbers"}),
    "windows_in_memory": _of(
        lambda m, h: (h + 0)[0].as_strided((3, 2), (1, 1)).reshape(1, 6) ** 2, 4),
    "transposed_in_place": _of(lambda m, h: (h + 0).t_().t() ** 2, 4),
    "fft": _of(lambda m, h: torch.fft.fft(h).real ** 2, 4),
    "complex_factor": _of(lambda m, h: (torch.fft.fft(h) * 2j).imag, 4),
    "complex_scale": _of(lambda m, h: torch.view_as_real(torch.fft.fft(h) * m.s).flatten(1), 4, s=(4,)),
    "complex_bias": _of(lambda m, h: (torch.fft.fft(h) + m.s).abs(), 4, s=(4,)),
    "complex_weights": _of(_filtered, 8, w=(2, 2, 3, 2)),
    "conjugated": _of(_correlated, 4),
    "pairs": _of(lambda m, h: torch.view_as_real(torch.view_as_complex(h.view(-1, 2, 2)) ** 2).flatten(1), 4),
    "polar": _of(lambda m, h: torch.polar(h.abs(), h).imag + torch.complex(h, m.s + 0 * h).exp().real, 4, s=(4,)),
    "short_time": _of(_short_time, 16),
    "solve": _of(_solved, 12),
    "slogdet": _of(lambda m, h: torch.linalg.slogdet(_positive(h))[1][:, None], 9),
    "cholesky": _of(lambda m, h: torch.linalg.cholesky(_positive(h)).flatten(1), 9),
    "eigenvalues": _of(lambda m, h: torch.linalg.eigvalsh(_positive(h)), 9),
    "least_squares": _of(
        lambda m, h: torch.linalg.lstsq(_positive(h[:, :9]), h[:, 9:, None])[0][..., 0], 12,
        rules={"l.weight": "fallback: the shape of a result"}),
    "channels_last": Small(
        lambda: Function(_channels_last, conv=nn.Conv2d(2, 3, 3), out=nn.Linear(3, 2)),
        (2, 5, 5), {"conv.weight": "convolution", "conv.bias": "bias"}),
    "channels_last_upsampled": Small(
        lambda: Function(_channels_last_upsampled, conv=nn.Conv2d(2, 3, 3), out=nn.Linear(3, 2)),
        (2, 5, 5), {"conv.weight": "convolution", "conv.bias": "bias"}),
    "groups_of_turned_tokens": _of(
        lambda m, h: F.group_norm(h.view(-1, 2, 4).transpose(1, 2), 2).flatten(1) ** 2, 8),
    "standardised_weights": Small(
        lambda: Function(_standardised, conv=nn.Conv2d(2, 3, 3), gain=parameter(3, 1, 1, 1), out=nn.Linear(27, 2)),
        (2, 5, 5), {"conv.weight": "fallback", "out.weight": "dense"}),
    "more_outputs_than_parameters": Small(
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Tanh(), nn.Conv2d(2, 2, 1)), (1, 8, 8)),
    "in_forward_mode_no_rule": Small(
        lambda: Function(lambda m, x: torch.cdist(m.conv(x).tanh(), x), conv=nn.Conv2d(1, 1, 3, padding=1)), (1, 8, 8)),
    "one_position": _convolution_of_one(lambda: nn.Conv2d(3, 24, 3), 3, 3, 3),
    "one_position_padded": _convolution_of_one(lambda: nn.Conv2d(9, 24, 3, padding=1), 9, 1, 1),
    "one_position_1d": _convolution_of_one(lambda: nn.Conv1d(9, 24, 2), 9, 2),
    "one_position_3d": _convolution_of_one(lambda: nn.Conv3d(3, 24, 2), 3, 2, 2, 2),
    "one_position_in_groups": _convolution_of_one(lambda: nn.Conv2d(6, 24, 2, groups=3), 6, 2, 2),
    "one_position_by_channel": _convolution_of_one(lambda: nn.Conv2d(24, 24, 2, groups=24), 24, 2, 2),
    "one_position_transposed": _convolution_of_one(lambda: nn.ConvTranspose2d(7, 6, 2), 7, 1, 1),
    "one_token": Small(_one_token, (1,), rows=5),
}
"""By name."""
