"""The common shape of PyTorch's methods that work on any batched function of its parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from impls.frameworks.torch.operations import operations
from impls.frameworks.torch.support import Forward, Params
from impls.methods.known_wrong import has_entries, known_wrong
from impls.methods.options import check_options
from impls.networks.torch_case import functional, unsupported_function
from impls.networks.torch_native import unsupported_forward_mode
from reference import Case, Request

KernelFunction = Callable[[Forward, Params, Tensor, Tensor | None, Request], Tensor]
ComponentsFunction = Callable[[Forward, Params, Tensor, Tensor | None, Request], dict[str, Tensor]]


@dataclass(frozen=True)
class FunctionalMethod:
    """A method that works on any batched function of its parameters: `compute` does."""

    name: str
    compute: KernelFunction
    compute_components: ComponentsFunction | None = None
    """Where the kernel of each parameter comes with that of all of them; else they are computed one after the other."""
    forward_mode: bool = False
    """Whether it needs forward-mode derivatives, which PyTorch does not have of every operation."""
    framework: Literal["torch"] = "torch"
    kind: Literal["exact"] = "exact"

    def unsupported(self, case: Case, request: Request) -> str | None:
        return unsupported_function(case) or (unsupported_forward_mode(case) if self.forward_mode else None)

    def prepare(self, case: Case, request: Request) -> Callable[[], Tensor]:
        check_options(self.name, request, {})
        f, params, x1, x2 = functional(case, request)
        self._refuse_known_wrong(f, params, x1)
        return lambda: self.compute(f, params, x1, x2, request)

    def kernel(self, f: Forward, params: Params, x1: Tensor, x2: Tensor | None, request: Request) -> Tensor:
        """The kernel of f, in the dtype of `params` and on their device; x2=None means x2 = x1."""
        check_options(self.name, request, {})
        self._refuse_known_wrong(f, params, x1)
        return self.compute(f, params, x1, x2, request)

    def components(
        self, f: Forward, params: Params, x1: Tensor, x2: Tensor | None, request: Request
    ) -> dict[str, Tensor]:
        """The kernel of each parameter by its name; they sum to `kernel`."""
        check_options(self.name, request, {})
        self._refuse_known_wrong(f, params, x1)
        if self.compute_components is not None:
            return self.compute_components(f, params, x1, x2, request)
        return {name: self.compute(_with_others_frozen(f, params, name), {name: p}, x1, x2, request)
                for name, p in params.items()}  # fmt: skip

    def _refuse_known_wrong(self, f: Forward, params: Params, x: Tensor) -> None:
        """Raise `NotImplementedError` where it would compute a wrong kernel of f without a word."""
        if not has_entries(self.name):
            return
        if (reason := known_wrong(self.name, operations(f, params, x).names)) is not None:
            raise NotImplementedError(f"{self.name} is known to be wrong for this network: {reason}")


def _with_others_frozen(f: Forward, params: Params, name: str) -> Forward:
    """f as a function of the parameter of that name alone."""
    others = {other: p.detach() for other, p in params.items() if other != name}
    return lambda some, x: f({**others, **some}, x)
