"""PyTorch's DataLoader, read without a trace: at each reading it draws a seed, at least, from the user's numbers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from reference import InputError


def read_apart(x: Any, what: str) -> Any:
    """`x`, or `Apart` of a DataLoader. Raises `InputError` for a Dataset, which holds no batches."""
    torch = sys.modules.get("torch")
    if torch is None:
        return x
    if isinstance(x, torch.utils.data.Dataset) and not hasattr(x, "__iter__"):
        raise InputError(f"{what} is a {type(x).__name__}, which gives single examples; give batches of them: "
                         f"torch.utils.data.DataLoader({what}, batch_size=...)")
    return Apart(x, torch.default_generator) if isinstance(x, torch.utils.data.DataLoader) else x


class Apart:
    """A DataLoader whose readings draw their numbers from a state of their own, which goes on, so that one that
    shuffles is found."""

    def __init__(self, loader: Any, default: Any) -> None:
        self.loader = loader
        drawn_from = (default, loader.generator, getattr(loader.sampler, "generator", None))
        self.generators = list({id(each): each for each in drawn_from if each is not None}.values())
        self.states = self._states()

    def __iter__(self) -> Iterator[Any]:
        with self._inside():
            batches = iter(self.loader)
        while True:
            with self._inside():
                try:
                    batch = next(batches)
                except StopIteration:
                    return
            yield batch

    def _states(self) -> list[Any]:
        return [generator.get_state() for generator in self.generators]

    @contextmanager
    def _inside(self) -> Iterator[None]:
        outside = self._states()
        for generator, state in zip(self.generators, self.states, strict=True):
            generator.set_state(state)
        try:
            yield
        finally:
            self.states = self._states()
            for generator, state in zip(self.generators, outside, strict=True):
                generator.set_state(state)
