"""One network of the suite: what makes it and its inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

N_EXAMPLES = 3
N_OUTPUTS = 3
"""Classes, where a network has a head: the truth is a backward pass for each example and output."""


@dataclass(frozen=True)
class Made:
    """A model in float32 and evaluation mode, with what `impls.ntk` is given."""

    model: Any
    x: Any
    options: dict[str, Any] = field(default_factory=dict)
    """Further keywords of `ntk`: ``params``, ``select``, ``state``."""
    plain: Callable[[Any, list[int]], Any] | None = None
    """(model, rows) to the outputs of those examples, where calling the model on rows of x does not give them."""
    double: Callable[[], Any] | None = None
    """The model in float64, where casting what it holds does not make it."""


@dataclass(frozen=True)
class Entry:
    """`make` takes nothing; seeds are set before it is called."""

    name: str
    package: str
    framework: Literal["torch", "jax"]
    make: Callable[[], Made]
    float32_inside: bool = False
    """Whether the package computes some of it in float32, whatever the parameters are."""
