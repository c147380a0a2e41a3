"""A kernel of 60,000 × 60,000 on paper: operations and bytes of the engine's plan, at rates that were measured.

A device's rate is what `structured_torch` reached on an H200 in ``bench/results/engines-cuda.json``: operations of the
plan and of the passes over the time of a call, on batches so small that launches bind. The other end is the limit of
the device itself: 67 TFLOP/s in float32 without TF32, and 4.8 TB/s of memory (NVIDIA's data sheet of the H200 SXM).
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import NamedTuple

from bench import units
from bench.cells import engines
from bench.cells.cases import NetworkOnNoise
from bench.records.export import load_json

RATES = Path(__file__).parents[1] / "results" / "engines-cuda.json"
EXAMPLES = 60_000
TILE = 256
"""Examples of each side of a tile, whose plan stands for all."""
PEAK_FLOPS, PEAK_BYTES = 67e12, 4.8e12
DISK = 2e9
"""Bytes a second that a local NVMe disk writes in a row; an assumption, as no such disk was measured."""
DEVICES = (1, 8)

NETWORKS = {
    "ResNet-18, 64 channels, 32×32, 10 outputs": ("ConvNet", engines.resnet(64)),
    "MLP, 3 hidden layers of 1024, 10 outputs": ("MLP", engines.mlp(3, 1024, 10)),
}
MEASURED = {"ConvNet": "ConvNet-c32-16x16-o10-n16", "MLP": "MLP-depth3-w1024-o10-n64"}
"""Whose rate stands for a network of that kind: a convolution's for the ResNet, which was not measured there."""


class Amounts(NamedTuple):
    """Of a whole kernel: operations in passes and contractions, bytes that contractions move, bytes of the result."""

    passes: float
    contraction: float
    moved: float
    kernel: float


def table() -> str:
    """One row for each network, kind of outputs and number of devices."""
    lines = ["| network | kernel | passes | contraction | moved | on disk | devices | at the measured rate | at the "
             "device's limits | what binds |", "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |"]
    for name, (kind, description) in NETWORKS.items():
        rate = measured_rate(MEASURED[kind])
        for outputs in ("trace", "full"):
            found = amounts(name, description, outputs)
            for devices in DEVICES:
                slow, fast, binds = times(found, rate, devices)
                lines.append(f"| {name} | {outputs} | {_flops(found.passes)} | {_flops(found.contraction)} | "
                             f"{_bytes(found.moved)} | {_bytes(found.kernel)} | {devices} | {_hours(slow)} | "
                             f"{_hours(fast)} | {binds} |")
    rates = ", ".join(f"{measured_rate(case) / 1e12:.2g} TFLOP/s ({case})" for case in MEASURED.values())
    return "\n".join([*lines, "", f"Measured rates: {rates}."])


def amounts(name: str, description: object, outputs: str) -> Amounts:
    """Of EXAMPLES examples with themselves: each pair once, the factors of each example once."""
    from impls.choice import auto, costs
    from reference import Request

    case = NetworkOnNoise(f"{name}-projection", description, TILE, TILE).build()  # pyright: ignore[reportArgumentType]
    facts = auto.facts_of_case("torch", case, Request(outputs, device="cpu"))  # pyright: ignore[reportArgumentType]
    work = costs.work("structured_torch", facts)
    of_pair, of_example = EXAMPLES * (EXAMPLES + 1) / 2 / TILE**2, EXAMPLES / (2 * TILE)
    entries = 10**2 if outputs == "full" else 1
    return Amounts((work.matmul + work.convolution) * of_example, work.contraction * of_pair, work.moved * of_pair,
                   EXAMPLES * (EXAMPLES + 1) / 2 * entries * facts.itemsize)


def times(found: Amounts, rate: float, devices: int) -> tuple[float, float, str]:
    """Seconds at the measured rate and at the limits, the disk beside either; and what takes longest at the limits."""
    flops = found.passes + found.contraction
    disk = found.kernel / DISK
    limits = {"operations": flops / PEAK_FLOPS / devices, "memory": found.moved / PEAK_BYTES / devices, "disk": disk}
    binds = max(limits, key=limits.__getitem__)
    return max(flops / rate / devices, disk), limits[binds], binds


def measured_rate(case: str) -> float:
    """Operations a second that `structured_torch` reached on that case."""
    from impls.choice import auto, costs
    from reference import Request

    records, _ = load_json(RATES)
    (record,) = (each for each in records if (each.cell.case, each.cell.method) == (case, "structured_torch"))
    (source,) = (each for each in engines.CASES if each.name == case)
    work = costs.work("structured_torch", auto.facts_of_case("torch", source.build(), Request(device="cpu")))
    return (work.matmul + work.convolution + work.contraction) / statistics.median(record.samples_s)


def _flops(value: float) -> str:
    return f"{value / 1e15:.3g} PFLOP"


def _bytes(value: float) -> str:
    return units.memory(value)


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.3g} h" if seconds >= 3600 else f"{seconds / 60:.3g} min" if seconds >= 60 else (
        units.seconds(seconds))
