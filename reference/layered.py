"""`Layered`: a network composed of the layers of `reference.layers`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from reference.layers import Arrays, Embedding, Layer, Residual, Shape, after, merged, met
from reference.networks import MLP, ConvNet


@dataclass(frozen=True)
class Layered:
    """Layers one after the other; the outputs are those of the last, flattened in C order.

    `frozen` names parameters of the layers that are not trained.
    """

    input_shape: Shape
    layers: tuple[Layer, ...]
    frozen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        known = self._all_params()
        if unknown := set(self.frozen) - set(known):
            raise ValueError(f"frozen: there is no parameter {', '.join(sorted(unknown))}; "
                             f"known are {', '.join(known)}")
        _check_residuals(self.layers, self.input_shape)

    @property
    def output_shape(self) -> Shape:
        return after(self.layers, self.input_shape)

    @property
    def n_outputs(self) -> int:
        return math.prod(self.output_shape)

    @property
    def n_tokens(self) -> int | None:
        """The inputs are integers below it; None where they are real numbers."""
        first = self.layers[0]
        return first.n_tokens if isinstance(first, Embedding) else None

    def params(self) -> Arrays:
        """What is trained, in order of first use."""
        return {name: drawn for name, drawn in self._all_params().items() if name not in self.frozen}

    def constants(self) -> Arrays:
        """What is not: the frozen parameters, then the layers' own constants."""
        own = merged(layer.constants(shape) for layer, shape in met(self.layers, self.input_shape))
        return {name: drawn for name, drawn in self._all_params().items() if name in self.frozen} | own

    def param_shapes(self) -> dict[str, Shape]:
        return {name: drawn.shape for name, drawn in self.params().items()}

    def constant_shapes(self) -> dict[str, Shape]:
        return {name: drawn.shape for name, drawn in self.constants().items()}

    def all_layers(self) -> list[Layer]:
        """The layers, those inside of residual ones as well."""
        return list(_nested(self.layers))

    def _all_params(self) -> Arrays:
        return merged(layer.params(shape) for layer, shape in met(self.layers, self.input_shape))


def _nested(layers: tuple[Layer, ...]) -> Iterator[Layer]:
    for layer in layers:
        yield layer
        if isinstance(layer, Residual):
            yield from _nested((*layer.body, *layer.shortcut))


def _check_residuals(layers: tuple[Layer, ...], shape: Shape) -> None:
    for layer, inside in met(layers, shape):
        if isinstance(layer, Residual):
            body, shortcut = after(layer.body, inside), after(layer.shortcut, inside)
            if body != shortcut:
                raise ValueError(f"a residual adds shapes {body} (body) and {shortcut} (shortcut)")
            _check_residuals(layer.body, inside)


Described = MLP | ConvNet | Layered
"""The networks whose kernel the reference computes."""
