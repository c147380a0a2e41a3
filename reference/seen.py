"""What the named layers of a network take and give in one forward pass: its features."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from reference.tape import Node

INPUT = ":input"
"""What ends the name of a layer whose inputs are meant."""


class Seen:
    """`nodes` has what a layer takes as "name:input" and what it gives, before any activation, as "name"; of its later
    uses as "name:input#2" and "name#2". Tokens are no features, and are left out."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self._uses: Counter[str] = Counter()

    def used(self, layer: str, taken: Node | np.ndarray, given: Node) -> None:
        self._uses[layer] += 1
        use = f"#{self._uses[layer]}" if self._uses[layer] > 1 else ""
        if not isinstance(taken, np.ndarray):
            self.nodes[f"{layer}{INPUT}{use}"] = taken
        self.nodes[f"{layer}{use}"] = given


def note(seen: Seen | None, layer: Any, taken: Node | np.ndarray, given: Node) -> None:
    """Where anyone looks, and the layer has a name."""
    name = layer if isinstance(layer, str) else getattr(layer, "name", None)
    if seen is not None and name is not None:
        seen.used(name, taken, given)
