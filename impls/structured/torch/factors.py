"""One forward and one batched backward pass: what each term of the contraction needs, for some examples.

A zero is added to what each product computes (a tap); its cotangent is the product's g. A parameter whose gradient is
taken directly has its tap on itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from impls.structured.analysis import Analysis, Group
from impls.structured.planner import Plan, Way
from impls.structured.program import Read, Value, evaluate
from impls.structured.tails import Linear
from impls.structured.terms import JOINED, active, terms
from impls.structured.torch.cotangents import Cotangents, linear_cotangents, may_be_batched
from impls.structured.torch.forward import constants
from impls.structured.torch.gradients import arranged_cotangent, carried_inputs, carried_of_images, gradient, scaled
from impls.structured.torch.local import Local
from impls.structured.torch.pointwise import differentiated_once, is_function_of_numbers
from impls.structured.torch.program import Step, tensor_of
from impls.structured.torch.rules import BOOK
from impls.structured.uses import Use

Arrays = dict[str, Tensor]
"""Name to array: ``a`` (N, S, T, I) or row numbers (N, T), ``g`` (O, N, S, T, J), gradients (O, N, P). Of a separable
g: ``c`` (O, S·J), the same for all examples, and either ``d`` (N, J) or with it summed over the positions the gradients
up to c, ``e`` (N, S·J, I + B)."""

PER_EXAMPLE = {"a": 0, "d": 0, "e": 0, "c": None}
"""Which axis of an array the examples are on, by the end of its name; of those that are not here, the second."""

ROWS_AT_ONCE = 1 << 12
"""Rows, of examples, outputs and positions, that even the smallest product has when it goes backward on a CPU: fewer
make slow products. More leave the caches, and the memory for them is taken anew from the system on each call (seen: a
ConvNet's 160 images of 256 positions in one piece take twice as long as in ten)."""

JOINED_SIZE = 1 << 12
"""Gradients up to this many numbers for each output are laid side by side and contracted in one matrix product."""


def of_examples(arrays: Arrays, examples: slice) -> Arrays:
    """The same arrays, of some of the examples."""
    axes = {name: PER_EXAMPLE.get(name.rpartition(".")[2], 1) for name in arrays}
    return {name: array if (axis := axes[name]) is None else array[(slice(None),) * axis + (examples,)]
            for name, array in arrays.items()}


class Factors:
    """The passes for a plan, of parameters on a device. `terms` says what the arrays that it returns mean."""

    def __init__(
        self, analysis: Analysis, plan: Plan, dtype: torch.dtype, device: torch.device, *, joined: bool = True
    ) -> None:
        self.analysis, self.dtype, self.device = analysis, dtype, device
        self.program = analysis.program
        self.ways = [step.ways for step in plan.steps]
        by_themselves = [i for i, way in enumerate(self.ways) if way == ("direct",)]
        self.local = Local(self.program, by_themselves)
        self.direct = [i for i in by_themselves if i not in self.local.parameters]
        self.active = [each for each in active(analysis, plan) if each[0] not in by_themselves]
        self.groups = {f"{i}.{k}": group for i, k, group, _ in self.active}
        self.sites = self._sites({"gram", "half", "gradient"})
        self.separable = self._sites({"separable"})
        tails = {f"{i}.{k}": group.tail for i, k, group, way in self.active if way == "separable"}
        self.ends = {tail.end: Linear(analysis.program, tail.end) for tail in tails.values() if tail is not None}
        self.orders = {name: tensor_of(tail.order) for name, tail in tails.items()
                       if tail is not None and tail.order is not None}
        self.uses = self._uses()
        self.whole = {
            f"{i}.{k}": group.uses[0].gradients
            for i, k, group, way in self.active
            if way in ("gradient", "separable") and len(group.uses) == 1 and group.uses[0].gradients is not None
            if way == "gradient" or not group.product.single  # of one position the factors themselves are kept
        }
        self.sizes = self._sizes()
        self.joined = [name for name, size in self.sizes.items() if joined and size <= JOINED_SIZE]
        self.batched: bool | None = None
        """Whether the backward passes of all outputs may be made as one; known after the first forward pass."""
        owners = {name: int(name.partition(".")[0]) for name in self.sizes}
        self.terms = terms(analysis, plan, owners, self.joined, BOOK, lambda order: tensor_of(order).to(device))
        self.last = next((group for _, _, group, way in self.active if way == "top" and _is_last_layer(group)), None)

    @property
    def constants(self) -> list[Tensor]:
        """The tensors that the passes read besides the parameters and the examples."""
        return constants(self.program)

    def _sites(self, ways: set[Way]) -> list[Value]:
        """Where the cotangents are taken that products of these ways need."""
        local = self.local.ys if "gradient" in ways else []
        return list(dict.fromkeys(
            [*(use.y for *_, group, way in self.active if way in ways for use in group.uses), *local]
        ))

    def _sizes(self) -> dict[str, int]:
        """Of the gradients that are kept as such: how many numbers for each output."""
        sizes = {f"{i}": self.analysis.parameters[i].size for i in (*self.direct, *self.local.parameters)}
        for i, k, group, way in self.active:
            name, biases = f"{i}.{k}", len(group.carried) * group.product.shared * group.product.outputs
            if way == "gradient" and name in self.whole:
                sizes |= {name: group.product.size} | ({f"{name}.carried": biases} if biases else {})
            elif way == "gradient":
                sizes[name] = group.product.size + biases
        return sizes

    def _uses(self) -> dict[object, list[tuple[str, int, Use]]]:
        uses: dict[object, list[tuple[str, int, Use]]] = {}
        for i, k, group, _ in self.active:
            for n, use in enumerate(group.uses):
                uses.setdefault(use.step, []).append((f"{i}.{k}", n, use))
        return uses

    def __call__(self, parameters: Sequence[Tensor], x: Tensor) -> Arrays:
        """For a batch of examples."""
        sites = [*self.sites, *self.separable]
        shapes = [(y.shape, y.dtype) for y in sites] + [(parameters[i].shape, parameters[i].dtype) for i in self.direct]
        taps = [
            torch.zeros((), dtype=dtype, device=x.device).expand(len(x), *shape).requires_grad_()
            for shape, dtype in shapes
        ]
        run = _Run(self, parameters)
        with torch.enable_grad():
            out, *others = vmap(run)(x, *taps)
        hidden, ends, held, parts = run.sorted(others)
        held = dict(zip(self.local.held, (each.detach() for each in held), strict=True))
        if self.batched is None:
            self.batched = may_be_batched((out, *hidden))
        inflows = {name: self._inflow(name, [a.detach() for a in some]) for name, some in parts.items()}
        n = len(self.sites)
        separable = self._separable(parameters, ends, taps[n : n + len(self.separable)], inflows)
        cotangents = Cotangents(out, hidden, run.seed, [*taps[:n], *taps[n + len(self.separable) :]])
        at_once = self._at_once(x) if self.batched else 1
        some = [
            self._arranged(parameters, inflows, held, cotangents(start, min(start + at_once, out.shape[1])))
            for start in range(0, out.shape[1], at_once)
        ]
        columns = {name: [arrays[name] for arrays in some] for name in some[0]}
        arrays = {name: each[0] if len(each) == 1 else torch.cat(each) for name, each in columns.items()}
        kept = {f"{i}.{k}" for i, k, _, way in self.active if way not in ("gradient", "separable")}
        return arrays | separable | {f"{name}.a": inflows[name] for name in inflows if name in kept}

    def _at_once(self, x: Tensor) -> int:
        """Outputs that go backward together."""
        n_outputs = self.analysis.program.n_outputs
        if x.device.type != "cpu":
            return n_outputs
        positions = min((group.product.positions for group in self.groups.values() if group.top is None), default=1)
        blocks = -(-n_outputs // -(-ROWS_AT_ONCE // (len(x) * positions)))
        return -(-n_outputs // blocks)

    def _arranged(
        self, parameters: Sequence[Tensor], inflows: Arrays, held: dict[Value, Tensor], cotangents: Sequence[Tensor]
    ) -> Arrays:
        """What depends on the outputs, for some of them."""
        at_sites = dict(zip(self.sites, cotangents, strict=False))
        at_parameters = dict(zip(self.direct, cotangents[len(self.sites) :], strict=True))
        arrays: Arrays = {}
        at_parameters |= self.local.gradients(parameters, held, [at_sites[y] for y in self.local.ys])
        gradients = {f"{i}": d.to(self.dtype).reshape(*d.shape[:2], -1) for i, d in at_parameters.items()}
        for i, k, group, way in self.active:
            name = f"{i}.{k}"
            if way == "gradient":
                gradients |= self._gradient(name, inflows[name], at_sites)
            elif way not in ("top", "separable"):
                arrays[f"{name}.g"] = self._cotangent(group, at_sites)
        if self.joined:
            parts = [gradients.pop(name) for name in self.joined]
            arrays[JOINED] = parts[0] if len(parts) == 1 else torch.cat(parts, 2)
        return arrays | gradients

    def _inflow(self, name: str, parts: list[Tensor]) -> Tensor:
        """(N, S, T, I), or as the framework has it."""
        group = self.groups[name]
        if group.product.lookup:
            return torch.cat(parts, 1)
        parts = [scaled(part.to(self.dtype), use.scale) for part, use in zip(parts, group.uses, strict=True)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 2)

    def _cotangent(self, group: Group, at_sites: dict[Value, Tensor]) -> Tensor:
        parts = [arranged_cotangent(use, at_sites[use.y]).to(self.dtype) for use in group.uses]
        if group.product.lookup:  # its a has no room for a scale
            parts = [scaled(part, use.scale) for part, use in zip(parts, group.uses, strict=True)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 3)

    def _gradient(self, name: str, inflow: Tensor, at_sites: dict[Value, Tensor]) -> Arrays:
        group = self.groups[name]
        if name not in self.whole:
            return {name: gradient(inflow, self._cotangent(group, at_sites), group)}
        g = at_sites[group.uses[0].y].to(self.dtype)
        d = self.whole[name](inflow, g).flatten(2)
        return {name: d} | ({f"{name}.carried": carried_of_images(g, group).flatten(2)} if group.carried else {})

    def _slopes(self, ends: dict[Value, Tensor], taps: dict[Value, Tensor]) -> dict[Value, Tensor]:
        """(1, N, …): what the numbers of each separable product are multiplied by on their way to the end."""
        slopes: dict[Value, Tensor] = {}
        for value, end in ends.items():  # one by one, for one may lie behind the other
            sites = [
                group.uses[0].y
                for *_, group, way in self.active
                if way == "separable" and group.tail is not None and group.tail.end is value
            ]
            found = torch.autograd.grad(end, [taps[y] for y in sites], torch.ones_like(end), retain_graph=True)
            slopes |= {y: slope[None] for y, slope in zip(sites, found, strict=True)}
        return slopes

    def _separable(
        self, parameters: Sequence[Tensor], ends: Sequence[Tensor], taps: Sequence[Tensor], inflows: Arrays
    ) -> Arrays:
        """What is needed of the cotangents that are never made for each output."""
        if not self.ends:
            return {}
        linear = {end: linear_cotangents(each, parameters) for end, each in self.ends.items()}
        at_sites = self._slopes(dict(zip(self.ends, ends, strict=True)), dict(zip(self.separable, taps, strict=True)))
        arrays: Arrays = {}
        for i, k, group, way in self.active:
            if way != "separable" or group.tail is None:
                continue
            name, (use,) = f"{i}.{k}", group.uses
            c = linear[group.tail.end].flatten(1)
            c = c[:, self.orders[name]] if name in self.orders else c
            arrays[f"{name}.c"] = vmap(use.arrange)(c.unflatten(1, use.y.shape))[:, :, 0].flatten(1).to(self.dtype)
            if name in self.whole:
                slope = at_sites[use.y].to(self.dtype)
                e = self.whole[name](inflows[name], slope)[0]
                e = torch.cat([e, carried_of_images(slope, group)[0]], 3) if group.carried else e
                arrays[f"{name}.e"] = e.flatten(1, 2)
                continue
            slope = self._cotangent(group, at_sites)[0]
            if group.product.single:
                arrays |= {f"{name}.a": inflows[name], f"{name}.d": slope.flatten(1)}
                continue
            e = slope.mT @ inflows[name] if group.product.inputs > 1 else (inflows[name] * slope).sum(2)[..., None]
            e = torch.cat([e, slope.mT @ carried_inputs(group, slope).T], 3) if group.carried else e
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
        sites = [*f.sites, *f.separable]
        self.taps: dict[Value, Tensor] = {}
        for y, tap in zip(sites, taps[: len(sites)], strict=True):
            self.taps[y] = self.taps[y] + tap if y in self.taps else tap
        self.hidden: list[Tensor] = []
        self.ends: dict[Value, Tensor] = {}
        self.held: dict[Value, Tensor] = {}
        self.inflows: dict[str, list[Any]] = {f"{i}.{k}": [None] * len(group.uses) for i, k, group, _ in f.active}
        tapped = list(self.parameters)
        for i, tap in zip(f.direct, taps[len(sites) :], strict=True):
            tapped[i] = tapped[i] + tap
        out = evaluate(f.analysis.program, tapped, x, self._step)
        parts = [part for some in self.inflows.values() for part in some]
        ends, held = (self.ends[end] for end in f.ends), (self.held[value] for value in f.local.held)
        return out, *self.hidden, *ends, *held, *parts

    def sorted(
        self, others: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor], dict[str, list[Tensor]]]:
        """What the top layer reads (none or one), the ends of tails, what meets parameters without a rule, and each
        product's inflow at each of its uses."""
        rest, f = iter(others), self.factors
        hidden, ends, held = ([*islice(rest, len(some))] for some in (self.hidden, f.ends, f.local.held))
        return hidden, ends, held, {name: [*islice(rest, len(some))] for name, some in self.inflows.items()}

    def _step(self, step: Step, read: Read) -> Sequence[Any]:
        f = self.factors
        if f.last is not None and step is f.last.uses[0].step:
            outputs = self._top(f.last, read)
        else:
            outputs = (differentiated_once(step, read),) if is_function_of_numbers(step) else step(read)
        if step in f.local.steps:
            self.held |= {v: read(v) for v in step.inputs if isinstance(v, Value) and v.on_example}
        for name, n, use in f.uses.get(step, ()):
            h = outputs[0] if use.activation is None else read(use.activation)
            self.inflows[name][n] = h if name in f.whole else use.inflow(h)
        tap = self.taps.get(step.outputs[0])
        outputs = outputs if tap is None else (outputs[0] + tap, *outputs[1:])
        self.ends |= {value: each for value, each in zip(step.outputs, outputs, strict=True) if value in f.ends}
        return outputs

    def _top(self, group: Group, read: Read) -> Sequence[Any]:
        """The top layer, cut from what it reads: that cotangent is the layer's weight, and no product is needed for
        it."""
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
