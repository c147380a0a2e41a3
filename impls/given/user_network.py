"""A network of the user's own, carried where a description of a shared network would stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, eq=False)
class UserNetwork:
    """A model that only its own framework understands; a `Case` carries it with ``params={}``.

    `framework` is ``"torch"`` (a batched `torch.nn.Module`), ``"equinox"`` (an Equinox module for one example) or
    ``"jax"`` (a batched ``f(params, x)`` with `params`, any pytree).
    """

    framework: Literal["torch", "equinox", "jax"]
    model: Any
    params: Any = None

    @property
    def input_shape(self) -> None:
        return None

    @property
    def n_outputs(self) -> None:
        return None

    @property
    def n_tokens(self) -> None:
        return None

    def param_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {}

    def constant_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {}
