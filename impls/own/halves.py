"""What `impls.own` asks of a framework: one object with the same few functions, `half(framework)`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

import numpy as np

from impls.given.asked import ALL, Asked
from impls.given.network import OwnNetwork
from impls.given.user_network import UserNetwork
from reference import Request
from reference.case import Outputs


class Half(Protocol):
    """The functions of `impls.own.jax.half` and `impls.own.torch.half`."""

    def apart(self) -> AbstractContextManager[None]:
        """Inside, nothing that the user has switched on around the call changes the numbers. Raises `InputError` where
        there are none, inside of the framework's transforms."""
        ...

    def plain(self, kernel: Any) -> Any:
        """A kernel, or a dict of several, as the framework's own array, where x or the parameters are of a subclass."""
        ...

    def own_network(self, network: UserNetwork, x1: Any, x2: Any, asked: Asked = ALL) -> OwnNetwork:
        """The network as a batched function, and its inputs, checked. Raises `InputError`."""
        ...

    def whole(self, own: OwnNetwork) -> OwnNetwork:
        """With x1 and x2 as one array each, all batches in memory."""
        ...

    def forward(self, own: OwnNetwork, example: Any) -> str | None:
        """Where in the forward pass of one example NaN or infinity first appears."""
        ...

    def backward(self, own: OwnNetwork, example: Any) -> str | None:
        """The parameter nearest to the outputs whose gradient is not finite."""
        ...

    def products(self, own: OwnNetwork, x1: Any, x2: Any, u: np.ndarray, v: np.ndarray,
                 rounded: int | None = None) -> tuple[Mapping[str, float], float]:
        """⟨J_iᵀ u, J_jᵀ v⟩ for each parameter by its name, and the product of the two lengths; summed over the rows of
        u and v. `rounded`: the seed of relative errors of one unit in the last place of the parameters."""
        ...

    def fewer_bits(self, own: OwnNetwork, x: Any) -> bool:
        """Whether the network of float64 computes a part of what is differentiated in fewer bits, for this example."""
        ...

    def ready(self, name: str, own: OwnNetwork, request: Request, allowed: float | None, *,
              components: bool) -> tuple[Any, bool] | None:
        """The kernel by a method of `impls.choice.halves.Half.one_call` that needs no trace, and whether it is known to
        be right to `allowed` relative errors (None: nothing is checked); None where the method itself is to compute."""
        ...

    def across(self) -> Any:
        """Jacobians of blocks of examples and their products: `impls.own.across.Framework`."""
        ...

    def operator(self) -> Any:
        """Products with Jacobians: `impls.own.jax.operator` and `impls.own.torch.operator`."""
        ...

    def kernel_function(self, f: Callable[[Any, Any], Any], outputs: Outputs, method: str
                        ) -> Callable[[Any, Any, Any], Any]:
        """For `ntk_fn`: the kernel of f as a function (params, x1, x2)."""
        ...


def half(framework: str) -> Half:
    """That of the framework of a network, which is imported."""
    if framework == "torch":
        from impls.own.torch import half as found
    else:
        from impls.own.jax import half as found
    return found


def framework_of(network: UserNetwork) -> Literal["jax", "torch"]:
    """An Equinox module is one of JAX's."""
    return "torch" if network.framework == "torch" else "jax"


def own_network(network: UserNetwork, x1: Any, x2: Any, asked: Asked = ALL) -> OwnNetwork:
    """`Half.own_network` of its framework."""
    return half(framework_of(network)).own_network(network, x1, x2, asked)
