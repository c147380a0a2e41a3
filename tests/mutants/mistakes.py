"""Mistakes around a method rather than in it: in what it is given, keeps or hands out. They fit every framework."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from impls import Method
from impls.protocol import Array
from reference import Case, Request

Preparing = Callable[[Method, Case, Request], Callable[[], Array]]


def swapped(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    return base.prepare(case if case.x2 is None else replace(case, x1=case.x2, x2=case.x1), request)


def symmetric_by_shape(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    same = case.x2 is not None and case.x2.shape == case.x1.shape
    return base.prepare(case.with_symmetry() if same else case, request)


def first_parameters(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    params = _kept.setdefault((id(base), case.name, case.network, "params"), case.params)
    return base.prepare(replace(case, params=params), request)


def first_constants(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    constants = _kept.setdefault((id(base), case.name, case.network, "constants"), case.constants)
    return base.prepare(replace(case, constants=constants), request)


def first_inputs(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    x1 = _kept.setdefault((id(base), case.name, case.network, case.x1.shape), case.x1)
    return base.prepare(replace(case, x1=x1), request)


_kept: dict[Any, Any] = {}


def added_up(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    compute, so_far = base.prepare(case, request), []

    def again() -> Array:
        so_far.append(compute())
        return sum(so_far[1:], so_far[0])

    return again


def computed_once(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    compute, done = base.prepare(case, request), []

    def again() -> Array:
        if not done:
            done.append(compute())
        return done[0]

    return again


def in_float32(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    return base.prepare(case, replace(request, dtype="float32"))


def inputs_overwritten(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    compute = base.prepare(case, request)

    def spoiling() -> Array:
        kernel = compute()
        case.x1[...] = case.x1 - case.x1.mean()
        return kernel

    return spoiling


def parameters_rounded(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    """Through float16, as a checkpoint to save memory would."""
    params = {name: array.astype("float16").astype("float64") for name, array in case.params.items()}
    return base.prepare(replace(case, params=params), request)


def ignoring_the_seed(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    return base.prepare(case, replace(request, seed=0))


def fewer_projections(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    return base.prepare(case, replace(request, options={"proj_dim": 64}))


def squeezed(kernel: Any, case: Case, request: Request) -> Array:
    return kernel.squeeze()


def mean_for_trace(kernel: Any, case: Case, request: Request) -> Array:
    return kernel / (case.network.n_outputs or 1) if request.outputs == "trace" else kernel


def output_0_for_each(kernel: Any, case: Case, request: Request) -> Array:
    return kernel if request.outputs != "diagonal" else kernel[:, :, :1] + 0 * kernel


def diagonal_of_examples(full: Any, case: Case, request: Request) -> Array:
    return full[:, :, 0] if request.outputs == "diagonal" else selected(full, request)


def trace_for_each(full: Any, case: Case, request: Request) -> Array:
    own = selected(full, request)
    return own.sum(2)[:, :, None] + 0 * own if request.outputs == "diagonal" else own


def outputs_transposed(full: Any, case: Case, request: Request) -> Array:
    return full.swapaxes(2, 3) if request.outputs == "full" else selected(full, request)


def outputs_before_x2(full: Any, case: Case, request: Request) -> Array:
    return full.swapaxes(1, 2) if request.outputs == "full" else selected(full, request)


def outputs_first(full: Any, case: Case, request: Request) -> Array:
    """(O, N1, N2) for the diagonal, as backpropagation by outputs gives it."""
    own = selected(full, request)
    return own.swapaxes(1, 2).swapaxes(0, 1) if request.outputs == "diagonal" else own


def selected(full: Any, request: Request) -> Any:
    """What was asked for; NumPy, JAX and PyTorch agree on these calls."""
    if request.outputs == "full":
        return full
    diagonal = full.diagonal(0, 2, 3)
    return diagonal.sum(2) if request.outputs == "trace" else diagonal
