"""The Jacobian in forward mode: one pass for each number of the parameters, where these are fewer than the outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import jax
import jax.numpy as jnp

from impls.frameworks.jax.support import jaxprs_in
from impls.structured.jax.program import Program
from impls.structured.passes import Arrays
from impls.structured.planner import TANGENTS, Plan
from impls.structured.program import evaluate
from impls.structured.terms import JOINED, forward_terms


class Tangents:
    """As `factors.Factors`, for a plan in forward mode. `join`: all parameters side by side."""

    def __init__(self, program: Program, plan: Plan, dtype: Any, *, join: bool = True) -> None:
        self.program, self.dtype, self.join = program, dtype, join
        self.used = [i for i, step in enumerate(plan.steps) if step.ways]
        self.sizes = [plan.steps[i].parameter.size for i in self.used]
        self.terms = forward_terms(plan, joined=join)

    def __call__(self, parameters: Sequence[Any], x: Any, true: Any) -> Arrays:
        """For one example: (O, P) of all parameters or of each."""
        jacobian = self._jacobian(parameters, x).astype(self.dtype)
        if self.join:
            return {JOINED: jacobian}
        parts = jnp.split(jacobian, list(accumulate(self.sizes))[:-1], 1)
        return {f"{i}": part for i, part in zip(self.used, parts, strict=True)}

    def of_all(self, parameters: Sequence[Any]) -> Arrays:
        return {}

    def _jacobian(self, parameters: Sequence[Any], x: Any) -> Any:
        some = [parameters[i] for i in self.used]

        def outputs(some: list[Any]) -> Any:
            replaced = dict(zip(self.used, some, strict=True))
            every = [replaced.get(i, p) for i, p in enumerate(parameters)]
            return evaluate(self.program, every, x, lambda step, read: step(read))

        def pushed(place: Any) -> Any:
            return jax.jvp(outputs, (some,), (self._direction(some, place),))[1]

        return jax.lax.map(pushed, jnp.arange(sum(self.sizes)), batch_size=TANGENTS).T

    def _direction(self, some: list[Any], place: Any) -> list[Any]:
        """1 at one number of all the parameters, laid end to end."""
        starts = accumulate(self.sizes, initial=0)
        return [(start + jnp.arange(p.size) == place).astype(p.dtype).reshape(p.shape)
                for start, p in zip(starts, some, strict=False)]


def has_forward_mode(program: Program) -> bool:
    """Whether JAX can differentiate it so: of a `jax.custom_vjp` it knows the backward pass alone."""
    return not any(_backward_only(step.name, step.params) for step in program.steps)


def _backward_only(name: str, params: Mapping[str, Any]) -> bool:
    if name.startswith("custom"):
        return name.startswith("custom_vjp")
    return any(_backward_only(eqn.primitive.name, eqn.params) for jaxpr in jaxprs_in(params) for eqn in jaxpr.eqns)
