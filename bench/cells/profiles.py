"""What is measured unless told otherwise: the profiles, and the cases that each consists of."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import PurePath

import reference
from bench.cells import engines, scale
from bench.cells.cases import CaseSource, Fixture, NetworkOnInputs
from bench.cells.data import Inputs, digits
from impls.registry import did_you_mean
from reference import MLP, Conv, ConvNet, InputError

W_STD, B_STD = 2.0**0.5, 0.1
"""He's variance for ReLU, and biases that are there but small."""


@dataclass(frozen=True)
class Profile:
    """The choices of a run. Times in seconds."""

    description: str
    widths: tuple[int, ...]
    """Of the two hidden layers of the MLPs."""
    channels: tuple[int, ...]
    """Of the two convolutions of the ConvNets."""
    n_outputs: tuple[int, ...]
    batch: tuple[int, ...]
    """Numbers of examples, N1 (and N2, where x2 is given)."""
    outputs: tuple[str, ...]
    dtypes: tuple[str, ...]
    replicates: int
    steady_s: float
    """How long the steady state of a cell is sampled."""
    time_limit_s: float
    """After which a cell is killed."""
    fixtures: bool = False
    """The shared cases with their proved kernels, in place of networks on data."""
    engines: bool = False
    """The cases of `bench.cells.engines`, exact methods alone, with the matrix-product bound beside them."""
    scale: bool = False
    """The cases of `bench.cells.scale`, in which one size grows."""
    contenders_only: bool = False
    """After the first turn only methods near the fastest one are measured again; see `bench.running.order`."""


PROFILES = {
    "quick": Profile("digits, three widths, full kernels in float32, four processes for methods that come near the "
                     "fastest: minutes", widths=(64, 256, 1024), channels=(16,),
                     n_outputs=(1, 10), batch=(16,), outputs=("full",), dtypes=("float32",), replicates=4,
                     steady_s=0.2, time_limit_s=60, contenders_only=True),
    "full": Profile("digits, six widths, all outputs and dtypes, three processes for each cell: a day",
                    widths=(64, 128, 256, 512, 1024, 2048), channels=(16, 64), n_outputs=(1, 10), batch=(16, 64, 128),
                    outputs=("full", "diagonal", "trace"), dtypes=("float32", "float64"), replicates=3, steady_s=3,
                    time_limit_s=600),
    "fixtures": Profile("the small shared cases, each against its proved kernel: minutes", widths=(), channels=(),
                        n_outputs=(), batch=(), outputs=("full",), dtypes=("float32",), replicates=1, steady_s=0.2,
                        time_limit_s=60, fixtures=True),
    "engines": Profile("the structured engines beside the other exact methods and the matrix-product bound, in turn: "
                       "half an hour", widths=(), channels=(), n_outputs=(), batch=(), outputs=("full",),
                       dtypes=("float32",), replicates=5, steady_s=0.5, time_limit_s=30, engines=True,
                       contenders_only=True),
    "scale": Profile("how time and memory grow with examples, outputs, width and depth; of "
                     "--methods 'structured_*' some minutes", widths=(), channels=(), n_outputs=(), batch=(),
                     outputs=("full",), dtypes=("float32",), replicates=1, steady_s=1, time_limit_s=600, scale=True),
}


def find_profile(name: str) -> Profile:
    """The profile of that name; `InputError` with the nearest names where there is none."""
    if name not in PROFILES:
        raise InputError(f"unknown profile {name!r}{did_you_mean(name, PROFILES)}")
    return PROFILES[name]


def fixtures() -> list[CaseSource]:
    """The shared cases."""
    return [Fixture(case.name) for case in reference.cases()]


def default_cases(profile: Profile) -> list[CaseSource]:
    """The profile's own cases, or its networks on the digits."""
    if profile.fixtures:
        return fixtures()
    if profile.engines or profile.scale:
        return [*(engines.CASES if profile.engines else scale.CASES)]
    return cases_of(profile, digits())


def cases_of(profile: Profile, inputs: Inputs) -> list[CaseSource]:
    """The profile's networks on `inputs`, a case for each size."""
    return [case for n in batches(profile.batch, inputs) for case in _networks(profile, inputs.first(n))]


def batches(wanted: Sequence[int], inputs: Inputs) -> list[int]:
    """The wanted numbers of examples as far as there are so many; else all there are: the run says so."""
    if any(n < 1 for n in wanted):
        raise InputError(f"--batch takes positive numbers of examples, got {', '.join(map(str, wanted))}")
    return sorted({n for n in wanted if n <= len(inputs.x1)}) or [len(inputs.x1)]


def select(patterns: Sequence[str], known: Iterable[str], what: str) -> list[str]:
    """The known names that match any of the patterns (with * and ?), all where there is no pattern.

    Raises `InputError`, with the nearest names, for a pattern that matches nothing.
    """
    known = list(known)
    for pattern in patterns:
        if not fnmatch.filter(known, pattern):
            raise InputError(f"unknown {what} {pattern!r}{did_you_mean(pattern, known)}")
    return [name for name in known if not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]


def _networks(profile: Profile, inputs: Inputs) -> list[CaseSource]:
    flat, stem, n = inputs.flattened(), PurePath(inputs.name).stem, len(inputs.x1)
    cases: list[CaseSource] = [
        NetworkOnInputs(f"{stem}-mlp-w{width}-o{o}-n{n}", mlp(flat.x1.shape[1], width, o), flat)
        for width, o in product(profile.widths, profile.n_outputs)]
    if inputs.x1.ndim == 4:
        image = inputs.x1.shape[1:]
        cases += [NetworkOnInputs(f"{stem}-convnet-c{channels}-o{o}-n{n}", convnet(image, channels, o), inputs)
                  for channels, o in product(profile.channels, profile.n_outputs)]
    return cases


def mlp(n_inputs: int, width: int, n_outputs: int) -> MLP:
    """Two hidden ReLU layers. In NTK parameterization, so that the infinite-width method has a limit to compute."""
    return MLP((n_inputs, width, width, n_outputs), parameterization="ntk", W_std=W_STD, b_std=B_STD)


def convnet(image: tuple[int, ...], channels: int, n_outputs: int) -> ConvNet:
    """Two 3×3 convolutions that keep the image's size, global average pooling, one dense layer."""
    conv = Conv(channels, padding=(1, 1))
    return ConvNet((image[0], image[1], image[2]), (conv, conv), (n_outputs,), head="global", parameterization="ntk",
                   W_std=W_STD, b_std=B_STD)
