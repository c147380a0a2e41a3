"""The engine: trace, analyse, plan; then passes through the network and contractions, as the plan says."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from impls.frameworks.torch.blocks import summed
from impls.frameworks.torch.support import Forward, Params, one_example, precision
from impls.programs import traces
from impls.programs.torch.program import Untraceable
from impls.programs.torch.replay import Replayed
from impls.programs.torch.trace import trace
from impls.structured import planner
from impls.structured.analysis import Analysis, analyse
from impls.structured.batches import Reread
from impls.structured.panels import Panels, fill
from impls.structured.passes import Arrays
from impls.structured.terms import Term
from impls.structured.torch.contract import Contraction, mirrored
from impls.structured.torch.direct import looped_gradients
from impls.structured.torch.factors import Factors, of_examples
from impls.structured.torch.forward import Tangents
from impls.structured.torch.graphs import Graphed, worth_a_graph
from impls.structured.torch.rules import BOOK
from impls.structured.torch.separable import pairs_of
from impls.structured.torch.sizes import SIZES

Examples = Tensor | Reread[Tensor]


class Engine:
    """The kernel of the batched ``f(params, x)`` for examples of given shapes.

    `memory_limit`: bytes beyond the kernel itself, None for no limit. A function that cannot be written down as a
    list of operations is differentiated example by example; the plan then says why. `components`: the kernels of the
    parameters are kept apart. `once`: it is made for one call. `planned_for`: another device than the parameters'.
    """

    def __init__(self, f: Forward, params: Params, x1: Examples, x2: Examples | None, *, outputs: planner.Outputs,
                 batch_size: int | None = None, memory_limit: int | None = None, components: bool = False,
                 once: bool = False, planned_for: planner.Device | None = None) -> None:
        params, x1 = {name: p.resolve_neg() for name, p in params.items()}, _signed(x1)
        self.f, self.names, self.once, self.replayed = f, tuple(params), once, True
        self.device = next(iter(params.values())).device
        self.dtype = reduce(torch.promote_types, (p.dtype for p in params.values()))
        with precision(self.dtype):
            example = _first(x1)[0]
            key = tuple((name, *_like(p)) for name, p in params.items()), _like(example), components
            self.parameters, self.analysis, n_outputs, example_bytes = traces.once(
                f, key, lambda: _known(f, params, example, components=components))
        task = planner.Task(n1=len(x1), n2=None if x2 is None else len(x2), n_outputs=n_outputs, outputs=outputs,
                            itemsize=self.dtype.itemsize, example_bytes=example_bytes, batch_size=batch_size,
                            memory_limit=memory_limit,
                            device=planned_for or ("cpu" if self.device.type == "cpu" else "cuda"))
        self.tried = self.analysis is None
        self._prepare(planner.plan(task, self.parameters, forward=not self.tried), components=components)

    def _prepare(self, plan: planner.Plan, *, components: bool) -> None:
        self.plan, self.panel = plan, _panel(plan)
        self.factors: Factors | Tangents | None = None
        if self.analysis is not None:
            self.factors = (Tangents(self.analysis.program, plan, self.dtype, join=not components) if plan.forward else
                            Factors(self.analysis, plan, self.dtype, self.device, join=not components))
        terms = self.factors.terms if self.factors else [Term(n, "gradient", i) for i, n in enumerate(self.names)]
        summands = _by_parameter(terms, self.names) if components else {"": terms}
        task, pairs = plan.task, None
        if task.outputs == "full" and any("separable" in step.ways for step in plan.steps):
            pairs = pairs_of(task.n_outputs, self.device)
        self.contractions = {name: Contraction(some, plan, SIZES[task.device], pairs)
                             for name, some in summands.items()}
        self.graphed, factors, contract = None, self.factors, self.contractions
        if self.replayed:
            factors = factors and Replayed(factors, factors.constants, once=self.once)
            contract = {name: Replayed(each, each.constants, once=self.once) for name, each in contract.items()}
            if factors is not None and not self.once and worth_a_graph(plan, len(contract)):
                self.graphed = Graphed([factors, *contract.values()])
        self.passes: Callable[..., Arrays] | None = factors
        self.contract: Mapping[str, Callable[..., Any]] = contract

    def plain(self) -> Engine:
        """The same, whose operations PyTorch finds at each call: where they take long themselves, writing them down and
        compiling them takes longer than many calls save."""
        other = copy.copy(self)
        other.replayed = False
        other._prepare(self.plan, components=tuple(self.contractions) != ("",))
        return other

    def __call__(self, params: Params, x1: Examples, x2: Examples | None) -> Float[Tensor, "N1 N2 ..."]:
        """The kernel, of the shape that the outputs asked for say; a view of memory in which an output's examples lie
        together."""
        return summed(self.components(params, x1, x2).values())

    def try_out(self, params: Params, x: Examples) -> None:
        """Give the plan up where the written-down program does not run on a batch, or not in forward mode: PyTorch does
        not have such rules for everything. `__call__` does so after a failure."""
        components = tuple(self.contractions) != ("",)
        try:
            with torch.no_grad(), precision(self.dtype):
                self.panel_of(params, _first(x))
        except RuntimeError as error:
            if self.plan.forward:
                self._prepare(planner.plan(self.plan.task, self.parameters), components=components)
                self.try_out(params, x)
                return
            reason = f"it cannot be batched ({type(error).__name__}: {str(error).splitlines()[0]})"
            self.analysis = None
            self._prepare(planner.plan(self.plan.task, _fallbacks(params, reason)), components=components)
        self.tried = True

    def components(self, params: Params, x1: Examples, x2: Examples | None) -> dict[str, Tensor]:
        """The kernel of each parameter by its name, of an engine made with `components`; else the sum, under ""."""
        params, x1, x2 = {name: p.resolve_neg() for name, p in params.items()}, _signed(x1), _signed(x2)
        with torch.no_grad(), precision(self.dtype):
            try:
                kernels = self._graphed_kernels(params, x1, x2)
            except RuntimeError:
                if self.tried:
                    raise
                self.try_out(params, x1)
                kernels = self._kernels(params, x1, x2)
        axes = {"full": (1, 3, 0, 2), "diagonal": (1, 2, 0), "trace": (0, 1)}[self.plan.task.outputs]
        return {name: kernel.permute(axes) for name, kernel in kernels.items()}

    def _graphed_kernels(self, params: Params, x1: Examples, x2: Examples | None) -> dict[str, Tensor]:
        """`_kernels`, replayed as a graph where there is one."""
        if self.graphed is None or not isinstance(x1, Tensor) or not isinstance(x2, Tensor | None):
            return self._kernels(params, x1, x2)
        return self.graphed(self._kernels, params, x1, x2)

    def _kernels(self, params: Params, x1: Examples, x2: Examples | None) -> dict[str, Tensor]:
        n1, n2 = len(x1), len(x1 if x2 is None else x2)
        kernels = {name: torch.empty(contraction.shape(n1, n2), dtype=self.dtype, device=self.device)
                   for name, contraction in self.contractions.items()}
        if x2 is not None and self.factors is not None and self.plan.together and self.panel >= max(n1, n2):
            both = self.panel_of(params, torch.cat([*_all(x1), *_all(x2)]))
            left, right = of_examples(both, slice(0, n1)), of_examples(both, slice(n1, None))
            self.write(kernels, slice(0, n1), slice(0, n2), left, right, mirror=False)
            return kernels
        kept = max(1, self.plan.kept_panels * self.plan.panel1 // self.panel)
        fill(Panels(x1, self.panel), None if x2 is None else Panels(x2, self.panel), kept,
             partial(self.panel_of, params), partial(self.write, kernels, mirror=x2 is None))
        return kernels

    def write(self, kernels: dict[str, Tensor], i: slice, j: slice, left: Arrays, right: Arrays | None, *,
              mirror: bool) -> None:
        """The block of two panels (`right` None: of one), made in a kernel's own memory where it is all of it."""
        outputs = self.plan.task.outputs
        for name, kernel in kernels.items():
            shape = self.contractions[name].shape(i.stop - i.start, j.stop - j.start)
            block = kernel if shape == tuple(kernel.shape) else kernel.new_empty(shape)
            self.contract[name](left, left if right is None else right, block, symmetric=right is None)
            if block is not kernel:
                _place(kernel, i, j, outputs).copy_(block)
            if mirror and right is not None:
                _place(kernel, j, i, outputs).copy_(mirrored(block, outputs))

    def panel_of(self, params: Params, x: Tensor) -> Arrays:
        if self.passes is None:
            return looped_gradients(self.f, params, x)
        return self.passes([params[name].detach() for name in self.names], x)


AnyExamples = TypeVar("AnyExamples", Examples, Examples | None)


def _signed(x: AnyExamples) -> AnyExamples:
    """With the sign in the numbers: operations on a tensor that is to be read with the other one, as a view of an
    imaginary part is, are no operations on its memory."""
    return x.resolve_neg() if isinstance(x, Tensor) else x


def _first(x: Examples) -> Tensor:
    """A batch of one."""
    return x.first() if isinstance(x, Reread) else x[:1]


def _all(x: Examples) -> list[Tensor]:
    return [*x] if isinstance(x, Reread) else [x]


def _by_parameter(terms: Sequence[Term], names: Sequence[str]) -> dict[str, list[Term]]:
    return {name: [term for term in terms if term.owner == i] for i, name in enumerate(names)}


def _panel(plan: planner.Plan) -> int:
    """Examples of a panel, so that the block of two panels fits as well: itself, its input Grams, its products. Without
    a limit those of `Sizes.panels_kernel_bytes`, where the kernel is large."""
    task, panel = plan.task, max(plan.panel1, plan.panel2)
    if task.memory_limit is None:
        sizes = SIZES[task.device]
        if task.kernel_bytes <= sizes.whole_kernel_bytes:
            return panel
        return max(1, min(panel, int((sizes.panels_kernel_bytes / task.entries / task.itemsize) ** 0.5)))
    numbers = task.memory_limit / 4 / task.itemsize
    held = task.entries + 2 * task.n_outputs + (task.weights if any("separable" in s.ways for s in plan.steps) else 0)
    return max(1, min(panel, int((numbers / held) ** 0.5)))


def _place(kernel: Tensor, i: slice, j: slice, outputs: planner.Outputs) -> Tensor:
    return kernel[:, i, :, j] if outputs == "full" else kernel[..., i, j]


def _like(t: Tensor) -> tuple[object, ...]:
    return tuple(t.shape), t.dtype, t.device, t.requires_grad


def _known(
    f: Forward, params: Params, example: Tensor, *, components: bool
) -> tuple[Sequence[planner.Parameter], Analysis | None, int, int]:
    """The parameters, the analysis behind them (None where f cannot be written down), O, and bytes for one example's
    passes."""
    try:
        program = trace(f, params, example)
    except Untraceable as error:
        leaves = {name: p.detach().requires_grad_() for name, p in params.items()}  # for f that differentiates itself
        n_outputs = one_example(f)(leaves, example).numel()
        return _fallbacks(params, str(error)), None, n_outputs, 0
    analysis = analyse(program, tuple(params), BOOK, carry=not components)
    return analysis.parameters, analysis, program.n_outputs, program.example_bytes


def _fallbacks(params: Params, reason: str) -> list[planner.Parameter]:
    return [planner.Parameter(name, p.numel(), rule=f"fallback: {reason}") for name, p in params.items()]
