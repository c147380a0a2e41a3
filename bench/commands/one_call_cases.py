"""Networks as people have them, small ones and deep ones, for what one call takes: `bench.commands.one_call`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """Two convolutions with batch normalisation around a skip connection."""

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(inputs, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels),
                                  nn.ReLU(), nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
                                  nn.BatchNorm2d(channels))
        same = inputs == channels and stride == 1
        self.skip = nn.Identity() if same else nn.Conv2d(inputs, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.skip(x))


class Inverted(nn.Module):
    """A separable convolution between two of one position."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 4 * channels
        self.body = nn.Sequential(nn.Conv2d(channels, wide, 1), nn.BatchNorm2d(wide), nn.Hardswish(),
                                  nn.Conv2d(wide, wide, 3, 1, 1, groups=wide), nn.BatchNorm2d(wide), nn.Hardswish(),
                                  nn.Conv2d(wide, channels, 1), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Transformer(nn.Module):
    def __init__(self, width: int, layers: int, outputs: int, patches: int | None = None) -> None:
        super().__init__()
        self.enter = nn.Embedding(200, width) if patches is None else nn.Conv2d(3, width, patches, patches)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, activation="gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        return self.head(self.layers(x if x.ndim == 3 else x.flatten(2).mT).mean(1))


class Recurrent(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.cells, self.head = nn.LSTM(16, 64, batch_first=True), nn.Linear(64, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0][:, -1])


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.middle = nn.Conv2d(1, 16, 3, 2, 1), nn.Conv2d(16, 32, 3, 2, 1)
        self.up, self.last = nn.ConvTranspose2d(32, 16, 2, 2), nn.ConvTranspose2d(32, 1, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        down = torch.relu(self.down(x))
        return self.last(torch.cat([down, torch.relu(self.up(torch.relu(self.middle(down))))], 1))


def resnet(outputs: int) -> nn.Module:
    widths = [(32, 32, 1), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2),
              (256, 256, 1)]
    return nn.Sequential(nn.Conv2d(3, 32, 3, 1, 1), *(Block(*each) for each in widths), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(256, outputs))


def mobile(outputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 24, 3, 2, 1), *(Inverted(24) for _ in range(12)), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(24, outputs))


def mlp(outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, outputs))


def images(n: int) -> Tensor:
    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def tokens(n: int) -> Tensor:
    return torch.randint(0, 200, (n, 24), generator=torch.Generator().manual_seed(0))


def vectors(*shape: int) -> Callable[[int], Tensor]:
    return lambda n: torch.rand(n, *shape, generator=torch.Generator().manual_seed(0))


CASES: Mapping[str, tuple[Callable[[], nn.Module], Callable[[int], Tensor]]] = {
    "mlp, 1": (lambda: mlp(1), vectors(64)),
    "mlp, 10": (lambda: mlp(10), vectors(64)),
    "mlp, 100": (lambda: mlp(100), vectors(64)),
    "resnet, 10": (lambda: resnet(10), images),
    "resnet, 100": (lambda: resnet(100), images),
    "mobilenet, 1": (lambda: mobile(1), images),
    "mobilenet, 10": (lambda: mobile(10), images),
    "bert, 2": (lambda: Transformer(128, 12, 2), tokens),
    "bert, 10": (lambda: Transformer(64, 4, 10), tokens),
    "vit, 10": (lambda: Transformer(96, 6, 10, patches=8), images),
    "lstm, 3": (lambda: Recurrent(3), vectors(20, 16)),
    "u-net, 256": (UNet, vectors(1, 16, 16)),
}
