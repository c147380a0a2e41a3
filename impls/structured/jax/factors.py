"""One forward and one batched backward pass: what each term of the contraction needs, for one example."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from impls.programs.jax.program import Program, Step
from impls.programs.program import Operand, Read, Value, evaluate
from impls.structured.analysis import Analysis, Group
from impls.structured.jax.once import once
from impls.structured.jax.products import SUMS
from impls.structured.jax.rules import BOOK
from impls.structured.passes import Arrays, Met, Passes
from impls.structured.planner import Plan
from impls.structured.tails import Linear
from impls.structured.uses import Use

ELEMENTWISE = SUMS | {"mul", "div"}

PRODUCTS = ("dot_general", "conv_general_dilated")

WIDE_INFLOW = 128
"""From this I on, the products that make gradients have the positions first on both sides. XLA leaves such products to
Eigen on the CPU, where YNN slows down with many examples (seen: 16 products of (320, 256) and (256, 288), at 95 and 63
GFLOP/s); with fewer I it is the other way round."""

SAME = ".c"
"""Ends the names of what is the same for all examples."""


class Factors(Passes):
    """The passes for one example. `plain`: by operations that JAX differentiates and maps in every way, without those
    that only spare XLA some work.
    """

    JOINED_SIZE = 1 << 11

    def __init__(self, analysis: Analysis, plan: Plan, dtype: Any, *, join: bool = True, plain: bool = False) -> None:
        # NumPy's: JAX takes no 32-bit indices of its own where a caller has 64-bit ones (jax_enable_x64) on
        super().__init__(analysis, plan, dtype, BOOK, join=join, placed=lambda order: np.asarray(order, np.int32))
        self.forward = [i for i in self.direct if i in analysis.forward]
        self.tapped = [i for i in self.direct if i not in analysis.forward]
        self.plain = plain or bool(self.forward)  # `once` and `_repeated` have no forward mode
        self.forks = set() if self.plain else _forks(analysis.program)
        self.parted = self._parted(plan.task.n_outputs)

    def _parted(self, n_outputs: int) -> set[str]:
        """The products whose inflow is left in parts, because the gradient's parts are less to lay end to end."""
        outputs = {"gradient": n_outputs, "separable": 1}
        return {name for name, (_, group, way) in self.active.items() if way in outputs and not self.keeps(name)
                and outputs[way] * group.product.outputs < group.product.positions}

    def __call__(self, parameters: Sequence[Any], x: Any, true: Any) -> Arrays:
        """For one example: name to array; ``a`` and ``g`` without S = T = 1. `true`: as in `once`."""
        def run(taps: list[Any], at_parameters: list[Any]) -> Any:
            met, added = Met(self, taps, self._kept), dict(zip(self.tapped, at_parameters, strict=True))
            tapped = [p + added[i] if i in added else p for i, p in enumerate(parameters)]
            out = evaluate(self.program, tapped, x, lambda step, read: self._step(step, read, met, true))
            return (out, [met.ends[end] for end in self.ends]), met.inflows

        zeros = [jnp.zeros(y.shape, y.dtype) for y in (*self.sites, *self.separable)]
        at = [jnp.zeros(parameters[i].shape, parameters[i].dtype) for i in self.tapped]
        (out, ends), backward, inflows = jax.vjp(run, zeros, at, has_aux=True)
        none = [jnp.zeros_like(end) for end in ends]
        taps, at = jax.vmap(lambda row: backward((row, none)))(jnp.eye(out.size, dtype=out.dtype))
        gradients = {**dict(zip(self.tapped, at, strict=True)), **self._forward(parameters, x)}
        direct = {f"{i}": self.cast(d).reshape(d.shape[0], -1) for i, d in gradients.items()}
        parts = {name: [self.inflow(name, each) for each in zip(*some, strict=True)] for name, some in inflows.items()}
        arrays = self.of_outputs(direct, parts, dict(zip(self.sites, taps, strict=False)))
        arrays |= {f"{name}.a": some[0] for name, some in parts.items() if self.keeps(name)}
        for n, value in enumerate(self.ends):  # one by one, for one may lie behind the other
            ones = [jnp.ones_like(end) if m == n else end for m, end in enumerate(none)]
            slopes = backward((jnp.zeros_like(out), ones))[0][len(self.sites):]
            at_sites = {y: slope[None] for y, slope in zip(self.separable, slopes, strict=True)}
            for name in (name for name, tail in self.tails.items() if tail.end is value):
                arrays |= self._slopes(name, at_sites, parts[name])
        return {name: self._plain(name, array) for name, array in arrays.items()}

    def of_all(self, parameters: Sequence[Any]) -> Arrays:
        """What is the same for all examples."""
        return self.same_for_all({end: _cotangents(each, parameters) for end, each in self.ends.items()})

    def _slopes(self, name: str, at_sites: dict[Value, Any], parts: list[Any]) -> Arrays:
        group, g = self.active[name].group, self.cotangent(name, at_sites)
        if group.product.single:
            return {f"{name}.a": parts[0], f"{name}.d": g.reshape(-1)}
        e = jnp.concatenate([*(_product(a, g) for a in parts), *self._carried(group, g)], 3)
        return {f"{name}.e": e.reshape(-1, e.shape[3])}

    def _kept(self, name: str, use: Use, h: Any) -> list[Any]:
        return use.in_parts(h) if use.in_parts is not None and name in self.parted else [use.inflow(h)]

    def _step(self, step: Step, read: Read, met: Met, true: Any) -> list[Any]:
        outputs = step(read) if self.plain or step.name not in ELEMENTWISE else _elementwise(step, read)
        return [once(value, true) if output in self.forks else value
                for output, value in zip(step.outputs, met(step, read, outputs), strict=True)]

    def _forward(self, parameters: Sequence[Any], x: Any) -> dict[int, Any]:
        """Gradients that only forward mode reaches."""
        if not self.forward:
            return {}

        def run(some: list[Any]) -> Any:
            replaced = dict(zip(self.forward, some, strict=True))
            every = [replaced.get(i, p) for i, p in enumerate(parameters)]
            return evaluate(self.program, every, x, lambda step, read: step(read))

        return dict(zip(self.forward, jax.jacfwd(run)([parameters[i] for i in self.forward]), strict=True))

    def cast(self, array: Any) -> Any:
        return array.astype(self.dtype)

    def laid(self, arrays: Sequence[Any], axis: int) -> Any:
        return arrays[0] if len(arrays) == 1 else jnp.concatenate(arrays, axis)

    def mapped(self, f: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return jax.vmap(f)

    def arranged(self, use: Use, cotangent: Any) -> Any:
        return jax.vmap(use.arrange)(cotangent)

    def gradient(self, name: str, inflow: list[Any], at_sites: Mapping[Value, Any]) -> Arrays:
        """Of an inflow in parts: (O, S·J·I), and (O, S·J·B)."""
        group, g = self.active[name].group, self.cotangent(name, at_sites)
        found = {name: jnp.concatenate([_product(a, g) for a in inflow], 3).reshape(len(g), -1)}
        if group.carried:
            found[f"{name}.carried"] = jnp.concatenate(self._carried(group, g), 3).reshape(len(g), -1)
        return found

    def _carried(self, group: Group, g: Any) -> list[Any]:
        """(O, S, J, 1) for each carried bias: Σ_t v[t] g[o,s,t,j], with v the inputs that stand for it."""
        found: list[Any] = []
        for v in group.carried_inputs:
            if (v == v[0]).all() and not self.plain:
                d = float(v[0]) * _sums(g.reshape(-1, *g.shape[2:]))
            else:
                d = jnp.sum(g * jnp.asarray(v[:, None], g.dtype), 2)
            found.append(d.reshape(*g.shape[:2], -1, 1))
        return found

    def _plain(self, name: str, array: Any) -> Any:
        """Without the axes S and T where they are 1: XLA lays such axes out in odd ways, and then copies."""
        product = name.removesuffix(".a").removesuffix(".g")
        if product == name or array.ndim < 3 or self.active[product].group.product.positions > 1:
            return array
        return array if self.active[product].group.product.shared > 1 else array.reshape(*array.shape[:-3], -1)


def _forks(program: Program) -> set[Value]:
    """Values that several steps other than products read: where skip connections begin, and what is normalised.

    Their cotangents are sums, of which nothing but `once` keeps XLA from computing all anew for the next sum.
    """
    readers = Counter(operand for step in program.steps if step.name not in PRODUCTS for operand in step.inputs)
    return {value for step in program.steps for value in step.outputs
            if readers[value] > 1 and value.parameters and value.on_example
            and jnp.issubdtype(value.dtype, np.floating)}


def _elementwise(step: Step, read: Read) -> list[Any]:
    """The step's outputs, with `_sums` behind the gradients of biases and scales."""
    shape = step.outputs[0].shape

    def wide(operand: Operand) -> Any:
        is_narrow = operand.only_parameters and 1 < math.prod(operand.shape) < math.prod(shape)
        return _wide(read(operand), shape) if is_narrow else read(operand)

    return step(wide)


def _wide(v: Any, shape: tuple[int, ...]) -> Any:
    """v broadcast to `shape`, which has as many axes."""
    same = [axis for axis in range(len(shape)) if v.shape[axis] == shape[axis]]
    new = [axis for axis in range(len(shape)) if axis not in same]
    wide: Any = _repeated(v.reshape(-1), math.prod(shape[axis] for axis in new))
    wide = wide.reshape([shape[axis] for axis in new + same])
    return wide.transpose([(new + same).index(axis) for axis in range(len(shape))])


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _repeated(v: Any, n: int) -> Any:
    """(n, J): n times the same (J,)."""
    return jnp.broadcast_to(v, (n, v.size))


_repeated.defvjp(lambda v, n: (_repeated(v, n), None), lambda n, _, g: (_sums(g[None])[0],))


@jax.custom_batching.custom_vmap
def _sums(g: Any) -> Any:
    """(B, T, J) to (B, J): sums over the positions, as one batched product with ones.

    XLA's CPU backend makes of a sum a loop over g for each of its entries, with all that g is computed from inside, in
    whatever order that lies in memory: a quarter of the passes of a ResNet (seen: jaxlib 0.10.2). Before a product g is
    computed once. Under `vmap` all batches become one axis, for any other form is transposed first.
    """
    return jax.lax.platform_dependent(
        g, cpu=lambda g: jnp.einsum("bt,btj->bj", jnp.ones(g.shape[:2], g.dtype), g), default=lambda g: jnp.sum(g, 1))


@_sums.def_vmap
def _(size: int, batched: Any, g: Any) -> Any:
    sums: Any = _sums(g.reshape(-1, *g.shape[2:]))
    return sums.reshape(size, -1, g.shape[-1]), True


def _product(a: Any, g: Any) -> Any:
    """(O, S, J, I): Σ_t a[s,t,i] g[o,s,t,j]."""
    if a.shape[-1] < WIDE_INFLOW:
        return jnp.einsum("sti,ostj->osji", a, g)
    O, S, T, J = g.shape
    d = jax.lax.dot_general(g.transpose(1, 2, 0, 3).reshape(S, T, O * J), a, (((1,), (1,)), ((0,), (0,))))
    return d.reshape(S, O, J, -1).swapaxes(0, 1)


def _cotangents(linear: Linear, parameters: Sequence[Any]) -> Any:
    """Of the end of a tail, the same for all examples: (O, …)."""
    def zeros(value: Any) -> Any:
        return jnp.zeros(value.shape, value.dtype)

    outputs, backward = jax.vjp(lambda end: linear(parameters, end, zeros), zeros(linear.end))
    return jax.vmap(backward)(jnp.eye(outputs.size, dtype=outputs.dtype))[0]
