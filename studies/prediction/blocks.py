"""The kernels between training and test examples, by any method of `impls`, or as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from impls import load, ntk, ntk_operator
from impls.frameworks.arrays import to_numpy
from reference import InputError

KernelOutputs = Literal["full", "independent"]


@dataclass(frozen=True, eq=False)
class Kernels:
    """K(train, train), K(test, train) and K(test, test), of one network and one set of projections.

    Each an array of NumPy, JAX or PyTorch: (N1, N2, O, O); (N1, N2, O) of outputs that do not mix; or (N1, N2), the
    kernel that each output has, where all have the same. The first two may be operators
    (`scipy.sparse.linalg.LinearOperator`) of N·O rows, example and then output, or of N.
    """

    train: Any
    test_train: Any = None
    test: Any = None


def checked(given: Any, what: str = "kernels") -> Kernels:
    """`given`, where it is `Kernels`; `InputError` for an array, which does not say between which examples it is."""
    if not isinstance(given, Kernels):
        raise InputError(f"{what} must be Kernels(train, test_train, test), got {type(given).__name__}")
    return given


def kernels(model: Any, x_train: Any, x_test: Any = None, *, outputs: KernelOutputs = "full", method: str = "auto",
            with_test: bool = False, **arguments: Any) -> Kernels:
    """Those of a network as `impls.ntk` takes it; `method` and `arguments` (`params`, `seed`, `proj_dim`, …) go there.

    `outputs`: "full", which predicts the linearised network, or "independent", the kernel of each output by itself,
    which leaves out what one output's error moves in another. With `with_test`, K(test, test) as well. A method with
    random projections gives all of them in one call, from the same projections.

    Raises `InputError` for other outputs: the trace adds the kernels of O outputs, and is that of none.
    """
    if outputs not in ("full", "independent"):
        raise InputError(f"outputs={outputs!r} is not one of full, independent; for a kernel that all outputs share "
                         "see shared()")
    arguments = {**arguments, "method": method, "outputs": "full" if outputs == "full" else "diagonal"}
    if method != "auto" and load(method).kind == "stochastic" and x_test is not None:
        return _from_one_call(model, x_train, x_test, with_test=with_test, arguments=arguments)
    train = to_numpy(ntk(model, x_train, **arguments))
    if x_test is None:
        return Kernels(train)
    return Kernels(train, to_numpy(ntk(model, x_test, x_train, **arguments)),
                   to_numpy(ntk(model, x_test, **arguments)) if with_test else None)


def kernel_products(model: Any, x_train: Any, x_test: Any = None, *, params: Any = None) -> Kernels:
    """The full K(train, train) and K(test, train) as products with vectors (`impls.ntk_operator`), for N·O of which
    no matrix fits. Raises `InputError`."""
    return Kernels(ntk_operator(model, x_train, params=params),
                   None if x_test is None else ntk_operator(model, x_test, x_train, params=params))


def _from_one_call(model: Any, x_train: Any, x_test: Any, *, with_test: bool, arguments: dict[str, Any]) -> Kernels:
    N = _count(x_train)
    together = [*_batches(x_train), *_batches(x_test)]
    K = to_numpy(ntk(model, together, None if with_test else _batches(x_train), **arguments))
    return Kernels(K[:N, :N], K[N:, :N], K[N:, N:] if with_test else None)


def _batches(x: Any) -> list[Any]:
    """As a list of batches: one, of an array or of a structure of arrays, or those that it holds."""
    is_one = hasattr(x, "shape") or isinstance(x, tuple | Mapping) or not isinstance(x, Iterable)
    return [x] if is_one else list(x)


def _count(x: Any) -> int:
    """The number of examples."""
    if hasattr(x, "shape"):
        return x.shape[0]
    if isinstance(x, tuple | Mapping):
        return _count(next(iter(x.values() if isinstance(x, Mapping) else x)))
    return sum(_count(batch) for batch in x)
