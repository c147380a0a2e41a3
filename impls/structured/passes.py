"""What the passes of a plan have to make, for either engine: one forward and one batched backward pass.

A zero is added to what each product computes (a tap); its cotangent is the product's g. A parameter whose gradient is
taken directly has its tap on itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from impls.programs.program import Program, Read, Step, Value, evaluate
from impls.structured.analysis import Analysis
from impls.structured.planner import Plan, Way
from impls.structured.rules import RuleBook
from impls.structured.tails import Linear, Tail
from impls.structured.terms import JOINED, Term, active, terms
from impls.structured.uses import Use

Arrays = dict[str, Any]


class Passes(ABC):
    """The passes for a plan, which a half makes. `terms` says what the arrays that come of them mean.

    By the names of products: ``a`` (…, S, T, I) or row numbers (…, T), ``g`` (O, …, S, T, J). Of a separable g: ``c``
    (O, S·J), the same for all examples, and either ``d`` (…, J) or with it summed over the positions the gradients up
    to c, ``e`` (…, S·J, I + B), with those of the B carried biases. Gradients (O, …, P) have no such ending; those of
    carried biases are ``carried``. The dots are for examples, where a half makes the passes of several at once.

    `join`: lay small gradients side by side, whosever they are; `placed`: numbers where the half reads them.
    """

    JOINED_SIZE: ClassVar[int]
    """Gradients up to this many numbers for each output are laid side by side and contracted in one matrix product."""

    def __init__(self, analysis: Analysis, plan: Plan, dtype: Any, book: RuleBook, *, join: bool,
                 placed: Callable[[np.ndarray], Any]) -> None:
        self.analysis, self.program, self.dtype = analysis, analysis.program, dtype
        self.direct = [i for i, step in enumerate(plan.steps) if step.ways == ("direct",)]
        self.active = active(analysis, plan)
        self.uses: dict[Any, list[tuple[str, int, Use]]] = defaultdict(list)
        for name, (_, group, _) in self.active.items():
            for n, use in enumerate(group.uses):
                self.uses[use.step].append((name, n, use))
        self.sites, self.separable = self._sites("gram", "half", "gradient"), self._sites("separable")
        self.tails: dict[str, Tail] = {name: each.group.tail for name, each in self.active.items()
                                       if each.way == "separable" and each.group.tail is not None}
        self.ends = {tail.end: Linear(self.program, tail.end) for tail in self.tails.values()}
        self.orders = {name: placed(tail.order) for name, tail in self.tails.items() if tail.order is not None}
        gradients = self._gradients()
        self.joined = [name for name, (_, size) in gradients.items() if join and size <= self.JOINED_SIZE]
        owners = {name: owner for name, (owner, _) in gradients.items()}
        self.terms = terms(analysis, plan, owners, self.joined, book, placed)

    def _sites(self, *ways: Way) -> list[Value]:
        """Where the cotangents are taken that products of these ways need."""
        return list(dict.fromkeys(use.y for _, group, way in self.active.values() if way in ways for use in group.uses))

    def _gradients(self) -> dict[str, tuple[int, int]]:
        """The gradients that are kept as such: whose they are, and how many numbers for each output."""
        found = {f"{i}": (i, self.analysis.parameters[i].size) for i in self.direct}
        for name, (i, group, way) in self.active.items():
            if way == "gradient":
                found[name] = i, group.product.size
                if group.carried:
                    found[f"{name}.carried"] = i, len(group.carried) * group.product.shared * group.product.outputs
        return found

    def keeps(self, name: str) -> bool:
        """Whether the contraction reads a and g of this product."""
        i, _, way = self.active[name]
        return way not in ("gradient", "separable") or self.analysis.parameters[i].transposed

    def inflow(self, name: str, parts: Sequence[Any]) -> Any:
        """``a`` of all uses."""
        group = self.active[name].group
        if group.product.lookup:
            return self.laid(parts, -1)
        return self.laid([scaled(self.cast(a), use.scale) for a, use in zip(parts, group.uses, strict=True)], -2)

    def cotangent(self, name: str, at_sites: Mapping[Value, Any]) -> Any:
        """``g`` of all uses."""
        group = self.active[name].group
        parts = [self.cast(self.arranged(use, at_sites[use.y])) for use in group.uses]
        if group.product.lookup:  # its a has no room for a scale
            parts = [scaled(part, use.scale) for part, use in zip(parts, group.uses, strict=True)]
        return self.laid(parts, -2)

    def of_outputs(self, gradients: Arrays, inflows: Mapping[str, Any], at_sites: Mapping[Value, Any]) -> Arrays:
        """What depends on the outputs. `gradients`: of the parameters whose gradient is taken directly."""
        arrays: Arrays = {}
        for name, (_, _, way) in self.active.items():
            if way == "gradient":
                gradients = gradients | self.gradient(name, inflows[name], at_sites)
            if way != "top" and self.keeps(name):
                arrays[f"{name}.g"] = self.cotangent(name, at_sites)
        if self.joined:
            arrays[JOINED] = self.laid([gradients.pop(name) for name in self.joined], -1)
        return arrays | gradients

    def same_for_all(self, cotangents: Mapping[Value, Any]) -> Arrays:
        """``c`` of each separable g, from the cotangents (O, …) of the ends of tails."""
        arrays: Arrays = {}
        for name, tail in self.tails.items():
            (use,), c = self.active[name].group.uses, cotangents[tail.end]
            if name in self.orders:
                c = c.reshape(len(c), -1)[:, self.orders[name]]
            c = self.mapped(use.arrange)(c.reshape(-1, *use.y.shape))
            arrays[f"{name}.c"] = self.cast(c[:, :, 0].reshape(len(c), -1))
        return arrays

    @abstractmethod
    def cast(self, array: Any) -> Any:
        """In the dtype of the kernel."""

    @abstractmethod
    def laid(self, arrays: Sequence[Any], axis: int) -> Any:
        """End to end along the axis."""

    @abstractmethod
    def mapped(self, f: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """f of each entry along the first axis."""

    @abstractmethod
    def arranged(self, use: Use, cotangent: Any) -> Any:
        """(O, …) of y to (O, …, S, T, J)."""

    @abstractmethod
    def gradient(self, name: str, inflow: Any, at_sites: Mapping[Value, Any]) -> Arrays:
        """Of a product, with ``carried`` of the biases."""


class Tangents(ABC):
    """As `Passes`, for a plan in forward mode: the Jacobian of each parameter, or of all side by side (`join`)."""

    def __init__(self, program: Program[Any], plan: Plan, dtype: Any, *, join: bool = True) -> None:
        self.program, self.dtype, self.join = program, dtype, join
        self.used = [i for i, step in enumerate(plan.steps) if step.ways]
        self.terms = [Term(JOINED, "gradient")] if join else [Term(f"{i}", "gradient", i) for i in self.used]

    def named(self, parameters: Sequence[Any], x: Any, laid: Callable[[list[Any], int], Any]) -> Arrays:
        """(O, …, P) by name; `laid`: arrays end to end along an axis."""
        each = {f"{i}": self.jacobian(parameters, i, x) for i in self.used}
        return {JOINED: laid([*each.values()], -1)} if self.join else each

    def outputs(self, parameters: Sequence[Any], i: int, x: Any) -> Callable[[Any], Any]:
        """For one example, as a function of parameter i."""
        return lambda p: evaluate(self.program, [*parameters[:i], p, *parameters[i + 1:]], x,
                                  lambda step, read: step(read))

    @abstractmethod
    def jacobian(self, parameters: Sequence[Any], i: int, x: Any) -> Any:
        """Of one parameter: one pass for each of its numbers."""


class Met:
    """What a forward pass for one example meets. It adds the taps; `inflow`: what is kept of an activation."""

    def __init__(self, passes: Passes, taps: Sequence[Any], inflow: Callable[[str, Use, Any], Any]) -> None:
        """`taps`: of the sites, and then of the separable ones."""
        self.passes, self.inflow = passes, inflow
        self.taps: dict[Value, Any] = {}
        for y, tap in zip([*passes.sites, *passes.separable], taps, strict=True):
            self.taps[y] = self.taps[y] + tap if y in self.taps else tap
        self.inflows: dict[str, list[Any]] = {name: [None] * len(each.group.uses)
                                              for name, each in passes.active.items()}
        self.ends: dict[Value, Any] = {}

    def __call__(self, step: Step, read: Read, outputs: Sequence[Any]) -> Sequence[Any]:
        """The step's results as the next steps read them."""
        for name, n, use in self.passes.uses.get(step, ()):
            h = outputs[0] if use.activation is None else read(use.activation)
            self.inflows[name][n] = self.inflow(name, use, h)
        if (tap := self.taps.get(step.outputs[0])) is not None:
            outputs = [outputs[0] + tap, *outputs[1:]]
        self.ends |= {value: each for value, each in zip(step.outputs, outputs, strict=True)
                      if value in self.passes.ends}
        return outputs


def scaled(array: Any, scale: float) -> Any:
    """Times the number, where it is another than 1."""
    return array if scale == 1.0 else array * scale
