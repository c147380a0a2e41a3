"""One forward and one batched backward pass: what each term of the contraction needs, for some examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from impls.programs.program import Read, Value, evaluate
from impls.programs.torch.program import Step, tensor_of
from impls.structured.analysis import Analysis, Group
from impls.structured.passes import Arrays, Met, Passes
from impls.structured.planner import Plan
from impls.structured.torch.cotangents import Cotangents, linear_cotangents, may_be_batched
from impls.structured.torch.forward import constants
from impls.structured.torch.gradients import carried_of_images, carried_of_rows, gradient
from impls.structured.torch.local import Local
from impls.structured.torch.pointwise import differentiated_once, is_function_of_numbers
from impls.structured.torch.rules import BOOK
from impls.structured.uses import Use

PER_EXAMPLE = {"a": 0, "d": 0, "e": 0, "c": None}
"""Which axis of an array the examples are on, by the end of its name; of those that are not here, the second."""

ROWS_AT_ONCE = 1 << 12
"""Rows, of examples, outputs and positions, that even the smallest product has when it goes backward on a CPU: fewer
make slow products. More leave the caches, and the memory for them is taken anew from the system on each call (seen: a
ConvNet's 160 images of 256 positions in one piece take twice as long as in ten)."""


def of_examples(arrays: Arrays, examples: slice) -> Arrays:
    """The same arrays, of some of the examples."""
    axes = {name: PER_EXAMPLE.get(name.rpartition(".")[2], 1) for name in arrays}
    return {name: array if (axis := axes[name]) is None else array[(slice(None),) * axis + (examples,)]
            for name, array in arrays.items()}


class Factors(Passes):
    """The passes for a batch of examples, of parameters on a device."""

    JOINED_SIZE = 1 << 12

    def __init__(self, analysis: Analysis, plan: Plan, dtype: torch.dtype, device: torch.device, *,
                 join: bool = True) -> None:
        super().__init__(analysis, plan, dtype, BOOK, join=join, placed=lambda order: tensor_of(order).to(device))
        self.local = Local(self.program, self.direct)
        self.tapped = [i for i in self.direct if i not in self.local.parameters]
        self.sites = list(dict.fromkeys([*self.sites, *self.local.ys]))
        self.whole = {name: use.gradients for name, (_, group, way) in self.active.items() for use in group.uses
                      if way in ("gradient", "separable") and len(group.uses) == 1 and use.gradients is not None
                      if way == "gradient" or not group.product.single}  # of one position the factors are kept
        self.batched: bool | None = None
        """Whether the backward passes of all outputs may be made as one; known after the first forward pass."""
        self.last = next((group for _, group, way in self.active.values() if way == "top" and _is_last_layer(group)),
                         None)

    @property
    def constants(self) -> list[Tensor]:
        """The tensors that the passes read besides the parameters and the examples."""
        return [*constants(self.program), *self.orders.values()]

    def __call__(self, parameters: Sequence[Tensor], x: Tensor) -> Arrays:
        """For a batch of examples."""
        sites = [*self.sites, *self.separable]
        shapes = [(y.shape, y.dtype) for y in sites] + [(parameters[i].shape, parameters[i].dtype) for i in self.tapped]
        taps = [
            torch.zeros((), dtype=dtype, device=x.device).expand(len(x), *shape).requires_grad_()
            for shape, dtype in shapes
        ]
        run = _Run(self, parameters)
        with torch.enable_grad():
            out, *others = vmap(run)(x, *taps)
        hidden, ends, held, parts = run.sorted(others)
        if self.batched is None:
            self.batched = may_be_batched((out, *hidden))
        inflows = {name: some[0].detach() if name in self.whole else self.inflow(name, [a.detach() for a in some])
                   for name, some in parts.items()}
        n = len(self.sites)
        separable = self._separable(parameters, ends, taps[n : len(sites)], inflows)
        cotangents = Cotangents(out, hidden, run.seed, [*taps[:n], *taps[len(sites) :]])
        at_once = self._at_once(x) if self.batched else 1
        some = [
            self._of_some(parameters, inflows, held, cotangents(start, min(start + at_once, out.shape[1])))
            for start in range(0, out.shape[1], at_once)
        ]
        arrays = {name: self.laid([arrays[name] for arrays in some], 0) for name in some[0]}
        return arrays | separable | {f"{name}.a": inflows[name] for name in inflows if self.keeps(name)}

    def _at_once(self, x: Tensor) -> int:
        """Outputs that go backward together."""
        n_outputs = self.program.n_outputs
        if x.device.type != "cpu":
            return n_outputs
        positions = min((each.group.product.positions for each in self.active.values() if each.way != "top"), default=1)
        blocks = -(-n_outputs // -(-ROWS_AT_ONCE // (len(x) * positions)))
        return -(-n_outputs // blocks)

    def _of_some(self, parameters: Sequence[Tensor], inflows: Arrays, held: Sequence[Tensor],
                 cotangents: Sequence[Tensor]) -> Arrays:
        """What depends on the outputs, for some of them."""
        at_sites = dict(zip(self.sites, cotangents, strict=False))
        found = dict(zip(self.tapped, cotangents[len(self.sites) :], strict=True))
        found |= self.local.gradients(parameters, held, [at_sites[y] for y in self.local.ys])
        direct = {f"{i}": self.cast(d).reshape(*d.shape[:2], -1) for i, d in found.items()}
        return self.of_outputs(direct, inflows, at_sites)

    def cast(self, array: Tensor) -> Tensor:
        return array.to(self.dtype)

    def laid(self, arrays: Sequence[Tensor], axis: int) -> Tensor:
        return arrays[0] if len(arrays) == 1 else torch.cat([*arrays], axis)

    def mapped(self, f: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return vmap(f)

    def arranged(self, use: Use, cotangent: Tensor) -> Tensor:
        return vmap(vmap(use.arrange))(cotangent)

    def gradient(self, name: str, inflow: Tensor, at_sites: Mapping[Value, Tensor]) -> Arrays:
        group = self.active[name].group
        if name in self.whole:
            g = self.cast(at_sites[group.uses[0].y])
            d, carried = self.whole[name](inflow, g), carried_of_images
        else:
            g = self.cotangent(name, at_sites)
            d, carried = gradient(inflow, g), carried_of_rows
        return {name: d.flatten(2)} | ({f"{name}.carried": carried(g, group).flatten(2)} if group.carried else {})

    def _slopes(self, ends: dict[Value, Tensor], taps: dict[Value, Tensor]) -> dict[Value, Tensor]:
        """(1, N, …): what the numbers of each separable product are multiplied by on their way to the end."""
        slopes: dict[Value, Tensor] = {}
        for value, end in ends.items():  # one by one, for one may lie behind the other
            sites = [self.active[name].group.uses[0].y for name, tail in self.tails.items() if tail.end is value]
            found = torch.autograd.grad(end, [taps[y] for y in sites], torch.ones_like(end), retain_graph=True)
            slopes |= {y: slope[None] for y, slope in zip(sites, found, strict=True)}
        return slopes

    def _separable(
        self, parameters: Sequence[Tensor], ends: Sequence[Tensor], taps: Sequence[Tensor], inflows: Arrays
    ) -> Arrays:
        """What is needed of the cotangents that are never made for each output."""
        if not self.ends:
            return {}
        at_sites = self._slopes(dict(zip(self.ends, ends, strict=True)), dict(zip(self.separable, taps, strict=True)))
        arrays = self.same_for_all({end: linear_cotangents(each, parameters) for end, each in self.ends.items()})
        for name in self.tails:
            group, a = self.active[name].group, inflows[name]
            if name in self.whole:
                g, carried = self.cast(at_sites[group.uses[0].y]), carried_of_images
                e = self.whole[name](a, g)[0]
            else:
                g, carried = self.cotangent(name, at_sites), carried_of_rows
                if group.product.single:
                    arrays |= {f"{name}.a": a, f"{name}.d": g[0].flatten(1)}
                    continue
                e = g[0].mT @ a if group.product.inputs > 1 else (a * g[0]).sum(2)[..., None]
            e = torch.cat([e, carried(g, group)[0]], 3) if group.carried else e
            arrays[f"{name}.e"] = e.flatten(1, 2)
        return arrays


class _Run:
    """One forward pass for one example: the outputs, and what `sorted` tells apart (in one row: what is nested takes
    `vmap` longer than a small layer does). `seed` is then the cotangent of what the top layer reads, (O, …), the same
    for each example.
    """

    def __init__(self, factors: Factors, parameters: Sequence[Tensor]) -> None:
        self.factors, self.parameters = factors, parameters
        self.seed: Tensor | None = None

    def __call__(self, x: Tensor, *taps: Tensor) -> tuple[Tensor, ...]:
        f = self.factors
        n = len(f.sites) + len(f.separable)
        self.hidden: list[Tensor] = []
        self.held: dict[Value, Tensor] = {}
        self.met = Met(f, taps[:n], lambda name, use, h: h if name in f.whole else use.inflow(h))
        tapped = list(self.parameters)
        for i, tap in zip(f.tapped, taps[n:], strict=True):
            tapped[i] = tapped[i] + tap
        out = evaluate(f.program, tapped, x, self._step)
        parts = [part for some in self.met.inflows.values() for part in some]
        ends, held = (self.met.ends[end] for end in f.ends), (self.held[value] for value in f.local.held)
        return out, *self.hidden, *ends, *held, *parts

    def sorted(
        self, others: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor], dict[str, list[Tensor]]]:
        """What the top layer reads (none or one), the ends of tails, what meets parameters without a rule, and each
        product's inflow at each of its uses."""
        rest, f = iter(others), self.factors
        hidden, ends, held = ([*islice(rest, len(some))] for some in (self.hidden, f.ends, f.local.held))
        parts = {name: [*islice(rest, len(some))] for name, some in self.met.inflows.items()}
        return hidden, ends, [each.detach() for each in held], parts

    def _step(self, step: Step, read: Read) -> Sequence[Any]:
        last = self.factors.last
        if last is not None and step is last.uses[0].step:
            outputs = self._top(last, read)
        else:
            outputs = (differentiated_once(step, read),) if is_function_of_numbers(step) else step(read)
        if step in self.factors.local.steps:
            self.held |= {v: read(v) for v in step.inputs if isinstance(v, Value) and v.on_example}
        return self.met(step, read, outputs)

    def _top(self, group: Group, read: Read) -> Sequence[Any]:
        """The top layer, cut from what it reads: that cotangent is the layer's weight, and no product is needed for
        it (seen: 2 to 3 % of the time for an MLP with one output)."""
        assert group.top is not None
        (use,) = group.uses
        position = use.step.inputs.index(use.activation)
        hidden, weight = read(use.step.inputs[position]), read(use.step.inputs[1 - position])
        self.hidden.append(hidden)
        self.seed = (weight.mT[:, None] if position == 0 else weight[..., None]) * group.top
        return use.step(lambda operand: hidden.detach() if operand is use.activation else read(operand))


def _is_last_layer(group: Group) -> bool:
    """Whether each output is one row of a matrix times one vector."""
    (use,) = group.uses
    return use.step.name == "mm" and use.sizes[:2] == (1, 1) and use.step.inputs[0] is not use.step.inputs[1]
