"""Functions as users write them, in each framework, whose kernels the tape knows from a case that is the same function.

Their parameters have names in no order, the weights the layout (in, out), and the padding is another one on each side.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from reference import MLP, Case, Conv, ConvNet, Expected, Layered, Request
from reference.arithmetic import FLOAT64
from reference.jacobian import linearise
from reference.layers import Activate, Dense, Embedding, Positions
from tests.gate.checks import moved
from tests.gate.drawn import Draws

NAMES = {"zeta": "dense0.weight", "m.bias": "dense0.bias", "alpha": "dense1.weight", "k.bias": "dense1.bias"}
ONE_NUMBER_NAMES = {"slope": "dense0.weight", "at.shift": "dense0.bias", "out": "dense1.weight", "b": "dense1.bias"}
TOKEN_NAMES = {"wte": "tokens.weight", "wpe": "positions.weight", "out.w": "head.weight", "out.b": "head.bias"}
CONV_NAMES = {"w": "conv0.weight", "a.shift": "conv0.bias", "head": "dense0.weight", "b": "dense0.bias"}

PADDING = ((1, 2), (0, 3))
"""Before and after the rows, and the columns."""


@dataclass(frozen=True)
class Plain:
    """A function ``f(params, x)`` in each framework, and the case whose kernel it has."""

    case: Case
    names: Mapping[str, str]
    """Of its parameters, and what the case calls them; weights of dense layers are transposed."""
    functions: Mapping[str, Callable[[Any, Any], Any]]
    x1: np.ndarray
    x2: np.ndarray | None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Of those of its parameters that have another one than the case's."""

    def moved(self) -> Plain:
        """The same functions of other parameters and other examples."""
        case = moved(self.case)
        return replace(self, case=case, x1=case.x1, x2=case.x2)

    def in_framework(self, framework: str, request: Request) -> tuple[Any, Any, Any, Any]:
        """f, params, x1 and x2, as `kernel` takes them."""
        params = {own: self._own(own, self.case.params[name]) for own, name in self.names.items()}
        f = self.functions[framework]
        if framework == "torch":
            import torch

            dtype = getattr(torch, request.dtype)
            placed = {name: torch.tensor(array, dtype=dtype, device=request.device) for name, array in params.items()}
            x1, x2 = (None if x is None else torch.tensor(
                x, dtype=dtype if x.dtype.kind == "f" else torch.int64, device=request.device)
                      for x in (self.x1, self.x2))
            return f, placed, x1, x2
        support = importlib.import_module("impls.frameworks.jax.support")
        with support.precision(request.dtype):
            return f, *support.place((_nested(params), self.x1, self.x2), request)

    def _own(self, name: str, array: np.ndarray) -> np.ndarray:
        if name in self.shapes:
            return array.reshape(self.shapes[name])
        return np.ascontiguousarray(array.T) if array.ndim == 2 and name not in TOKEN_NAMES else array


def _nested(params: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """{"m.bias": …} as {"m": {"bias": …}}."""
    nested: dict[str, Any] = {}
    for name, array in params.items():
        first, dot, rest = name.partition(".")
        if dot:
            nested.setdefault(first, {})[rest] = array
        else:
            nested[first] = array
    return nested


def dense(draw: Draws, n_outputs: int, n2: int | None, width: int | None = None) -> Plain:
    """With an output of one number per example where there is one: shape (N,)."""
    case = draw.case(MLP((4, draw.between(5, 9) if width is None else width, n_outputs), "tanh"), 5, n2)
    flat = n_outputs == 1

    def in_torch(p: Any, x: Any) -> Any:
        y = (x @ p["zeta"] + p["m.bias"]).tanh() @ p["alpha"] + p["k.bias"]
        return y[:, 0] if flat else y

    def in_jax(p: Any, x: Any) -> Any:
        import jax.numpy as jnp

        y = jnp.tanh(x @ p["zeta"] + p["m"]["bias"]) @ p["alpha"] + p["k"]["bias"]
        return y[:, 0] if flat else y

    return Plain(case, NAMES, {"torch": in_torch, "jax": in_jax}, case.x1, case.x2)


def of_equal_shapes(draw: Draws, n2: int | None) -> Plain:
    """Two weights of one shape, and two biases."""
    return dense(draw, 4, n2, width=4)


def of_one_number(draw: Draws, n2: int | None) -> Plain:
    """Two of its parameters are numbers, of no axis; the examples have one entry."""
    case = draw.case(MLP((1, 1, 3), "tanh"), 5, n2)

    def in_torch(p: Any, x: Any) -> Any:
        return (x * p["slope"] + p["at.shift"]).tanh() @ p["out"] + p["b"]

    def in_jax(p: Any, x: Any) -> Any:
        import jax.numpy as jnp

        return jnp.tanh(x * p["slope"] + p["at"]["shift"]) @ p["out"] + p["b"]

    return Plain(case, ONE_NUMBER_NAMES, {"torch": in_torch, "jax": in_jax}, case.x1, case.x2,
                 {"slope": (), "at.shift": ()})


def of_tokens(draw: Draws, n2: int | None) -> Plain:
    """Integers in, three numbers at each position out."""
    layers = (Embedding("tokens", draw.between(5, 9), 4), Positions("positions"), Activate("tanh"), Dense("head", 3))
    case = draw.case(Layered((draw.between(3, 5),), layers), 3, n2)

    def in_torch(p: Any, x: Any) -> Any:
        return (p["wte"][x] + p["wpe"]).tanh() @ p["out.w"].T + p["out.b"]

    def in_jax(p: Any, x: Any) -> Any:
        import jax.numpy as jnp

        return jnp.tanh(p["wte"][x] + p["wpe"]) @ p["out"]["w"].T + p["out"]["b"]

    return Plain(case, TOKEN_NAMES, {"torch": in_torch, "jax": in_jax}, case.x1, case.x2)


def padded_convolution(draw: Draws, n2: int | None) -> Plain:
    """Outputs of two axes; the case has the padded images themselves."""
    height, width = draw.between(5, 8), draw.between(4, 7)
    network = ConvNet((2, height + 3, width + 3), (Conv(3, (3, 2), (2, 1)),), (4,), "flatten", "tanh")
    case = draw.case(network, 3, n2, _padded)
    inside = (slice(None), slice(None), slice(1, 1 + height), slice(0, width))

    def in_torch(p: Any, x: Any) -> Any:
        from torch.nn.functional import conv2d, pad

        y = conv2d(pad(x, (*PADDING[1], *PADDING[0])), p["w"], p["a.shift"], stride=(2, 1)).tanh()
        return (y.flatten(1) @ p["head"] + p["b"]).reshape(-1, 2, 2)

    def in_jax(p: Any, x: Any) -> Any:
        import jax.numpy as jnp
        from jax.lax import conv_general_dilated

        y = conv_general_dilated(x, p["w"], (2, 1), PADDING, dimension_numbers=("NCHW", "OIHW", "NCHW"))
        y = jnp.tanh(y + p["a"]["shift"][:, None, None])
        return (y.reshape(len(x), -1) @ p["head"] + p["b"]).reshape(-1, 2, 2)

    return Plain(case, CONV_NAMES, {"torch": in_torch, "jax": in_jax}, case.x1[inside],
                 None if case.x2 is None else case.x2[inside])


def _padded(case: Case) -> Case:
    def with_zeros(x: np.ndarray) -> np.ndarray:
        (above, below), (left, right) = PADDING
        return np.pad(x[:, :, above:x.shape[2] - below, left:x.shape[3] - right], ((0, 0), (0, 0), *PADDING))

    return replace(case, x1=with_zeros(case.x1), x2=None if case.x2 is None else with_zeros(case.x2))


def truth_by_parameter(case: Case) -> dict[str, np.ndarray]:
    """(N1, N2, O, O) for each parameter of a case, by the tape in float64."""
    network: Any = case.network
    arrays = {**case.params, **case.constants}
    first, second = ([linearise(network, FLOAT64, arrays, x) for x in xs]
                     for xs in (case.x1, case.x1 if case.x2 is None else case.x2))
    return {name: np.array([[one.jacobian([name]) @ other.jacobian([name]).T for other in second] for one in first])
            for name in case.params}


def share(full: np.ndarray, whole: Expected) -> Expected:
    """The share of a parameter, held to the scale of the whole kernel: it may itself be 0."""
    return replace(whole, full=full)
