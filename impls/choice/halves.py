"""What the choice asks of a framework: one object with the same few functions, `half(framework)`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from impls.choice.costs import Facts
from impls.choice.rates import Sizes
from impls.given.network import OwnNetwork
from impls.protocol import Framework
from reference import Case, Request
from reference.case import Device, DType, Outputs


class Half(Protocol):
    """The functions of `impls.choice.jax_half` and `impls.choice.torch_half`."""

    def engine(self, method: Any, f: Any, params: Any, x1: Any, x2: Any, request: Request) -> Any:
        """The structured engine for one call. Of batches a stand-in of the shape of all of them is enough."""
        ...

    def stand_in(self, x: Any, n: int) -> Any:
        """Of the shape of n examples like those of `x`; no memory stands behind it."""
        ...

    def facts(self, engine: Any, f: Any, params: Any, x1: Any, request: Request) -> Facts:
        """Of the batched f with examples like those of x1; `engine` was made for it."""
        ...

    def one_call(self, own: OwnNetwork, outputs: Outputs, *, check: bool) -> Mapping[str, float]:
        """Seconds of a whole call but for the checks of the network: of methods that need no trace and of the engine,
        before anything is traced. `check`: whether the kernel is checked. Empty where nothing else comes into question.
        """
        ...

    def functional(self, case: Case, request: Request) -> tuple[Any, Any, Any, Any]:
        """f, params, x1 and x2 of a case."""
        ...

    def workloads(self, device: Device, dtype: DType, sizes: Sizes) -> tuple[Callable[[], Any], ...]:
        """A matrix product, a 3×3 convolution, a sum of long arrays and one of short ones; each call is waited for but
        the last."""
        ...


def half(framework: Framework) -> Half:
    """That of the framework, which is imported. Raises `ValueError` for one that has no structured engine."""
    if framework == "torch":
        from impls.choice import torch_half as found
    elif framework == "jax":
        from impls.choice import jax_half as found
    else:
        raise ValueError(f"nothing is known of the costs of {framework}")
    return found
