"""What stands behind the single signature, and the errors of the registry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, runtime_checkable

from reference import Case, Request

Array = Any
"""A framework's own array: numpy.ndarray, jax.Array or torch.Tensor."""

Framework = Literal["jax", "torch", "numpy"]
Kind = Literal["exact", "stochastic", "limit"]


@runtime_checkable
class Method(Protocol):
    """One way to compute the kernel. Stateless: everything it needs comes with the case and the request.

    A method that cannot do everything also has

        unsupported(case, request) -> str | None

    that says why this cannot be done, or None. It is cheap: nothing is built or computed. Call it through
    `impls.unsupported`, as a method without it claims to support everything.

    It computes the neural tangent kernel, unless it has

        quantities: tuple[Quantity, ...]

    that names the kernels that it computes (reference/DEFINITION.md); of others `impls.unsupported` says so for it.

    Methods that work on any function of their framework also have

        kernel(f, params, x1, x2, request) -> Array

    with a batched ``f(params, x)``; `impls.ntk` and `prepare` both call it. Those of them that give the kernel of each
    parameter as well have

        components(f, params, x1, x2, request) -> dict[str, Array]

    by the parameters' names: PyTorch's own, or the path in the pytree of JAX joined by dots, "layers.0.weight". Those
    that never need all examples at once have

        kernel_of_batches(f, params, batches1, batches2, request) -> Array

    with re-iterable batches in place of x1 and x2.
    """

    @property
    def name(self) -> str: ...

    @property
    def framework(self) -> Framework: ...

    @property
    def kind(self) -> Kind: ...

    def prepare(self, case: Case, request: Request) -> Callable[[], Array]:
        """Build the network, move the data, trace what can be traced; the callable computes the kernel.

        The callable returns the framework's own array, possibly not yet computed: the caller synchronises. It may be
        called any number of times and computes anew each time, from inputs that it holds as arrays with the examples
        on the first axis: the benchmark changes their order where they lie, and the kernel has to follow.
        """
        ...


class RegistryError(Exception):
    """A method that is unknown, missing, or does not keep the protocol; the message says what to do."""


class MethodNotInstalled(RegistryError):
    """The method is known, its package is not there."""
