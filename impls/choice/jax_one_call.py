"""What one call of `ntk` takes in JAX, before anything is traced for the engine: XLA compiles longer than it computes.

The backward pass of one example, which the engine's check of itself needs as well, is compiled for few runs and timed:
a loop of it makes a kernel of a few examples in less time than the engine takes to compile. The seconds are those after
the checks of the network. The constants are fitted by eye to networks of `tests.models` (one thread); what came of it
is in docs/one_call.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from impls.frameworks.arrays import on_host
from impls.frameworks.jax.kept import is_kept
from impls.frameworks.jax.pulls import pulls
from impls.frameworks.jax.support import precision
from impls.given.network import OwnNetwork
from impls.structured.jax.engine import Engine
from reference.case import Outputs

ENGINE, LOOP = "structured_jax", "jax.vjp"

COMPILED = 7.0
"""Seconds of tracing, planning and compiling the engine over those of compiling the backward pass of one example
without optimisation."""

TOGETHER = 0.3
"""What is compiled well and for all examples and cotangents at once takes this share of what it takes one by one."""

BYTE_S = 1e-9
"""For each byte of Jacobians: they are copied together and multiplied."""


@dataclass(frozen=True)
class Outline:
    """Of a network with its examples. `compiled_s`: of the backward pass of one example; `pulled_s`: of its run, from
    all outputs; `spent_s`: of the loop in earlier calls."""

    examples: int
    jacobian_bytes: int
    compiled_s: float
    pulled_s: float
    spent_s: float = 0.0


def seconds(outline: Outline) -> dict[str, float]:
    """Of the whole call but for the checks of the network, by method. What the loop took before counts
    again: who calls so often that the engine would have been compiled in that time gets it now."""
    looped = outline.examples * (outline.pulled_s + BYTE_S * outline.jacobian_bytes)
    compiled = COMPILED * outline.compiled_s
    return {ENGINE: outline.compiled_s + compiled + TOGETHER * looped,
            LOOP: outline.compiled_s + looped + outline.spent_s}


def predicted(own: OwnNetwork, outputs: Outputs = "full", *, check: bool = True) -> Mapping[str, float]:
    """Seconds of the loop and of the engine. Nothing where the engine is compiled for these shapes already; raises what
    JAX does for a network without reverse mode."""
    if is_kept(Engine, own.f, own.params, own.x1, own.x2, outputs=outputs, batch_size=None, memory_limit=None,
               device=own.device, apart=False):
        return {}
    with precision(own.dtype):
        program = pulls(own.f, own.params, own.x1[:1], own.n_outputs)
        pulled_s = program.seconds(own.params, on_host(own.x1)[:1])
    n2 = 0 if own.x2 is None else len(own.x2)
    return seconds(Outline(len(own.x1) + n2, own.jacobian_bytes, program.compiled_s, pulled_s, program.spent_s))
