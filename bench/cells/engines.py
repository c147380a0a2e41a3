"""The profile `engines`: its cases, and the order in which they are measured.

Ratios are to be honest on a machine that others disturb. So the methods of a case take turns: one process of each, then
again from the first, and a ratio is taken between two processes of one turn; its median over the turns is what is
reported. (Calls in turn within one process would be finer, but JAX and PyTorch would share threads and caches, and a
process has one peak of memory.) A method that is far behind after the first turn, or has failed, is not called again.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bench.cells.bounds import ENGINES, KIND
from bench.cells.cases import CaseSource, NetworkOnNoise
from bench.records.record import Cell, Record
from reference import MLP, Conv, ConvNet, Layered
from reference.cases import transformer_block
from reference.layers import (
    Activate,
    BatchNorm,
    Convolution,
    Dense,
    GlobalPool,
    Layer,
    LayerNorm,
    Positions,
    Residual,
)

if TYPE_CHECKING:
    from bench.running.runner import Place

FAR_BEHIND = 3.0
"""Times slower than the fastest exact method of the first turn."""


def _mlp(depth: int, width: int, n_outputs: int, n_inputs: int = 784) -> MLP:
    """`depth` hidden ReLU layers."""
    return MLP((n_inputs, *[width] * depth, n_outputs), W_std=2.0**0.5, b_std=0.1)


def _convnet(n_outputs: int) -> ConvNet:
    conv = Conv(32, padding=(1, 1))
    return ConvNet((3, 16, 16), (conv, conv), (n_outputs,), "global", W_std=2.0**0.5, b_std=0.1)


def _resnet(width: int) -> Layered:
    """The layers of ResNet-18 (He et al. 2016) with `width` channels in the first stage, a 3×3 stem for 32×32."""
    layers: list[Layer] = [Convolution("stem", width, padding=(1, 1), bias=False), BatchNorm("stem_norm"),
                           Activate("relu")]
    for stage in range(4):
        for block in range(2):
            stride = 2 if stage and not block else 1
            layers += [*_basic_block(f"stage{stage}.block{block}", width << stage, stride), Activate("relu")]
    return Layered((3, 32, 32), (*layers, GlobalPool(), Dense("head", 10)))


def _basic_block(name: str, channels: int, stride: int) -> tuple[Layer, ...]:
    strides = (stride, stride)
    body = (Convolution(f"{name}.conv1", channels, stride=strides, padding=(1, 1), bias=False),
            BatchNorm(f"{name}.norm1"), Activate("relu"),
            Convolution(f"{name}.conv2", channels, padding=(1, 1), bias=False), BatchNorm(f"{name}.norm2"))
    shortcut: tuple[Layer, ...] = ()
    if stride > 1:
        shortcut = (Convolution(f"{name}.shortcut", channels, (1, 1), strides, bias=False), BatchNorm(f"{name}.norm3"))
    return (Residual(body, shortcut),)


def _transformer(n_layers: int, width: int, length: int) -> Layered:
    """Pre-norm, causal, on a sequence of vectors; one output at each position."""
    layers: list[Layer] = [Dense("embed", width), Positions("positions")]
    for i in range(n_layers):
        layers += transformer_block(str(i), width, 4, expansion=4)
    return Layered((length, 16), (*layers, LayerNorm("norm"), Dense("head", 1)))


def _mlps() -> list[CaseSource]:
    return [NetworkOnNoise(f"MLP-depth{depth}-w1024-o{o}-n64{suffix}", _mlp(depth, 1024, o), 64, n2)
            for depth in (3, 10) for o in (10, 1) for suffix, n2 in (("", None), ("-x2", 64))]


MANY = "MLP-depth3-w1024-o1-n4096-trace"

CASES: tuple[CaseSource, ...] = (
    *_mlps(),
    *(NetworkOnNoise(f"ConvNet-c32-16x16-o{o}-n16", _convnet(o), 16) for o in (10, 1)),
    NetworkOnNoise("ResNet18-c32-32x32-o10-n4", _resnet(32), 4),
    NetworkOnNoise("Transformer-layers4-d128-t64-n2", _transformer(4, 128, 64), 2),
    NetworkOnNoise(MANY, _mlp(3, 1024, 1, n_inputs=64), 4096),
)

OUTPUTS: dict[str, tuple[str, ...]] = {MANY: ("trace",)}
"""Of the cases that are not asked for the full kernel."""


def in_turn(places: Iterable[Place]) -> list[Place]:
    """Each case by itself, in it one replicate of every method after the other."""
    order = {source.name: at for at, source in enumerate(CASES)}
    return sorted(places, key=lambda place: (order.get(place.cell.case, len(order)), place.replicate))


def contends(cell: Cell, records: Sequence[Record]) -> bool:
    """Whether a method is measured again after its first turn."""
    def first_turn(record: Record) -> bool:
        other = record.cell
        return record.replicate == 0 and (other.case, other.outputs, other.dtype, other.device, other.threads) == (
            cell.case, cell.outputs, cell.dtype, cell.device, cell.threads)

    first = [record for record in records if first_turn(record)]
    own = [record for record in first if record.cell == cell]
    if not own or own[-1].status != "ok" or not own[-1].samples_s:
        return False
    if cell.method in ENGINES or own[-1].kind == KIND:
        return True
    peers = [record for record in first if record.cell.method not in ENGINES and record.kind == "exact"]
    fastest = min(statistics.median(record.samples_s) for record in peers if record.status == "ok" and record.samples_s)
    return statistics.median(own[-1].samples_s) <= FAR_BEHIND * fastest
