"""The engine: trace, analyse, plan, then one compiled function of the parameters and the examples."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from impls.frameworks.jax.support import Batched, flat_outputs
from impls.frameworks.jax.xla import compiled
from impls.programs.jax.trace import trace
from impls.structured import planner
from impls.structured.analysis import analyse
from impls.structured.batches import Reread
from impls.structured.jax.blocks import Contraction, Kernels, is_one_program, write
from impls.structured.jax.contract import SUM
from impls.structured.jax.factors import SAME, Factors
from impls.structured.jax.forward import Tangents, has_forward_mode
from impls.structured.jax.rules import BOOK
from impls.structured.panels import Panels, fill
from impls.structured.passes import Arrays


class Engine:
    """The kernel of ``f(params, x)`` for parameters and examples of given shapes.

    `params`: any pytree of floating-point arrays; of x1 and x2 only shape and dtype are read. `batch_size`: as many
    examples pass through the network at once, at most. `memory_limit`: bytes beyond the kernel itself, or None.
    `device`: where the arrays will be, which the plan is made for. `apart`: the kernel of each parameter by itself, for
    `components`. `plain`: for `pure`.
    """

    def __init__(self, f: Batched, params: Any, x1: Any, x2: Any | None, *, outputs: planner.Outputs,
                 batch_size: int | None = None, memory_limit: int | None = None, device: planner.Device = "cpu",
                 apart: bool = False, plain: bool = False) -> None:
        leaves, self.structure = jax.tree.flatten(params)
        self.dtype = jnp.result_type(*leaves)
        self.example_dtype = x1.dtype
        if x2 is not None and x2.dtype != x1.dtype:
            self.example_dtype = jnp.promote_types(x1.dtype, x2.dtype)
        program = trace(lambda some, x: flat_outputs(f(self.structure.unflatten(some), x[None]), 1)[0], leaves,
                        jax.ShapeDtypeStruct(x1.shape[1:], self.example_dtype))
        self.apart = apart
        self.names = [jax.tree_util.keystr(path, simple=True, separator=".")
                      for path, _ in jax.tree_util.tree_leaves_with_path(params)]
        self.analysis = analyse(program, self.names, BOOK, carry=not apart)
        task = planner.Task(n1=x1.shape[0], n2=None if x2 is None else x2.shape[0], n_outputs=program.n_outputs,
                            outputs=outputs, itemsize=self.dtype.itemsize, example_bytes=program.example_bytes,
                            batch_size=batch_size, memory_limit=memory_limit, device=device)
        self.plan = planner.plan(task, self.analysis.parameters, forward=has_forward_mode(program))
        self.factors = (Tangents(program, self.plan, self.dtype, join=not apart) if self.plan.forward else
                        Factors(self.analysis, self.plan, self.dtype, join=not apart, plain=plain))
        convolves = any(step.name == "conv_general_dilated" for step in program.steps)
        contraction = Contraction([self.factors.terms], self.plan, self.dtype, apart)
        # The passes of a ResNet take less time and memory in turn, those of a transformer 8 % more time (two threads).
        self._passing = compiled(self._passes, in_turn=convolves, older_loops=convolves)
        self.contraction = compiled(contraction, in_turn=True)
        self._contraction_of_both = compiled(lambda both: contraction(*self._parts(both)), in_turn=True)
        # With several blocks XLA is told to order the program for the least memory, which is then 12 MiB and not 21.
        # With one block it would put off the contraction and hold 49 and not 29. (Seen: ten hidden layers of 1024, 64
        # examples, 10 outputs, x2 = x1 and x2 ≠ x1; jaxlib 0.10.2.)
        self.in_turn = self.plan.block1 < task.n1
        self._one_program = None
        if not apart and is_one_program(self.plan):
            self._one_program = compiled(self.in_one_program, in_turn=self.in_turn, older_loops=convolves)

    def __call__(self, params: Any, x1: Any, x2: Any | None) -> jax.Array:
        """The kernel, laid out as the request's outputs say; of arrays, or of batches that are read anew."""
        return self._sum(self._kernels(params, x1, x2))

    def components(self, params: Any, x1: Any, x2: Any | None) -> dict[str, jax.Array]:
        """The kernel of each parameter by its name: its place in the pytree, as in ``layers.0.weight``."""
        found = self._kernels(params, x1, x2)
        return {name: found[i] if i in found else self._zeros() for i, name in enumerate(self.names)}

    def _kernels(self, params: Any, x1: Any, x2: Any | None) -> Kernels:
        leaves, plan = jax.tree.leaves(params), self.plan
        if not self.factors.terms:
            return {}
        if isinstance(x1, Reread) or plan.panel1 < len(x1) or (x2 is not None and plan.panel2 < len(x2)):
            return self._filled(leaves, Panels(x1, plan.panel1), None if x2 is None else Panels(x2, plan.panel2))
        if self._one_program is not None:
            return self._one_program(leaves, x1, x2, True)
        if plan.together:
            return self._contraction_of_both(self.passes(leaves, x1, x2))
        factors1 = self.passes(leaves, x1)
        return self.contraction(factors1, None if x2 is None else self.passes(leaves, x2))

    def _filled(self, leaves: list[Any], rows: Panels, columns: Panels | None) -> Kernels:
        """Panel by panel. The loop is Python's: inside one of XLA's own, its CPU backend runs convolutions seven times
        slower (seen: jaxlib 0.10.2)."""
        keys = [SUM]
        if self.apart:
            keys = [i for i, parameter in enumerate(self.analysis.parameters) if parameter.used]
        kernels = {key: jax.lax.empty(self.shape(), self.dtype) for key in keys}

        def written(i: slice, j: slice, left: Arrays, right: Arrays | None) -> None:
            nonlocal kernels
            mirrored = columns is None and right is not None
            kernels = _write(kernels, self.contraction(left, right), i.start, j.start, mirrored=mirrored)
            jax.block_until_ready(kernels)  # else later panels are begun, and hold memory, before this one is done

        fill(rows, columns, self.plan.kept_panels, partial(self.passes, leaves), written)
        return kernels

    def _sum(self, kernels: Kernels) -> jax.Array:
        return kernels[SUM] if kernels else self._zeros()

    def passes(self, leaves: list[Any], *some: Any) -> Arrays:
        """What `contraction` needs of some examples: one batch, or several laid end to end."""
        return self._passing(leaves, some, True)

    def _passes(self, leaves: list[Any], some: Sequence[Any], true: Any) -> Arrays:
        x = jnp.concatenate([each.astype(self.example_dtype) for each in some])
        arrays = jax.vmap(lambda example: self.factors(leaves, example, true))(x)
        # The backward pass has its cotangents as matrices of N·O rows: in any other shape XLA computes them once more.
        flat = {name: a.reshape(-1, *a.shape[2:]) if name.endswith(".g") else a for name, a in arrays.items()}
        return flat | self.factors.of_all(leaves)

    def pure(self, params: Any, x1: Any, x2: Any | None) -> jax.Array:
        """The kernel by JAX's own operations, to be compiled, mapped and differentiated with what is around it."""
        if not self.factors.terms:
            return self._zeros()
        return self._sum(self.in_one_program(jax.tree.leaves(params), x1, x2, true=True))

    def in_one_program(self, leaves: list[Any], x1: Any, x2: Any | None, true: Any) -> Kernels:
        """Passes and contraction: a cotangent is contracted when the backward pass has come to it, and then let go."""
        contraction = Contraction([[term] for term in reversed(self.factors.terms)], self.plan, self.dtype, self.apart)
        if self.plan.together:
            return contraction(*self._parts(self._passes(leaves, (x1, x2), true)))
        factors1 = self._passes(leaves, (x1,), true)
        return contraction(factors1, None if x2 is None else self._passes(leaves, (x2,), true))

    def _parts(self, both: Arrays) -> tuple[Arrays, Arrays]:
        """What `passes` would give of x1 and of x2, from what it gives of both."""
        n1, n_outputs = self.plan.task.n1, self.plan.task.n_outputs
        rows = {name: n1 * n_outputs if name.endswith(".g") else n1 for name in both if not name.endswith(SAME)}
        return ({name: a[:rows[name]] if name in rows else a for name, a in both.items()},
                {name: a[rows[name]:] if name in rows else a for name, a in both.items()})

    def shape(self, n1: int | None = None, n2: int | None = None) -> tuple[int, ...]:
        """Of the kernel, or of a part of it."""
        task = self.plan.task
        outputs = {"full": (task.n_outputs,) * 2, "diagonal": (task.n_outputs,), "trace": ()}[task.outputs]
        return (n1 or task.n1, n2 or task.n2 or task.n1, *outputs)

    def _zeros(self) -> jax.Array:
        return jnp.zeros(self.shape(), self.dtype)


@partial(compiled, donate_argnums=0, static_argnames="mirrored")
def _write(kernels: Kernels, block: Kernels, i: Any, j: Any, *, mirrored: bool) -> Kernels:
    return {key: write(kernels[key], values, i, j, mirrored=mirrored) for key, values in block.items()}
