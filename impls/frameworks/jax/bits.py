"""Whether a function of float64 computes a part in fewer bits, as softmax and norms of transformers often do."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax.extend.core import Jaxpr, Var

from impls.frameworks.jax.support import jaxprs_in


def keeps_fewer_bits(jaxpr: Jaxpr) -> bool:
    """Whether an operation makes float32 or less of a float64 that comes from the jaxpr's inputs."""
    from_inputs: set[Any] = set(jaxpr.invars)
    for eqn in jaxpr.eqns:
        reads = [v for v in eqn.invars if isinstance(v, Var) and v in from_inputs]
        if not reads:
            continue
        from_inputs.update(eqn.outvars)
        if any(_is_float(v, 64) for v in reads) and any(_is_float(v, None) for v in eqn.outvars):
            return True
        if any(keeps_fewer_bits(inner) for inner in jaxprs_in(eqn.params)):
            return True
    return False


def _is_float(var: Any, bits: int | None) -> bool:
    dtype = getattr(var.aval, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        return False
    return dtype == jnp.float64 if bits else dtype != jnp.float64
