"""`torch.nngp`: the covariance of the outputs over initialisations, from modules made anew.

What it computes is the kernel of the network as wide as it is (reference/DEFINITION.md, "nngp"), by the average of S
draws, which is what `impls.nngp` does with a factory of the user's own: each draw is a module of its own, and passes
the examples once. The parameters of the case do not enter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from impls.frameworks.torch.initialisations import average, outputs_of_draws
from impls.frameworks.torch.support import DTYPES, device, precision
from impls.methods.options import sample_options
from impls.networks.torch import fresh
from impls.protocol import Framework, Kind
from reference import Case, Described, Quantity, Request


@dataclass(frozen=True)
class Initialisations:
    """Option: `n_samples` (S, default 1024). The request's seed decides the draws; `batch_size` does not."""

    name: str = "torch.nngp"
    framework: Framework = "torch"
    kind: Kind = "stochastic"
    quantities: tuple[Quantity, ...] = ("nngp",)

    def unsupported(self, case: Case, request: Request) -> str | None:
        if not isinstance(case.network, Described):
            return "of a model of the user's own it needs what makes it anew: impls.nngp(factory, x1)"
        return None

    def prepare(self, case: Case, request: Request) -> Callable[[], Tensor]:
        n_samples = sample_options(self.name, request)
        dtype, where = DTYPES[request.dtype], device(request.device)
        examples = [torch.tensor(x, dtype=dtype if x.dtype.kind == "f" else torch.int64, device=where)
                    for x in (case.x1, case.x2) if x is not None]
        x, make = torch.cat(examples), partial(fresh, case, dtype, where)

        def kernel() -> Tensor:
            with precision(request.dtype):
                drawn = outputs_of_draws(make, x, n_samples, request.seed, request.batch_size)
                return average(drawn, len(case.x1), case.symmetric, request.outputs)

        return kernel


METHODS = (Initialisations(),)
