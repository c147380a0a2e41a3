"""A case as a PyTorch function of its parameters, of JAX or of PyTorch."""

from __future__ import annotations

from impls.frameworks.crossing import ways
from impls.frameworks.torch.support import device, with_derivatives
from impls.networks import foreign
from impls.networks.torch_native import Functional, native, unsupported
from reference import Case, Request


def unsupported_function(case: Case) -> str | None:
    """The same for methods that take any function, which one of JAX can be made into."""
    return ways.obstacle("torch") if foreign.is_foreign(case, "torch") else unsupported(case)


@with_derivatives()
def functional(case: Case, request: Request) -> Functional:
    """`case` as a function of its trainable parameters; raises as `built` does."""
    if foreign.is_foreign(case, "torch"):
        f, params, x1, x2 = foreign.crossed(case, request, "torch")
        where = device(request.device)
        return Functional(f, {name: p.to(where) for name, p in params.items()}, x1.to(where),
                          None if x2 is None else x2.to(where))
    return native(case, request)
