"""`structured_jax`: the structured engine of this project for any JAX function; see `impls.structured`.

Cost for a fully connected network, as structured derivatives (Novak et al. 2022, arXiv 2206.08720, table 1), N²LO²W +
N·L·O·W², but half of the first where x2 = x1, and never a parameter by itself. Convention: the harness's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from impls.frameworks.jax.kept import kept
from impls.frameworks.jax.support import Batched, place, precision
from impls.methods.options import STRUCTURED, check_options, limited
from impls.networks.jax_case import functional, unsupported_network
from impls.protocol import Framework, Kind
from impls.structured.batches import Reread
from impls.structured.explain import explain
from impls.structured.jax.engine import Engine
from reference import Case, Request


@dataclass(frozen=True)
class Structured:
    """Options: `memory_limit` (bytes beyond the kernel itself; None: no limit), `explain` (print the plan). A limit
    that no plan keeps is gone beyond by as little as can be; `planner.check_limit` tells."""

    name: str = "structured_jax"
    framework: Framework = "jax"
    kind: Kind = "exact"

    def unsupported(self, case: Case, request: Request) -> str | None:
        return unsupported_network(case)

    def prepare(self, case: Case, request: Request) -> Callable[[], jax.Array]:
        f, params, x1, x2 = functional(case, request)
        return partial(_run, self.engine(f, params, x1, x2, request), params, x1, x2, request)

    def kernel(self, f: Batched, params: Any, x1: jax.Array, x2: jax.Array | None, request: Request) -> jax.Array:
        """The kernel of a batched ``f(params, x)`` at `params`, in their dtype; see `Request` for its shape.

        Traced and compiled once for each f and each shape of its arguments.
        """
        return _run(self.engine(f, params, x1, x2, request), params, x1, x2, request)

    def components(self, f: Batched, params: Any, x1: jax.Array, x2: jax.Array | None,
                   request: Request) -> dict[str, jax.Array]:
        """The kernel of each parameter by its name; they add up to `kernel`. Zeros for one that f does not use.

        The name is its place in the pytree, as in ``layers.0.weight``.
        """
        engine = self.engine(f, params, x1, x2, request, apart=True)
        with precision(request.dtype):
            return engine.components(params, x1, x2)

    def kernel_of_batches(self, f: Batched, params: Any, batches1: Iterable[Any], batches2: Iterable[Any] | None,
                          request: Request) -> jax.Array:
        """`kernel` of examples that come in batches, of which no more are in memory than `memory_limit` has room for.

        `batches1` and `batches2` are iterated over several times, and must yield the same each time: arrays, or pairs
        (x, y) of which x is taken; `batches2` None means x2 = x1. The limit is 1 GiB unless another is given. Raises
        `InputError` for batches that change, or can be read once only.
        """
        request = limited(request)
        with precision(request.dtype):
            rows = _reread(batches1, params, request)
            columns = None if batches2 is None else _reread(batches2, params, request)
            engine = self.engine(f, params, _all(rows), None if columns is None else _all(columns), request)
            return engine(params, rows, columns)

    def engine(self, f: Batched, params: Any, x1: Any, x2: Any | None, request: Request, *,
               apart: bool = False) -> Engine:
        """What `kernel` runs; to be kept by those who need kernels of one network at many parameters."""
        options = check_options(self.name, request, STRUCTURED)
        with precision(request.dtype):
            engine = kept(Engine, f, params, x1, x2, outputs=request.outputs, batch_size=request.batch_size,
                          memory_limit=options["memory_limit"], device=request.device, apart=apart)
        if options["explain"]:
            print(explain(engine.plan))
        return engine


def _run(engine: Engine, params: Any, x1: jax.Array, x2: jax.Array | None, request: Request) -> jax.Array:
    with precision(request.dtype):
        return engine(params, x1, x2)


def _reread(batches: Iterable[Any], params: Any, request: Request) -> Reread[jax.Array]:
    """In the request's dtype (integers as they are) and on the parameters' device."""
    return Reread(batches, "an array", lambda x: np.asarray(x) if hasattr(x, "__array__") else None, np.asarray,
                  lambda x: place(x, request, params), jnp.concatenate)


def _all(batches: Reread[jax.Array]) -> jax.ShapeDtypeStruct:
    """Shape and dtype of all examples together."""
    example = batches.first()
    return jax.ShapeDtypeStruct((len(batches), *example.shape[1:]), example.dtype)


METHODS = (Structured(),)
