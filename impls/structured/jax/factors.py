"""One forward and one batched backward pass: what each term of the contraction needs, for one example.

A zero is added to what each product computes (a tap); its cotangent is the product's g. A parameter whose gradient is
taken directly has its tap on itself.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from impls.structured.analysis import Analysis, Group
from impls.structured.jax.once import once
from impls.structured.jax.products import SUMS
from impls.structured.jax.program import Program, Step
from impls.structured.jax.rules import BOOK
from impls.structured.planner import Plan, Way
from impls.structured.program import Operand, Read, Value, evaluate
from impls.structured.tails import Linear
from impls.structured.terms import JOINED, active, terms

Arrays = dict[str, Any]

ELEMENTWISE = SUMS | {"mul", "div"}

PRODUCTS = ("dot_general", "conv_general_dilated")

JOINED_SIZE = 1 << 11
"""Gradients up to this many numbers for each output are laid side by side and contracted in one matrix product."""

WIDE_INFLOW = 128
"""From this I on, the products that make gradients have the positions first on both sides. XLA leaves such products to
Eigen on the CPU, where YNN slows down with many examples (seen: 16 products of (320, 256) and (256, 288), at 95 and 63
GFLOP/s); with fewer I it is the other way round."""

SAME = ".c"
"""Ends the names of what is the same for all examples."""


class Factors:
    """The per-example pass for a plan. `terms` says what the arrays it returns mean.

    `join`: lay small gradients side by side, whosever they are. `plain`: by operations that JAX differentiates and maps
    in every way, without those that only spare XLA some work.
    """

    def __init__(self, analysis: Analysis, plan: Plan, dtype: Any, *, join: bool = True, plain: bool = False) -> None:
        self.analysis, self.dtype = analysis, dtype
        self.ways = [step.ways for step in plan.steps]
        self.direct = [i for i, way in enumerate(self.ways) if way == ("direct",) and i not in analysis.forward]
        self.forward = [i for i, way in enumerate(self.ways) if way == ("direct",) and i in analysis.forward]
        self.active = active(analysis, plan)
        tapped = [group for _, _, group, way in self.active if way not in ("top", "separable")]
        self.sites = list(dict.fromkeys(use.y for group in tapped for use in group.uses))
        self.separable = {f"{i}.{k}": (group, group.tail) for i, k, group, way in self.active
                          if way == "separable" and group.tail is not None}
        self.ends = {tail.end: Linear(analysis.program, tail.end) for _, tail in self.separable.values()}
        self.plain = plain or bool(self.forward)  # `once` and `_repeated` have no forward mode
        self.forks = set() if self.plain else _forks(analysis.program)
        self.parted = self._parted(plan.task.n_outputs)
        self.gradients = self._gradients()
        self.joined = sorted(name for name, (_, size) in self.gradients.items() if join and size <= JOINED_SIZE)
        owners = {name: owner for name, (owner, _) in self.gradients.items()}
        self.terms = terms(analysis, plan, owners, self.joined, BOOK)

    def _parted(self, n_outputs: int) -> set[str]:
        """The products whose inflow is left in parts, because the gradient's parts are less to lay end to end."""
        outputs = {"gradient": n_outputs, "separable": 1}
        return {f"{i}.{k}" for i, k, group, way in self.active
                if way in outputs and not self.analysis.parameters[i].transposed
                and outputs[way] * group.product.outputs < group.product.positions}

    def _gradients(self) -> dict[str, tuple[int, int]]:
        """The gradients that are kept as such: whose they are, and how many numbers for each output."""
        found = {f"{i}": (i, self.analysis.parameters[i].size) for i in (*self.direct, *self.forward)}
        for i, k, group, way in self.active:
            if way == "gradient":
                found[f"{i}.{k}"] = i, group.product.size
                found |= {f"{i}.{k}.{bias}": (bias, self.analysis.parameters[bias].size) for bias, _ in group.carried}
        return found

    def __call__(self, parameters: Sequence[Any], x: Any, true: Any) -> Arrays:
        """For one example: name to array; ``a`` (S, T, I), ``g`` (O, S, T, J), without S = T = 1; gradients (O, …).

        Of a separable g what is not the same for all examples: ``d`` (J,), or with it summed over the positions the
        gradients, ``e`` (S·J, I) and for each carried bias (S·J,). `true`: as in `once`.
        """
        def run(taps: tuple[list[Any], list[Any], dict[str, Any]]) -> Any:
            at_sites = dict(zip(self.sites, taps[0], strict=True))
            at_parameters = dict(zip(self.direct, taps[1], strict=True))
            tapped = [p + at_parameters[i] if i in at_parameters else p for i, p in enumerate(parameters)]
            for name, (group, _) in self.separable.items():
                y = group.uses[0].y
                at_sites[y] = at_sites[y] + taps[2][name] if y in at_sites else taps[2][name]
            out, ends, inflows = self._run(tapped, x, at_sites, true)
            return (out, ends), inflows

        zeros = ([jnp.zeros(y.shape, y.dtype) for y in self.sites],
                 [jnp.zeros(parameters[i].shape, parameters[i].dtype) for i in self.direct],
                 {name: jnp.zeros(group.uses[0].y.shape, group.uses[0].y.dtype)
                  for name, (group, _) in self.separable.items()})
        (out, ends), backward, inflows = jax.vjp(run, zeros, has_aux=True)
        none = [jnp.zeros_like(end) for end in ends]
        (at_sites, at_parameters, _), = jax.vmap(lambda row: backward((row, none)))(jnp.eye(out.size, dtype=out.dtype))
        arrays = self._arrange(inflows, dict(zip(self.sites, at_sites, strict=True)),
                               {**dict(zip(self.direct, at_parameters, strict=True)), **self._forward(parameters, x)})
        for n, value in enumerate(self.ends):  # one by one, for one may lie behind the other
            ones = [jnp.ones_like(end) if m == n else end for m, end in enumerate(none)]
            slopes = backward((jnp.zeros_like(out), ones))[0][2]
            for name, (group, tail) in self.separable.items():
                if tail.end is value:
                    arrays |= self._slopes(name, group, slopes[name], inflows[name])
        return arrays

    def same_for_all(self, parameters: Sequence[Any]) -> Arrays:
        """``c`` (O, S·J) of each separable g."""
        linear = {end: _cotangents(each, parameters) for end, each in self.ends.items()}
        arrays: Arrays = {}
        for name, (group, tail) in self.separable.items():
            (use,), c = group.uses, linear[tail.end]
            if tail.order is not None:
                # NumPy's: JAX takes no 32-bit indices of its own where a caller has 64-bit ones (jax_enable_x64) on
                c = c.reshape(len(c), -1)[:, np.asarray(tail.order, np.int32)]
            c = c.reshape(-1, *use.y.shape)
            arrays[f"{name}{SAME}"] = jax.vmap(use.arrange)(c)[:, :, 0].reshape(len(c), -1).astype(self.dtype)
        return arrays

    def _slopes(self, name: str, group: Group, slope: Any, inflows: list[list[Any]]) -> Arrays:
        d = group.uses[0].arrange(slope).astype(self.dtype)
        parts = [self._inflow(group, list(uses)) for uses in zip(*inflows, strict=True)]
        if group.product.single:
            return {f"{name}.a": _plain(parts[0], group), f"{name}.d": d.reshape(-1)}
        return {f"{name}.e": _gradient(parts, d[None]).reshape(d.shape[0] * d.shape[2], -1),
                **{key: array[0] for key, array in self._carried(name, d[None], group).items()}}

    def _run(self, parameters: Sequence[Any], x: Any, taps: dict[Value, Any],
             true: Any) -> tuple[Any, list[Any], dict[str, list[list[Any]]]]:
        """The outputs, the ends of tails, and each product's inflow at each of its uses, as a list of its parts."""
        ends: dict[Value, Any] = {}
        uses = {use.step: [] for _, _, group, _ in self.active for use in group.uses}
        seen: dict[str, list[list[Any]]] = {}
        for i, k, group, _ in self.active:
            seen[f"{i}.{k}"] = [[] for _ in group.uses]
            for n, use in enumerate(group.uses):
                inflow = use.in_parts if f"{i}.{k}" in self.parted else None
                uses[use.step].append((f"{i}.{k}", n, use, inflow or (lambda h, use=use: [use.inflow(h)])))

        def visit(step: Step, read: Read) -> list[Any]:
            outputs = step(read) if self.plain or step.name not in ELEMENTWISE else _elementwise(step, read)
            for name, n, use, inflow in uses.get(step, ()):
                assert use.activation is not None
                seen[name][n] = inflow(read(use.activation))
            tap = taps.get(step.outputs[0])
            outputs = outputs if tap is None else [outputs[0] + tap]
            outputs = [once(value, true) if output in self.forks else value
                       for output, value in zip(step.outputs, outputs, strict=True)]
            ends.update((value, each) for value, each in zip(step.outputs, outputs, strict=True) if value in self.ends)
            return outputs

        out = evaluate(self.analysis.program, parameters, x, visit)
        return out, [ends[end] for end in self.ends], seen

    def _forward(self, parameters: Sequence[Any], x: Any) -> dict[int, Any]:
        """Gradients that only forward mode reaches."""
        if not self.forward:
            return {}

        def run(some: list[Any]) -> Any:
            replaced = dict(zip(self.forward, some, strict=True))
            return self._run([replaced.get(i, p) for i, p in enumerate(parameters)], x, {}, true=True)[0]

        return dict(zip(self.forward, jax.jacfwd(run)([parameters[i] for i in self.forward]), strict=True))

    def _arrange(self, inflows: dict[str, list[list[Any]]], cotangents: dict[Value, Any],
                 gradients: dict[int, Any]) -> Arrays:
        arrays: Arrays = {}
        flat = {f"{i}": d.astype(self.dtype).reshape(d.shape[0], -1) for i, d in gradients.items()}
        for i, k, group, way in self.active:
            if way == "separable":
                continue
            name = f"{i}.{k}"
            parts = [self._inflow(group, list(uses)) for uses in zip(*inflows[name], strict=True)]
            a, g = parts[0], self._cotangent(group, way, cotangents)
            if way == "gradient":
                flat |= {name: _gradient(parts, g), **self._carried(name, g, group)}
            if way != "gradient" or self.analysis.parameters[i].transposed:
                arrays |= {f"{name}.a": _plain(a, group)} | ({} if g is None else {f"{name}.g": _plain(g, group)})
        if self.joined:
            arrays[JOINED] = jnp.concatenate([flat.pop(name) for name in self.joined], 1)
        return arrays | flat

    def _inflow(self, group: Group, parts: list[Any]) -> Any:
        if group.product.lookup:
            return jnp.concatenate(parts)
        scaled = [_times(part.astype(self.dtype), use.view.scale) for part, use in zip(parts, group.uses, strict=True)]
        return scaled[0] if len(scaled) == 1 else jnp.concatenate(scaled, 1)

    def _carried(self, name: str, g: Any, group: Group) -> Arrays:
        """(O, S·J) for each carried bias: Σ_t v[t] g[o,s,t,j], with v the inputs that stand for it."""
        found: Arrays = {}
        for (bias, _), v in zip(group.carried, group.carried_inputs, strict=True):
            if (v == v[0]).all() and not self.plain:
                d = float(v[0]) * _sums(g.reshape(-1, *g.shape[2:]))
            else:
                d = jnp.sum(g * jnp.asarray(v[:, None], g.dtype), 2)
            found[f"{name}.{bias}"] = d.reshape(g.shape[0], -1)
        return found

    def _cotangent(self, group: Group, way: Way, cotangents: dict[Value, Any]) -> Any:
        if way == "top":
            return None
        parts = [jax.vmap(use.arrange)(cotangents[use.y]).astype(self.dtype) for use in group.uses]
        if group.product.lookup:  # its a has no room for a scale
            parts = [_times(part, use.view.scale) for part, use in zip(parts, group.uses, strict=True)]
        return parts[0] if len(parts) == 1 else jnp.concatenate(parts, 2)


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


def _plain(array: Any, group: Group) -> Any:
    """Without the axes S and T where they are 1: XLA lays such axes out in odd ways, and then copies."""
    product = group.product
    if array.ndim < 3 or product.shared > 1 or product.positions > 1:
        return array
    return array.reshape(*array.shape[:-3], -1)


def _times(array: Any, scale: float) -> Any:
    return array if scale == 1.0 else array * scale


def _gradient(parts: list[Any], g: Any) -> Any:
    """(O, S·J·I): Σ_t a[s,t,i] g[o,s,t,j], with a in parts."""
    d = jnp.concatenate([_product(a, g) for a in parts], 3)
    return d.reshape(d.shape[0], -1)


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
