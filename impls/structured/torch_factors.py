"""One forward and one batched backward pass: what each term of the contraction needs, for some examples.

A zero is added to what each product computes (a tap); its cotangent is the product's g. A parameter whose gradient is
taken directly has its tap on itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor
from torch.func import vmap

from impls.structured.planner import Plan, Product, Way
from impls.structured.torch_analysis import Analysis, Group
from impls.structured.torch_pointwise import differentiated_once, is_function_of_numbers
from impls.structured.torch_products import Use
from impls.structured.torch_program import Read, Step, Value, evaluate

Arrays = dict[str, Tensor]
"""Name to array: ``a`` (N, S, T, I) or row numbers (N, T), ``g`` (O, N, S, T, J), gradients (O, N, P)."""

JOINED_SIZE = 1 << 12
"""Gradients up to this many numbers for each output are laid side by side and contracted in one matrix product."""


@dataclass(frozen=True, eq=False)
class Term:
    """One summand of the kernel: a product and its way, or gradients (`group` None)."""

    name: str
    way: Way | Literal["cross"]
    parameter: int | None = None
    """None: of several."""
    group: Group | None = None
    other: Group | None = None
    """For the way "cross": the second use of a tied parameter, as the transposed matrix."""

    @property
    def product(self) -> Product:
        assert self.group is not None
        return self.group.product

    @cached_property
    def in_rows(self) -> bool:
        """Whether it is a matrix product of rows, times a number for each pair of examples."""
        return self.way == "gradient" or (self.way == "gram" and self.product.shared == self.product.positions == 1)

    @cached_property
    def top_order(self) -> tuple[Tensor | None, float]:
        """Where each output is in (s, t, j), None where the order is the same; and the square of what y is multiplied
        by."""
        assert self.group is not None
        assert self.group.top is not None
        (use,) = self.group.uses
        outputs = torch.arange(math.prod(use.y.shape))
        place = use.arrange(outputs.reshape(use.y.shape)).flatten().argsort()
        scale = self.group.top**2 * (use.scale**2 if self.product.lookup else 1.0)
        return (None if bool((place == outputs).all()) else place), scale


class Factors:
    """The passes for a plan. `terms` says what the arrays that it returns mean."""

    def __init__(self, analysis: Analysis, plan: Plan, dtype: torch.dtype, *, joined: bool = True) -> None:
        self.analysis, self.dtype = analysis, dtype
        self.ways = [step.ways for step in plan.steps]
        self.direct = [i for i, way in enumerate(self.ways) if way == ("direct",)]
        self.active: list[tuple[int, int, Group, Way]] = [
            (i, k, group, way)
            for i, groups in enumerate(analysis.groups)
            if i not in self.direct
            for k, (group, way) in enumerate(zip(groups, self.ways[i], strict=True))
        ]
        self.sites = list(
            dict.fromkeys(use.y for _, _, group, way in self.active if way != "top" for use in group.uses)
        )
        self.uses = self._uses()
        self.sizes = {f"{i}.{k}": _gradient_size(group) for i, k, group, way in self.active if way == "gradient"}
        self.sizes |= {f"{i}": analysis.parameters[i].size for i in self.direct}
        self.joined = [name for name, size in self.sizes.items() if joined and size <= JOINED_SIZE]
        self.batched: bool | None = None
        """Whether the backward passes of all outputs may be made as one; known after the first forward pass."""
        self.terms = self._terms()
        self.last = next((group for _, _, group, way in self.active if way == "top" and _is_last_layer(group)), None)

    def _uses(self) -> dict[Step, list[tuple[str, int, Use]]]:
        uses: dict[Step, list[tuple[str, int, Use]]] = {}
        for i, k, group, _ in self.active:
            for n, use in enumerate(group.uses):
                uses.setdefault(use.step, []).append((f"{i}.{k}", n, use))
        return uses

    def _terms(self) -> list[Term]:
        terms = [Term(f"{i}.{k}", way, i, group) for i, k, group, way in self.active if way != "gradient"]
        for i, parameter in enumerate(self.analysis.parameters):
            if parameter.transposed and i not in self.direct:
                first, second = self.analysis.groups[i]
                terms.append(Term(f"{i}", "cross", i, first, second))
        if self.joined:
            terms.append(Term("joined", "gradient"))
        apart = [name for name in self.sizes if name not in self.joined]
        return terms + [Term(name, "gradient", int(name.partition(".")[0])) for name in apart]

    def __call__(self, parameters: Sequence[Tensor], x: Tensor) -> Arrays:
        """For a batch of examples."""
        shapes = [(y.shape, y.dtype) for y in self.sites] + [
            (parameters[i].shape, parameters[i].dtype) for i in self.direct
        ]
        taps = [
            torch.zeros((), dtype=dtype, device=x.device).expand(len(x), *shape).requires_grad_()
            for shape, dtype in shapes
        ]
        run = _Run(self, parameters)
        with torch.enable_grad():
            out, hidden, inflows = vmap(run)(x, taps)
        if self.batched is None:
            self.batched = not _in_place((out, *hidden))
        cotangents = _cotangents(out, hidden, run.seed, taps, self.batched)
        at_sites = dict(zip(self.sites, cotangents[: len(self.sites)], strict=True))
        at_parameters = dict(zip(self.direct, cotangents[len(self.sites) :], strict=True))
        return self._arranged(
            {name: [a.detach() for a in parts] for name, parts in inflows.items()}, at_sites, at_parameters
        )

    def _arranged(
        self, inflows: dict[str, list[Tensor]], at_sites: dict[Value, Tensor], at_parameters: dict[int, Tensor]
    ) -> Arrays:
        arrays: Arrays = {}
        gradients = {f"{i}": d.to(self.dtype).reshape(*d.shape[:2], -1) for i, d in at_parameters.items()}
        for i, k, group, way in self.active:
            name = f"{i}.{k}"
            a = self._inflow(group, inflows.pop(name))
            if way == "gradient":
                gradients[name] = _gradient(a, self._cotangent(group, at_sites), group)
                continue
            arrays[f"{name}.a"] = a
            if way != "top":
                arrays[f"{name}.g"] = self._cotangent(group, at_sites)
        if self.joined:
            parts = [gradients.pop(name) for name in self.joined]
            arrays["joined"] = parts[0] if len(parts) == 1 else torch.cat(parts, 2)
        return arrays | gradients

    def _inflow(self, group: Group, parts: list[Tensor]) -> Tensor:
        if group.product.lookup:
            return torch.cat(parts, 1)
        scaled = [_times(part.to(self.dtype), use.scale) for part, use in zip(parts, group.uses, strict=True)]
        return scaled[0] if len(scaled) == 1 else torch.cat(scaled, 2)

    def _cotangent(self, group: Group, at_sites: dict[Value, Tensor]) -> Tensor:
        parts = [_arrange(use, at_sites[use.y]).to(self.dtype) for use in group.uses]
        if group.product.lookup:  # its a has no room for a scale
            parts = [_times(part, use.scale) for part, use in zip(parts, group.uses, strict=True)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 3)


class _Run:
    """One forward pass for one example: the outputs, what the top layer reads (a list of none or one), and each
    product's inflow at each of its uses. `seed` is then the cotangent of what the top layer reads, (O, …), the same
    for each example.
    """

    def __init__(self, factors: Factors, parameters: Sequence[Tensor]) -> None:
        self.factors, self.parameters = factors, parameters
        self.seed: Tensor | None = None

    def __call__(self, x: Tensor, taps: Sequence[Tensor]) -> tuple[Tensor, list[Tensor], dict[str, list[Any]]]:
        f = self.factors
        self.taps = dict(zip(f.sites, taps[: len(f.sites)], strict=True))
        self.hidden: list[Tensor] = []
        self.inflows: dict[str, list[Any]] = {f"{i}.{k}": [None] * len(group.uses) for i, k, group, _ in f.active}
        tapped = list(self.parameters)
        for i, tap in zip(f.direct, taps[len(f.sites) :], strict=True):
            tapped[i] = tapped[i] + tap
        return evaluate(f.analysis.program, tapped, x, self._step), self.hidden, self.inflows

    def _step(self, step: Step, read: Read) -> tuple[Any, ...]:
        f = self.factors
        if f.last is not None and step is f.last.uses[0].step:
            outputs = self._top(f.last, read)
        else:
            outputs = (differentiated_once(step, read),) if is_function_of_numbers(step) else step(read)
        for name, n, use in f.uses.get(step, ()):
            self.inflows[name][n] = use.inflow(outputs[0] if use.activation is None else read(use.activation))
        tap = self.taps.get(step.outputs[0])
        return outputs if tap is None else (outputs[0] + tap, *outputs[1:])

    def _top(self, group: Group, read: Read) -> tuple[Any, ...]:
        """The top layer, cut from what it reads: that cotangent is the layer's weight, and no product is needed for
        it."""
        assert group.top is not None
        (use,) = group.uses
        position = use.step.args.index(use.activation)
        hidden, weight = read(use.step.args[position]), read(use.step.args[1 - position])
        self.hidden.append(hidden)
        self.seed = (weight.mT[:, None] if position == 0 else weight[..., None]) * group.top
        return use.step(lambda operand: hidden.detach() if operand is use.activation else read(operand))


def _cotangents(
    out: Tensor, hidden: Sequence[Tensor], seed: Tensor | None, taps: Sequence[Tensor], batched: bool
) -> Sequence[Tensor]:
    """For each tap (O, N, …): its gradient for each output of each example."""
    n, n_outputs = out.shape
    each = torch.eye(n_outputs, dtype=out.dtype, device=out.device)[:, None].expand(n_outputs, n, n_outputs)
    ends = [(out, each)] + [(h, seed[:, None].expand(n_outputs, *h.shape)) for h in hidden if seed is not None]
    ends = [end for end in ends if end[0].requires_grad]
    if not taps or not ends:
        return [tap.new_zeros(n_outputs, *tap.shape) for tap in taps]
    starts, cotangents = zip(*ends, strict=True)
    if batched:  # zeros made by PyTorch itself would lack the outputs' axis
        rows = torch.autograd.grad(starts, taps, cotangents, is_grads_batched=True, allow_unused=True)
        return [
            tap.new_zeros(n_outputs, *tap.shape) if row is None else row for tap, row in zip(taps, rows, strict=True)
        ]
    rows = [
        torch.autograd.grad(starts, taps, row, retain_graph=True, allow_unused=True, materialize_grads=True)
        for row in zip(*cotangents, strict=True)
    ]
    return [torch.stack(column) for column in zip(*rows, strict=True)]


def _in_place(ends: Sequence[Tensor]) -> bool:
    """Whether something was written in place behind these values. A batching rule may do so where the program does
    not, and the backward pass of that (`CopySlices`), made for several outputs at once, gives wrong numbers (seen:
    PyTorch 2.13, select_scatter).
    """
    nodes = [end.grad_fn for end in ends if end.grad_fn is not None]
    seen = set(nodes)
    while nodes:
        node = nodes.pop()
        if node.name().rpartition("::")[2] in ("CopySlices", "AsStridedBackward0"):
            return True
        following = {after for after, _ in node.next_functions if after is not None} - seen
        seen |= following
        nodes.extend(following)
    return False


def _arrange(use: Use, cotangent: Tensor) -> Tensor:
    """(O, N, …) to (O, N, S, T, J)."""
    S, T, _, J = use.sizes
    if S == T == 1 and use.covers_y:
        return cotangent.reshape(*cotangent.shape[:2], 1, 1, J)
    return vmap(vmap(use.arrange))(cotangent)


def _times(array: Tensor, scale: float) -> Tensor:
    return array if scale == 1.0 else array * scale


def carried_inputs(group: Group, like: Tensor) -> Tensor:
    """(B, T): the values of the inputs that stand for the B carried biases."""
    repeats = [use.sizes[1] for use in group.uses]
    rows = [
        [value for value, times in zip(values, repeats, strict=True) for _ in range(times)]
        for _, values in group.carried
    ]
    return torch.tensor(rows, dtype=like.dtype, device=like.device)


def _is_last_layer(group: Group) -> bool:
    """Whether each output is one row of a matrix times one vector."""
    (use,) = group.uses
    return use.step.name == "mm" and use.sizes[:2] == (1, 1) and use.step.inputs[0] is not use.step.inputs[1]


def _gradient_size(group: Group) -> int:
    return group.product.size + len(group.carried) * group.product.shared * group.product.outputs


def _constant_inflow(group: Group) -> float | None:
    """The number that flows in everywhere, of a bias; None where it is not one number."""
    scales = {use.scale for use in group.uses}
    return scales.pop() if len(scales) == 1 and all(use.activation is None for use in group.uses) else None


def _gradient(a: Tensor, g: Tensor, group: Group) -> Tensor:
    """(O, N, S·(I + B)·J): Σ_t a[s,t,i] g[o,s,t,j], for the carried biases as well."""
    values = carried_inputs(group, a)
    if a.shape[2] == 1:
        if group.carried:
            a = torch.cat([a, values.T.expand(*a.shape[:2], -1, -1)], 3)
        return (a.mT * g).flatten(2)
    (n_outputs, n, S, _, J), I = g.shape, a.shape[3]
    if I == J == 1:  # a scale: products of one row and one column each
        rows = [a, *(row[:, None] for row in values)]
        ones = [False, *(set(times) == {1.0} for _, times in group.carried)]
        shares = [g.sum(3) if one else (g * row).sum(3) for row, one in zip(rows, ones, strict=True)]
        return torch.cat(shares, 3).flatten(2)
    if number := _constant_inflow(group):
        return _times(g.sum(3), number).flatten(2)
    gradient = g.new_empty(n_outputs, n * S, I + len(values), J)
    for each, cotangent in zip(gradient, g, strict=True):  # one output at a time: a is not copied for each of them
        torch.bmm(a.flatten(0, 1).mT, cotangent.flatten(0, 1), out=each[:, :I])
    if group.carried:
        gradient[:, :, I:] = (g.mT @ values.T).mT.flatten(1, 2)
    return gradient.view(n_outputs, n, -1)
