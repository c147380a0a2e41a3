"""`Case`, what is computed, and `Request`, how it is asked for."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np

from reference.layered import Described, Layered
from reference.layers import Drawn
from reference.networks import Network, fan_in

Outputs = Literal["full", "diagonal", "trace"]
DType = Literal["float32", "float64"]
Device = Literal["cpu", "cuda"]
Quantity = Literal["ntk", "nngp", "conjugate"]
"""Which kernel: see DEFINITION.md."""


class InputError(ValueError):
    """Input that cannot be used; the message names the value and the remedy."""


def round_to_float32(array: Any) -> np.ndarray:
    """The nearest float32 values, as float64: such an array means the same in both dtypes."""
    return np.asarray(array, dtype=np.float32).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Case:
    """A network with parameters and inputs.

    `params` (name to array), `constants` (arrays of the network that are not trained), `x1` (N1, …) and `x2` (N2, …)
    are float64 with values that float32 holds exactly, so that every dtype sees the same network. Where the network
    takes tokens, x1 and x2 are integers. ``x2=None`` means x2 = x1. Raises `InputError` for anything else.
    """

    name: str
    network: Network
    params: Mapping[str, np.ndarray]
    x1: np.ndarray
    x2: np.ndarray | None = None
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_inputs(self.x1, self.network, "x1")
        if self.x2 is not None:
            check_inputs(self.x2, self.network, "x2")
            if self.x2.shape[1:] != self.x1.shape[1:]:
                raise InputError(f"x1 and x2 must hold examples of one shape, got {self.x1.shape} and {self.x2.shape}")
        self._check_arrays("parameter", self.params, self.network.param_shapes())
        self._check_arrays("constant", self.constants, self.network.constant_shapes())

    def _check_arrays(self, what: str, arrays: Mapping[str, np.ndarray], due: Mapping[str, tuple[int, ...]]) -> None:
        shapes = {name: array.shape for name, array in arrays.items()}
        if shapes != due:
            raise InputError(f"case {self.name!r}: {what}s {shapes} do not fit the network, which needs {due}")
        for name, array in arrays.items():
            _check_values(array, f"{what} {name!r}")

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
    the method's own, e.g. ``{"proj_dim": 4096}``; a method refuses options that it does not know. `quantity` says which
    kernel it is; a method refuses those that it does not compute.
    """

    outputs: Outputs = "full"
    dtype: DType = "float32"
    device: Device = "cpu"
    seed: int = 0
    batch_size: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    quantity: Quantity = "ntk"

    def __post_init__(self) -> None:
        for name, choices in (("outputs", Outputs), ("dtype", DType), ("device", Device), ("quantity", Quantity)):
            value, allowed = getattr(self, name), get_args(choices)
            if value not in allowed:
                raise InputError(f"{name}={value!r} is not one of {', '.join(allowed)}")
        whole = self.batch_size is None or isinstance(self.batch_size, int | np.integer)
        if not whole or (self.batch_size is not None and self.batch_size < 1):
            raise InputError(f"batch_size must be a positive number of examples or None, got {self.batch_size!r}")


def check_inputs(x: Any, network: Network, what: str) -> None:
    """Raise `InputError` unless `x` is a non-empty batch of finite numbers, or of tokens, that fits the network.

    A network that does not say what it takes may be given integers.
    """
    kind = x.dtype.kind if isinstance(x, np.ndarray) else ""
    found = getattr(x, "dtype", type(x).__name__)
    if network.n_tokens is not None:
        if kind not in ("i", "u"):
            raise InputError(f"{what} must be an array of integers, the network's tokens, got {found}; convert it, "
                             "e.g. x.astype('int64')")
    elif kind != "f" and (kind not in ("i", "u") or network.input_shape is not None):
        raise InputError(f"{what} must be a floating-point array, got {found}; convert it, e.g. x.astype('float32')")
    if x.ndim < 1 or x.size == 0:
        raise InputError(f"{what} is empty (shape {x.shape}); it needs at least one example")
    if network.input_shape is not None and x.shape[1:] != network.input_shape:
        raise InputError(f"{what} has examples of shape {x.shape[1:]}, but the network takes {network.input_shape}")
    if network.n_tokens is not None:
        _check_tokens(x, network.n_tokens, what)
    elif kind == "f":
        _check_values(x, what)


def _check_tokens(x: np.ndarray, n_tokens: int, what: str) -> None:
    outside = (x < 0) | (x >= n_tokens)
    if outside.any():
        where = tuple(int(i) for i in np.argwhere(outside)[0])
        raise InputError(f"{what} has the token {x[where]} at index {where}; the network knows 0 to {n_tokens - 1}")


def _check_values(array: np.ndarray, what: str) -> None:
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InputError(f"{what} is not finite at index {where} (value {array[where]}); remove or mask such values")
    if not np.array_equal(array, round_to_float32(array)):
        raise InputError(f"{what} has values that float32 does not hold; pass it through reference.round_to_float32")


def seed_of(name: str) -> int:
    """A seed that depends on the name alone, the same on every machine."""
    return zlib.crc32(name.encode())


def initialisation(network: Described) -> dict[str, Drawn]:
    """How each parameter is drawn at initialisation, as the network's parameterization or its layers say."""
    if isinstance(network, Layered):
        return dict(network.params())
    ntk = network.parameterization == "ntk"

    def std(name: str, shape: tuple[int, ...]) -> float:
        if ntk:
            return 1.0
        return network.W_std / np.sqrt(fan_in(shape)) if name.endswith(".weight") else network.b_std

    return {name: Drawn(shape, std=std(name, shape)) for name, shape in network.param_shapes().items()}


def draw_params(network: Described, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Parameters drawn as `initialisation` says, rounded to float32."""
    return {name: _draw(drawn, rng) for name, drawn in initialisation(network).items()}


def draw_constants(network: Described, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The network's other arrays, drawn likewise."""
    drawn = network.constants() if isinstance(network, Layered) else {}
    return {name: _draw(one, rng) for name, one in drawn.items()}


def _draw(drawn: Drawn, rng: np.random.Generator) -> np.ndarray:
    values = rng.standard_normal(drawn.shape)
    return round_to_float32(drawn.mean + drawn.std * (np.abs(values) if drawn.positive else values))


def random_case(name: str, network: Described, n1: int, n2: int | None) -> Case:
    """A case whose parameters, constants and inputs are drawn from the seed of its name; `n2` None means x2 = x1."""
    rng = np.random.default_rng(seed_of(name))
    params, constants = draw_params(network, rng), draw_constants(network, rng)

    def draw_inputs(n: int) -> np.ndarray:
        shape = (n, *network.input_shape)
        if network.n_tokens is not None:
            return rng.integers(network.n_tokens, size=shape)
        return round_to_float32(rng.standard_normal(shape))

    x1 = draw_inputs(n1)
    x2 = None if n2 is None else draw_inputs(n2)
    return Case(name, network, params, x1, x2, constants)
