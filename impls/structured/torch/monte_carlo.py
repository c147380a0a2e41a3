"""Directions pushed through a network in blocks, by forward-mode derivatives, for PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import vmap

from impls.frameworks.torch.blocks import contract
from impls.frameworks.torch.forward_mode import as_in_training, jvp
from impls.frameworks.torch.support import Forward, Params
from impls.structured.projections import Layout, layout, matrix
from reference.case import Outputs

INPUTS_AT_ONCE = 1 << 17
"""Numbers in the inputs, times directions that go through the network together: more leaves the caches (seen: three
times as slow for a ConvNet on 16 images)."""

FEWEST_AT_ONCE = 8
"""Directions: the forward pass is made once for as many, and should be a small part of the time."""


class Estimator:
    """The kernel of ``f(params, x)`` from `proj_dim` random directions, for parameters of given shapes."""

    def __init__(self, f: Forward, params: Params, *, outputs: Outputs, proj_dim: int, distribution: str,
                 batch_size: int | None) -> None:
        self.f, self.batch_size = as_in_training(f), batch_size
        self.outputs: Outputs = outputs
        self.draw: Callable[..., Tensor] = torch.randn if distribution == "gaussian" else _signs
        self.layout: Layout = layout(proj_dim, [tuple(p.shape) for p in params.values()])

    def __call__(self, params: Params, x1: Tensor, x2: Tensor | None, seed: int) -> Float[Tensor, "N1 N2 ..."]:
        """The same seed means the same directions, for any examples."""
        x = x1 if x2 is None else torch.cat([x1, x2])  # one block, where it may be: one set of draws
        with torch.no_grad():
            projected = self._project(params, x, seed)
            left, right = projected[:len(x1)], projected[0 if x2 is None else len(x1):]
            return contract(left, right, self.outputs) / self.layout.proj_dim

    def _project(self, params: Params, x: Tensor, seed: int) -> Float[Tensor, "N O S"]:
        """J(x) v_s for every s."""
        blocks = x.split(self.batch_size or len(x))
        # The directions of a group are the same, however many of them are pushed at once.
        chunk = min(self.layout.chunk, max(FEWEST_AT_ONCE, INPUTS_AT_ONCE // blocks[0].numel()))
        rows: list[Tensor] = []
        for directions in self._directions(params, seed, chunk):
            rows.append(torch.cat([self._push(params, block, directions) for block in blocks], 1))
        return torch.cat(rows)[:self.layout.proj_dim].permute(1, 2, 0)

    def _push(self, params: Params, x: Tensor, directions: Params) -> Float[Tensor, "chunk n O"]:
        """The forward pass is made once for all directions of a chunk: it does not depend on them."""
        run = partial(self._run, x)
        return vmap(lambda direction: jvp(run, (params,), (direction,))[1])(directions)

    def _run(self, x: Tensor, params: Params) -> Float[Tensor, "n O"]:
        return self.f(params, x).reshape(len(x), -1)

    def _directions(self, params: Params, seed: int, chunk: int) -> Iterator[Params]:
        """Chunk by chunk, each parameter (chunk, …)."""
        for group in range(self.layout.n_groups):
            first = next(iter(params.values()))
            generator = torch.Generator(first.device).manual_seed(_mixed(seed, group))
            drawn = [self._drawn(i, p, generator) for i, p in enumerate(params.values())]
            for places in torch.arange(self.layout.group, device=first.device).split(chunk):
                yield {name: self._chunk(i, p, drawn[i], places) for i, (name, p) in enumerate(params.items())}

    def _drawn(self, i: int, p: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        """A group's draws of a parameter and, where they are reused, the signs of rows and columns."""
        how = {"generator": generator, "device": p.device, "dtype": p.dtype}
        draws = self.draw((self.layout.draws(i), *p.shape), **how)
        if self.layout.reuses[i] == 1:
            return (draws,)
        return (draws, *(_signs((self.layout.group, size), **how) for size in matrix(tuple(p.shape))))

    def _chunk(self, i: int, p: Tensor, drawn: tuple[Tensor, ...], places: Tensor) -> Tensor:
        draws = drawn[0][places // self.layout.reuses[i]]
        if len(drawn) == 1:
            return draws
        flat = draws.view(len(places), *matrix(tuple(p.shape)))
        flat.mul_(drawn[1][places][:, :, None]).mul_(drawn[2][places][:, None])
        return draws


def _signs(shape: tuple[int, ...], *, generator: torch.Generator, device: torch.device, dtype: torch.dtype) -> Tensor:
    bits = torch.randint(0, 2, shape, generator=generator, device=device, dtype=torch.int8)
    return bits.to(dtype).mul_(2).sub_(1)


def _mixed(seed: int, group: int) -> int:
    """A seed for each group: no other seed may share it. The generator of the CPU takes the last 32 bits alone, which
    depend on all of both here."""
    return int(np.random.SeedSequence((seed % 2**64, group)).generate_state(1, np.uint64)[0]) % 2**63
