"""`ntk_operator`: the kernel of a network of your own as a linear operator, which multiplies and is never formed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

try:
    from scipy.sparse.linalg import LinearOperator
except ModuleNotFoundError as error:
    from impls.protocol import MethodNotInstalled

    raise MethodNotInstalled("ntk_operator needs scipy, which is not installed: pip install scipy") from error

from impls.frameworks.arrays import to_numpy
from impls.frameworks.uncompiled import uncompiled
from impls.given.asked import Asked
from impls.given.network import OwnNetwork, check_finite
from impls.given.saying import saying
from impls.given.selection import Where
from impls.own import across, finite
from impls.own.across import Side
from impls.own.halves import framework_of, half, own_network
from impls.own.multiplying import Memory, Way, memory, way
from impls.own.recognise import user_network
from impls.protocol import Array
from reference import InputError, Request
from reference.case import Outputs


@uncompiled
def ntk_operator(model: Any, x1: Any, x2: Any = None, *, params: Any = None, outputs: Outputs = "full",
                 batch_size: int | None = None, memory_limit: int | None = None, verbose: bool = False,
                 inputs: Any = None, select: Any = None, where: Where = None) -> NTKOperator:
    """`impls.ntk_operator`, which says what it is; it stands apart so that importing `impls` stays quick."""
    if memory_limit is not None and not (isinstance(memory_limit, int | float) and memory_limit > 0):
        raise InputError(f"memory_limit must be a positive number of bytes, got {memory_limit!r}")
    network = user_network(model, params)
    with half(framework_of(network)).apart():
        return _operator(own_network(network, x1, x2, Asked(inputs, select, where)), outputs, batch_size, memory_limit,
                         saying(verbose))


def _operator(own: OwnNetwork, outputs: Outputs, batch_size: int | None, memory_limit: int | None,
              say: Callable[[str], None]) -> NTKOperator:
    request = Request(outputs, own.dtype, own.device, batch_size=batch_size)
    if outputs == "diagonal":
        raise InputError("outputs='diagonal' is O matrices, one of each output, and an operator is one: select an "
                         "output, as by select=lambda y: y[:, :1], or take outputs='trace', their sum, or 'full'")
    own = half(own.framework).whole(own)
    room = memory(own, memory_limit, batch_size)
    found = way(own, room, say)
    say(f"ntk_operator: by {found}; {room.vectors} vectors at once, blocks of "
        f"{room.block(1, len(own.x1))} examples for one of them")
    return NTKOperator(_Kernel(own, request, found, room, memory_limit), own.x1, own.x2)


class _Kernel(NamedTuple):
    """What an operator and its transpose share."""

    own: OwnNetwork
    request: Request
    way: Way
    room: Memory
    memory_limit: int | None

    @property
    def n_outputs(self) -> int:
        """Of a row of the matrix for each example: the trace has one."""
        return 1 if self.request.outputs == "trace" else self.own.n_outputs

    def multiply(self, left: Array, right: Array, vectors: Array) -> Array:
        """Of rows (k, n2·O), or of the trace (k, n2), in groups that fit: (k, n1·O)."""
        multiply = self._full if self.n_outputs == self.own.n_outputs else self._trace
        size = self.room.vectors
        groups = [multiply(left, right, vectors[i:i + size]) for i in range(0, len(vectors), size)]
        return groups[0] if len(groups) == 1 else half(self.own.framework).operator().joined(groups, 0)

    def _full(self, left: Array, right: Array, vectors: Array) -> Array:
        k = len(vectors)
        found = self.way.multiply(left, right, vectors.reshape(k, -1, self.own.n_outputs),
                                  self.room.block(k, max(len(left), len(right))))
        return found.reshape(k, -1)

    def _trace(self, left: Array, right: Array, vectors: Array) -> Array:
        """Σ_a of what v in output a gives in output a: O times the work of a product with the full kernel."""
        k, n2, O = *vectors.shape, self.own.n_outputs
        one = half(self.own.framework).operator().vector(self.own, np.eye(O))
        size, total = max(1, self.room.vectors // k), None
        for start in range(0, O, size):
            some = one[start:start + size]  # (q, O)
            spread = vectors[:, None, :, None] * some[None, :, None, :]
            found = self._full(left, right, spread.reshape(-1, n2 * O)).reshape(k, len(some), -1, O)
            part = (found * some[None, :, None, :]).sum((1, 3))
            total = part if total is None else total + part
        return total


class NTKOperator(LinearOperator):
    """The kernel as a matrix of shape (N1·O, N2·O), rows and columns in the order (n, a); of `outputs` "trace"
    (N1, N2). See `impls.ntk_operator`.

    What SciPy's `LinearOperator` has; products of the framework's own arrays are such arrays, of NumPy's are NumPy's.
    """

    def __init__(self, kernel: _Kernel, x1: Array, x2: Array | None) -> None:
        self.kernel, self.x1, self.x2 = kernel, x1, x2
        rows, columns = (len(x) * kernel.n_outputs for x in (x1, self.right))
        super().__init__(np.dtype(kernel.own.dtype), (rows, columns))

    @property
    def right(self) -> Array:
        """The examples of the columns."""
        return self.x1 if self.x2 is None else self.x2

    @uncompiled
    def diagonal(self) -> Array:
        """(N1·O,) or (N1,), the framework's own array: from Jacobians of one block of examples after the other.
        `InputError` where N1 ≠ N2."""
        if len(self.x1) != len(self.right):
            raise InputError(f"an operator of {len(self.x1)} by {len(self.right)} examples has no diagonal")
        own, outputs = self.kernel.own, self.kernel.request.outputs
        left, right = (x if x is None else Side([own._replace(x1=x, x2=None)], {}) for x in (self.x1, self.x2))
        assert left is not None
        request = Request("diagonal" if outputs == "full" else "trace", own.dtype, own.device,
                          batch_size=self.kernel.request.batch_size)
        with half(own.framework).apart():
            return across.kernel(left, right, request, method="auto", pairs="same", components=False,
                                 memory_limit=self.kernel.memory_limit).reshape(-1)

    def trace(self) -> float:
        """The sum of the diagonal, exact but for rounding."""
        return float(np.asarray(to_numpy(self.diagonal()), np.float64).sum())

    def rows(self, places: Sequence[int] | np.ndarray) -> Array:
        """(len(places), N2·O), the framework's own array: a product each, with a pass of one example on the left."""
        return self._lines(places, self.x1, self.right, self.shape[0], "rows")

    def columns(self, places: Sequence[int] | np.ndarray) -> Array:
        """(N1·O, len(places)), likewise."""
        return self._lines(places, self.right, self.x1, self.shape[1], "columns").T

    @uncompiled
    def _lines(self, places: Any, some: Array, all_others: Array, most: int, what: str) -> Array:
        numbers = np.atleast_1d(np.asarray(places))
        if numbers.dtype.kind not in "iu" or not len(numbers) or not ((-most <= numbers) & (numbers < most)).all():
            raise InputError(f"{what} are numbered 0 to {most - 1}, got {places!r}")
        with half(self.kernel.own.framework).apart():
            return self._lines_of(numbers % most, some, all_others)

    def _lines_of(self, numbers: np.ndarray, some: Array, all_others: Array) -> Array:
        O, size = self.kernel.n_outputs, self.kernel.room.vectors
        operator = half(self.kernel.own.framework).operator()
        groups = []
        for start in range(0, len(numbers), size):
            examples, of_output = np.divmod(numbers[start:start + size], O)
            k = len(examples)
            one = np.zeros((k, k, O))
            one[range(k), range(k), of_output] = 1
            vectors = operator.vector(self.kernel.own, one.reshape(k, -1))
            groups.append(self._finite(self.kernel.multiply(all_others, some[examples], vectors)))
        return operator.joined(groups, 0)

    # What SciPy calls with NumPy's arrays.

    def _matvec(self, x: np.ndarray) -> np.ndarray:
        return self._matmat(x.reshape(-1, 1))[:, 0]

    def _matmat(self, X: Any) -> np.ndarray:
        if X.dtype.kind == "c":
            return self._matmat(X.real) + 1j * self._matmat(X.imag)
        return to_numpy(self._product(X))

    def _adjoint(self) -> Any:  # SciPy's own types name its private wrapper
        return self if self.x2 is None else NTKOperator(self.kernel, self.x2, self.x1)

    def _transpose(self) -> Any:
        return self._adjoint()

    # The same of the framework's own arrays.

    def matvec(self, x: Any) -> Any:
        return self._product(x) if self._is_ours(x) else super().matvec(x)

    def matmat(self, X: Any) -> Any:
        return self._product(X) if self._is_ours(X) else super().matmat(X)

    def rmatvec(self, x: Any) -> Any:
        return self._adjoint()._product(x) if self._is_ours(x) else super().rmatvec(x)

    def rmatmat(self, X: Any) -> Any:
        return self._adjoint()._product(X) if self._is_ours(X) else super().rmatmat(X)

    def dot(self, x: Any) -> Any:
        return self._product(x) if self._is_ours(x) else super().dot(x)

    def _rdot(self, x: Any) -> Any:
        if not self._is_ours(x):
            return super()._rdot(x)  # pyright: ignore[reportAttributeAccessIssue]
        return self.rmatvec(x) if x.ndim == 1 else self.rmatmat(x.T).T

    def _is_ours(self, x: Any) -> bool:
        return half(self.kernel.own.framework).operator().is_ours(x)

    @uncompiled
    def _product(self, X: Any) -> Array:
        """K X for X (M2,), (M2, 1) or (M2, k), the framework's own array whatever X is."""
        with half(self.kernel.own.framework).apart():
            return self._product_of(X)

    def _product_of(self, X: Any) -> Array:
        if X.ndim not in (1, 2) or X.shape[0] != self.shape[1]:
            raise InputError(f"an operator of shape {self.shape} multiplies ({self.shape[1]},) and ({self.shape[1]}, k)"
                             f", got {tuple(X.shape)}")
        vectors = half(self.kernel.own.framework).operator().vector(self.kernel.own, X)
        rows = vectors[None] if X.ndim == 1 else vectors.T
        if not len(rows):
            raise InputError(f"there is no vector to multiply in an array of shape {tuple(X.shape)}")
        found = self._finite(self.kernel.multiply(self.x1, self.right, rows), rows)
        return found[0] if X.ndim == 1 else found.T

    def _finite(self, found: Array, vectors: Array | None = None) -> Array:
        own = self.kernel.own
        if not half(own.framework).operator().is_traced(found):
            if vectors is not None:
                check_finite(_is_finite(vectors), "the vector")
            finite.check(found, own._replace(x1=self.x1, x2=self.x2), "products")
        return found


def _is_finite(vectors: Array) -> bool:
    return bool(np.isfinite(to_numpy(vectors)).all())
