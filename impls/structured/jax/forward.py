"""The Jacobian in forward mode: one pass for each number of the parameters, where these are fewer than the outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from impls.frameworks.jax.support import jaxprs_in
from impls.programs.jax.program import Program
from impls.structured import passes
from impls.structured.passes import Arrays
from impls.structured.planner import TANGENTS


class Tangents(passes.Tangents):
    """For one example."""

    def __call__(self, parameters: Sequence[Any], x: Any, true: Any) -> Arrays:
        return self.named(parameters, x, jnp.concatenate)

    def of_all(self, parameters: Sequence[Any]) -> Arrays:
        return {}

    def jacobian(self, parameters: Sequence[Any], i: int, x: Any) -> Any:
        p, outputs = parameters[i], self.outputs(parameters, i, x)
        basis = jnp.eye(p.size, dtype=p.dtype).reshape(-1, *p.shape)
        rows = jax.lax.map(lambda tangent: jax.jvp(outputs, (p,), (tangent,))[1], basis, batch_size=TANGENTS)
        return rows.T.astype(self.dtype)


def has_forward_mode(program: Program) -> bool:
    """Whether JAX can differentiate it so: of a `jax.custom_vjp` it knows the backward pass alone."""
    return not any(_backward_only(step.name, step.params) for step in program.steps)


def _backward_only(name: str, params: Mapping[str, Any]) -> bool:
    if name.startswith("custom"):
        return name.startswith("custom_vjp")
    return any(_backward_only(eqn.primitive.name, eqn.params) for jaxpr in jaxprs_in(params) for eqn in jaxpr.eqns)
