"""`structured_torch`: the structured engine of this project for any PyTorch module or function; see `impls.structured`.

Cost for a fully connected network, as structured derivatives (Novak et al. 2022, arXiv 2206.08720, table 1), N²LO²W +
N·L·O·W², but half of the first where x2 = x1, and never a parameter by itself. Convention: the harness's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from impls.frameworks.torch.support import Forward, Params
from impls.methods.options import STRUCTURED, check_options, limited
from impls.networks.torch_case import functional, unsupported_function
from impls.protocol import Framework, Kind
from impls.structured.batches import Reread
from impls.structured.explain import explain
from impls.structured.torch.engine import Engine, Examples
from reference import Case, Request


@dataclass(frozen=True)
class Structured:
    """Options: `memory_limit` (bytes beyond the kernel itself; None: no limit), `explain` (print the plan). A limit
    that no plan keeps is gone beyond by as little as can be; `planner.check_limit` tells."""

    name: str = "structured_torch"
    framework: Framework = "torch"
    kind: Kind = "exact"

    def unsupported(self, case: Case, request: Request) -> str | None:
        return unsupported_function(case)

    def prepare(self, case: Case, request: Request) -> Callable[[], Tensor]:
        f, params, x1, x2 = functional(case, request)
        engine = self.engine(f, params, x1, x2, request)
        return lambda: engine(params, x1, x2)

    def kernel(self, f: Forward, params: Params, x1: Tensor, x2: Tensor | None, request: Request) -> Tensor:
        """The kernel of a batched ``f(params, x)`` at `params`, in their dtype; see `Request` for its shape."""
        return self.engine(f, params, x1, x2, request, once=True)(params, x1, x2)

    def components(
        self, f: Forward, params: Params, x1: Tensor, x2: Tensor | None, request: Request
    ) -> dict[str, Tensor]:
        """The kernel of each parameter by its name; they add up to `kernel`. Zeros for one that f does not use."""
        engine = self.engine(f, params, x1, x2, request, components=True, once=True)
        return engine.components(params, x1, x2)

    def kernel_of_batches(
        self, f: Forward, params: Params, batches1: Iterable[Any], batches2: Iterable[Any] | None, request: Request
    ) -> Tensor:
        """`kernel` of examples that come in batches, and are never all in memory unless `memory_limit` has room.

        `batches1` and `batches2` are iterated over several times, and must yield the same each time: tensors, or pairs
        (x, y) of which x is taken; `batches2` None means x2 = x1. The limit is 1 GiB unless another is given. Raises
        `InputError` for batches that change, or can be read once only.
        """
        request = limited(request)
        like = next(iter(params.values()))
        x1, x2 = _reread(batches1, like), None if batches2 is None else _reread(batches2, like)
        return self.engine(f, params, x1, x2, request, once=True)(params, x1, x2)

    def engine(
        self,
        f: Forward,
        params: Params,
        x1: Examples,
        x2: Examples | None,
        request: Request,
        *,
        components: bool = False,
        once: bool = False,
    ) -> Engine:
        """What `kernel` runs; to be kept by those who need kernels of one network at many parameters: calls after the
        first take less time. On a GPU the second call in a row with parameters at the same places is captured as a CUDA
        graph, which later ones replay and which holds the memory of a call; not with `memory_limit`, nor with kernels
        of more than 64 MiB or by the plan 4 GiB beside them.
        """
        options = check_options(self.name, request, STRUCTURED)
        engine = Engine(
            f,
            params,
            x1,
            x2,
            outputs=request.outputs,
            batch_size=request.batch_size,
            memory_limit=options["memory_limit"],
            components=components,
            once=once,
        )
        if options["explain"]:
            engine.try_out(params, x1)
            print(explain(engine.plan))
        return engine


def _reread(batches: Iterable[Any], like: Tensor) -> Reread[Tensor]:
    """In the dtype of `like` (integers as they are) and on its device."""
    return Reread(batches, "a tensor", lambda x: x.detach() if isinstance(x, Tensor) else None,
                  lambda x: x.cpu().numpy(),
                  lambda x: x.to(like.device, like.dtype if x.is_floating_point() else None), torch.cat)


METHODS = (Structured(),)
