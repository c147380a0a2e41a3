"""The forms a kernel comes in, as matrices that act on the outputs.

A kernel is one of

- ``full``, (N1, N2, O, O): one matrix of N·O rows (example, then output), the linearised network itself;
- ``independent``, (N1, N2, O): one matrix for each output; what full is where outputs do not mix;
- ``shared``, (N1, N2): one matrix for all outputs, Θ of Θ ⊗ I_O, as infinitely wide networks have it;
- ``products``: a `scipy.sparse.linalg.LinearOperator` of either N1·O rows and N2·O columns, or (shared) N1 and N2.

All become B matrices that act on C columns each: B, C = 1, 1; O, 1; 1, O; and the same for products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from scipy.sparse.linalg import LinearOperator

from reference import InputError, tolerance
from reference.case import DType
from studies.matrix import as_real

FormName = Literal["full", "independent", "shared"]


@dataclass(frozen=True)
class Form:
    """How a kernel acts on outputs of O numbers an example."""

    name: FormName
    n_outputs: int

    def fold(self, outputs: np.ndarray) -> np.ndarray:
        """(…, N, O) as (…, B, n, C), on which the kernel's matrices act."""
        if self.name == "full":
            return outputs.reshape(*outputs.shape[:-2], 1, -1, 1)
        return outputs[..., None, :, :] if self.name == "shared" else np.swapaxes(outputs, -1, -2)[..., None]

    def unfold(self, columns: np.ndarray) -> np.ndarray:
        """The inverse of `fold`."""
        if self.name == "full":
            return columns.reshape(*columns.shape[:-3], -1, self.n_outputs)
        return columns[..., 0, :, :] if self.name == "shared" else np.swapaxes(columns[..., 0], -1, -2)

    def matrices(self, kernel: np.ndarray) -> np.ndarray:
        """A kernel of this form as (B, n1, n2)."""
        if self.name == "full":
            N1, N2, O = kernel.shape[:3]
            return kernel.transpose(0, 2, 1, 3).reshape(1, N1 * O, N2 * O)
        return kernel[None] if self.name == "shared" else kernel.transpose(2, 0, 1)

    def kernel(self, matrices: np.ndarray) -> np.ndarray:
        """The inverse of `matrices`, of (…, B, n1, n2)."""
        if self.name == "full":
            *leading, _, n1, n2 = matrices.shape
            O = self.n_outputs
            return np.moveaxis(matrices.reshape(*leading, n1 // O, O, n2 // O, O), -3, -2)
        return matrices[..., 0, :, :] if self.name == "shared" else np.moveaxis(matrices, -3, -1)


def form_of(kernel: Any, n_examples: int, n_outputs: int) -> Form:
    """The form of K(train, train), for targets of that shape. Raises `InputError` for any other shape."""
    shape = _shape(kernel, "the kernel of the training examples")
    N, O = n_examples, n_outputs
    if isinstance(kernel, LinearOperator):
        forms: dict[tuple[int, ...], FormName] = {(N, N): "shared", (N * O, N * O): "full"}
    else:
        forms = {(N, N): "shared", (N, N, O): "independent", (N, N, O, O): "full"}
    if shape not in forms:
        one_hot = "; classes are given as one-hot targets, a column each" if O == 1 and np.prod(shape) > N * N else ""
        raise InputError(f"the kernel of the training examples has shape {shape}; for targets of shape {(N, O)} it is "
                         f"{' or '.join(map(str, sorted(forms, key=len, reverse=True)))}: "
                         f"full, of each output by itself, or one that all outputs share{one_hot}")
    return Form(forms[shape], O)


def square(kernel: Any, form: Form, what: str) -> np.ndarray:
    """A kernel between examples and themselves as symmetric float64 matrices (B, n, n). Raises `InputError` for what is
    no such kernel of that form."""
    shape, rest = _shape(kernel, what), _rest(form)
    if shape[:1] != shape[1:2] or shape[2:] != rest:
        raise InputError(f"{what} has shape {shape}; beside the others, which are {form.name}, it is "
                         f"({', '.join(map(str, ('M', 'M', *rest)))})")
    matrices = form.matrices(_finite(kernel, what))
    transposed = matrices.swapaxes(-1, -2)
    sizes = np.sqrt(np.abs(np.diagonal(matrices, axis1=-2, axis2=-1)))
    apart = np.abs(matrices - transposed) - tolerance(dtype_of(kernel), "symmetry") * sizes[..., None] * sizes[:, None]
    if apart.max(initial=0) > 0:
        where = np.unravel_index(apart.argmax(), apart.shape)
        raise InputError(f"{what} is not symmetric: its rows {where[1]} and {where[2]} have "
                         f"{matrices[where]:.6g} and {transposed[where]:.6g}; give the kernel of the training "
                         "examples with themselves, of one set of parameters and projections")
    return (matrices + transposed) / 2


def rectangular(kernel: Any, form: Form, n_train: int, what: str) -> Any:
    """K(test, train) as float64 matrices (B, m, n), or as the operator that it is. Raises `InputError`."""
    O, shape = form.n_outputs, _shape(kernel, what)
    if isinstance(kernel, LinearOperator):
        columns = n_train * (O if form.name == "full" else 1)
        if shape[1] != columns:
            raise InputError(f"{what} has {shape[1]} columns, and the kernel of the training examples {columns}")
        return products(kernel, what)
    due = (n_train, *_rest(form))
    if shape[1:] != due:
        raise InputError(f"{what} has shape {shape}; beside the kernel of the training examples, which is {form.name}, "
                         f"it is (M, {', '.join(map(str, due))})")
    return form.matrices(_finite(kernel, what))


def products(operator: LinearOperator, what: str) -> LinearOperator:
    """The operator in float64, whose products raise `InputError` where they are not finite."""
    def finite(found: Any) -> np.ndarray:
        array = np.asarray(found, dtype=np.float64)
        if not np.isfinite(array).all():
            raise InputError(f"a product of {what} with a vector holds NaN or infinite values")
        return array

    found: Any = LinearOperator  # whose stubs know no function to multiply by
    return found(operator.shape, dtype=np.dtype(np.float64), matvec=lambda v: finite(operator.matvec(v)),
                 matmat=lambda V: finite(operator.matmat(V)))


def apply(matrices: Any, columns: np.ndarray) -> np.ndarray:
    """Matrices (B, m, n), or an operator, times (B, n, C)."""
    return matrices.matmat(columns[0])[None] if isinstance(matrices, LinearOperator) else matrices @ columns


def n_examples(matrices: Any, form: Form) -> int:
    """How many test examples the rows of K(test, train) are of."""
    return matrices.shape[-2] // (form.n_outputs if form.name == "full" else 1)


def shared(kernel: Any) -> np.ndarray:
    """Θ (N1, N2) of a full kernel Θ ⊗ I_O (N1, N2, O, O), which is then O³ times as quick to solve for.

    Raises `InputError`, with the departure, where the kernel is anything else, as those of networks of finite width
    are: then `full` is right, and the trace over O is an approximation.
    """
    K = _finite(kernel, "the kernel")
    if K.ndim != 4 or K.shape[2] != K.shape[3]:
        raise InputError(f"a full kernel has shape (N1, N2, O, O), got {K.shape}")
    O = K.shape[2]
    theta = np.trace(K, axis1=2, axis2=3) / O
    departure = np.abs(K - theta[:, :, None, None] * np.eye(O)).max() / (np.abs(theta).max() or 1.0)
    if departure > tolerance(dtype_of(kernel)):
        raise InputError(f"the outputs do not share one kernel: it is {departure:.2g} from Θ ⊗ I, relative to its "
                         "largest entry; give the full kernel, or the trace over O as what it is, an approximation")
    return theta


def dtype_of(kernel: Any) -> DType:
    """The precision that a kernel was computed in, by the dtype of its array. Raises `InputError` for 16 bits."""
    name = str(getattr(kernel, "dtype", "float64")).rpartition(".")[2]
    if "float16" in name:
        raise InputError(f"the kernel is {name}, which leaves nothing of its small eigenvalues; compute it in float32 "
                         "or float64")
    return cast(DType, name) if name in ("float32", "float64") else "float64"


def _rest(form: Form) -> tuple[int, ...]:
    """The axes of a kernel of that form behind those of the examples."""
    O = form.n_outputs
    return {"full": (O, O), "independent": (O,), "shared": ()}[form.name]


def _shape(kernel: Any, what: str) -> tuple[int, ...]:
    """Of an array or an operator. Raises `InputError` for what is neither, and for an operator of complex numbers."""
    if not isinstance(kernel, LinearOperator):
        return tuple(kernel.shape) if hasattr(kernel, "shape") else as_real(kernel, what).shape
    if kernel.dtype is not None and kernel.dtype.kind not in "fiub":
        raise InputError(f"{what} is an operator of {kernel.dtype}; it must multiply real numbers")
    return tuple(kernel.shape)


def _finite(kernel: Any, what: str) -> np.ndarray:
    array = as_real(kernel, what).astype(np.float64, copy=False)
    if not np.isfinite(array).all():
        raise InputError(f"{what} holds NaN or infinite values")
    return array
