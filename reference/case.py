"""`Case`, what is computed, and `Request`, how it is asked for."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np

from reference.networks import MLP, ConvNet, Network, fan_in

Outputs = Literal["full", "diagonal", "trace"]
DType = Literal["float32", "float64"]
Device = Literal["cpu", "cuda"]


class InputError(ValueError):
    """Input that cannot be used; the message names the value and the remedy."""


def round_to_float32(array: Any) -> np.ndarray:
    """The nearest float32 values, as float64: such an array means the same in both dtypes."""
    return np.asarray(array, dtype=np.float32).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Case:
    """A network with parameters and inputs.

    `params` (name to array), `x1` (N1, …) and `x2` (N2, …) are float64 with values that float32 holds exactly, so that
    every dtype sees the same network. ``x2=None`` means x2 = x1. Raises `InputError` for anything else.
    """

    name: str
    network: Network
    params: Mapping[str, np.ndarray]
    x1: np.ndarray
    x2: np.ndarray | None = None

    def __post_init__(self) -> None:
        check_inputs(self.x1, self.network, "x1")
        if self.x2 is not None:
            check_inputs(self.x2, self.network, "x2")
            if self.x2.shape[1:] != self.x1.shape[1:]:
                raise InputError(f"x1 and x2 must hold examples of one shape, got {self.x1.shape} and {self.x2.shape}")
        shapes = {name: array.shape for name, array in self.params.items()}
        if shapes != self.network.param_shapes():
            raise InputError(f"case {self.name!r}: parameters {shapes} do not fit the network, which needs "
                             f"{self.network.param_shapes()}")
        for name, array in self.params.items():
            _check_values(array, f"parameter {name!r}")

    @property
    def symmetric(self) -> bool:
        return self.x2 is None

    def with_symmetry(self) -> Case:
        """The same case with x2 = x1."""
        return replace(self, x2=None)


@dataclass(frozen=True)
class Request:
    """How a kernel is asked for.

    `batch_size` (examples) blocks the computation where a method can; the values do not depend on it. `options` are
    the method's own, e.g. ``{"proj_dim": 4096}``; a method refuses options that it does not know.
    """

    outputs: Outputs = "full"
    dtype: DType = "float32"
    device: Device = "cpu"
    seed: int = 0
    batch_size: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, choices in (("outputs", Outputs), ("dtype", DType), ("device", Device)):
            value, allowed = getattr(self, name), get_args(choices)
            if value not in allowed:
                raise InputError(f"{name}={value!r} is not one of {', '.join(allowed)}")
        if self.batch_size is not None and self.batch_size < 1:
            raise InputError(f"batch_size must be a positive number of examples or None, got {self.batch_size}")


def check_inputs(x: Any, network: Network, what: str) -> None:
    """Raise `InputError` unless `x` is a non-empty finite floating-point batch that fits the network."""
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
        kind = getattr(x, "dtype", type(x).__name__)
        raise InputError(f"{what} must be a floating-point array, got {kind}; convert it, e.g. x.astype('float32')")
    if x.ndim < 1 or x.size == 0:
        raise InputError(f"{what} is empty (shape {x.shape}); it needs at least one example")
    if network.input_shape is not None and x.shape[1:] != network.input_shape:
        raise InputError(f"{what} has examples of shape {x.shape[1:]}, but the network takes {network.input_shape}")
    _check_values(x, what)


def _check_values(array: np.ndarray, what: str) -> None:
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InputError(f"{what} is not finite at index {where} (value {array[where]}); remove or mask such values")
    if not np.array_equal(array, round_to_float32(array)):
        raise InputError(f"{what} has values that float32 does not hold; pass it through reference.round_to_float32")


def seed_of(name: str) -> int:
    """A seed that depends on the name alone, the same on every machine."""
    return zlib.crc32(name.encode())


def draw_params(network: MLP | ConvNet, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Parameters drawn as the network's parameterization says (see `reference.networks`), rounded to float32."""
    ntk = network.parameterization == "ntk"
    params: dict[str, np.ndarray] = {}
    for name, shape in network.param_shapes().items():
        if name.endswith(".weight"):
            std = 1.0 if ntk else network.W_std / np.sqrt(fan_in(shape))
        else:
            std = 1.0 if ntk else network.b_std
        params[name] = round_to_float32(std * rng.standard_normal(shape))
    return params


def random_case(name: str, network: MLP | ConvNet, n1: int, n2: int | None) -> Case:
    """A case whose parameters and inputs are drawn from the seed of its name; `n2` None means x2 = x1."""
    rng = np.random.default_rng(seed_of(name))
    params = draw_params(network, rng)
    x1 = round_to_float32(rng.standard_normal((n1, *network.input_shape)))
    x2 = None if n2 is None else round_to_float32(rng.standard_normal((n2, *network.input_shape)))
    return Case(name, network, params, x1, x2)
