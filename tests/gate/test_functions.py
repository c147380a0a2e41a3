"""What a method of any function is asked besides `prepare`: `kernel` of plain functions, `components`, batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import pytest

from impls import Array, Method
from impls.frameworks.arrays import to_numpy
from reference import Case, Request, compare
from reference.case import Outputs
from tests.gate.checks import copied, ends_no_test, skip_unsupported
from tests.gate.drawn import Draws, told
from tests.gate.functions import (
    Plain,
    dense,
    of_one_number,
    of_tokens,
    padded_convolution,
    share,
    truth_by_parameter,
)
from tests.gate.selection import Selection
from tests.gate.subject import tape
from tests.gate.test_calls import small_case
from tests.gate.test_independence import plain_request


@dataclass(frozen=True)
class Batches:
    """Batches that can be read again and again, and have no length."""

    batches: list[Array]

    def __iter__(self) -> Iterator[Array]:
        return iter(self.batches)


def test_kernel_of_a_function(exact_method: Method, selection: Selection) -> None:
    """x2 given and not, each kind of outputs, in blocks, outputs of shapes (N, O), (N,), (N, 2, 2) and (N, T, 3),
    parameters of no axis, tokens; and the same function again, of other parameters and examples."""
    method = _with(exact_method, "kernel")
    draw = Draws(selection.gate_seed, f"functions of {method.name}")
    asked = _asked(draw, method, selection)
    for i, (plain, request) in enumerate(asked):
        again = [plain.moved()] if plain.x1 is plain.case.x1 and i in (0, len(asked) - 1) else []
        for function in (plain, *again):
            with told(f"kernel(f, params, x1, x2, request), {plain.case.network}", selection.gate_seed):
                f, params, x1, x2 = function.in_framework(method.framework, request)
                with ends_no_test():
                    kernel = method.kernel(f, params, x1, x2, request)
                assert_right(to_numpy(kernel), function.case, request)


def _asked(draw: Draws, method: Any, selection: Selection) -> list[tuple[Plain, Request]]:
    plain, n2 = plain_request(method, selection), draw.between(2, 4)
    forms = draw.forms(None, 2)
    asked = [(dense(draw, 3, n2), forms[0]), (dense(draw, 3, None), forms[1]), (padded_convolution(draw, 2), forms[2]),
             (of_one_number(draw, n2), forms[3]), (of_tokens(draw, 2), forms[4]), (dense(draw, 1, n2), forms[3]),
             (padded_convolution(draw, None), forms[4]), (dense(draw, 3, n2), forms[5])]
    if not selection.alone:
        asked = [asked[i] for i in draw.rng.permutation(5)][: 1 if method.framework == "jax" else 3]
    return [(function, replace(plain, outputs=form.outputs, dtype=form.dtype, batch_size=form.batch_size))
            for function, form in asked]


def test_components_by_name(exact_method: Method, selection: Selection) -> None:
    """The kernel of each parameter under its own name, of x2 that is not x1 and of x2 = x1, in blocks and not."""
    method = _with(exact_method, "components")
    draw = Draws(selection.gate_seed, f"components of {method.name}")
    if method.name.startswith("neural_tangents") and not selection.alone:
        pytest.skip("it compiles a kernel for each parameter; tests/impls/own/test_components.py asks it of one case")
    for n2, size, outputs in _component_forms(draw, method, selection):
        request = replace(plain_request(method, selection), batch_size=size, outputs=outputs)
        if hasattr(method, "kernel"):
            plain = dense(draw, 3, n2)
            if selection.alone:
                _ask_before(method, plain, request)
            names, case = plain.names, plain.case
            with ends_no_test():
                found = method.components(*plain.in_framework(method.framework, request), request)
        else:
            case = small_case(draw) if n2 else small_case(draw).with_symmetry()
            names = {name: name for name in case.params}
            skip_unsupported(method, case, request)
            with ends_no_test():
                found = method.components(copied(case), request)
        with told(f"components, N2 = {n2}, batch_size={size}", selection.gate_seed):
            assert_components(found, names, case, request)


def _ask_before(method: Any, plain: Plain, request: Request) -> None:
    """For the kernel of the function, and for its components at other parameters."""
    with ends_no_test():
        method.kernel(*plain.in_framework(method.framework, request), request)
        method.components(*plain.moved().in_framework(method.framework, request), request)


def _component_forms(draw: Draws, method: Any, selection: Selection) -> list[tuple[int | None, int | None, Outputs]]:
    outputs = [draw.one_of(*get_args(Outputs)) for _ in range(4)]
    forms: list[tuple[int | None, int | None, Outputs]] = [
        (3, None, outputs[0]), (None, None, outputs[1]), (3, 2, outputs[2]), (None, 2, outputs[3])]
    return forms if selection.alone and method.framework != "jax" else forms[:2] if selection.alone else forms[:1]


def assert_components(found: Mapping[str, Array], names: Mapping[str, str], case: Case, request: Request) -> None:
    assert set(found) == set(names), f"kernels of {', '.join(found)}, where the parameters are {', '.join(names)}"
    truth, whole = truth_by_parameter(case), tape(case)
    for own, name in names.items():
        fault = compare(to_numpy(found[own]), share(truth[name], whole), outputs=request.outputs, dtype=request.dtype,
                        symmetric=False)
        assert fault.ok, f"that of {own}: {fault.reason}"


def test_kernel_of_batches(exact_method: Method, selection: Selection) -> None:
    """Batches of several sizes, the first one of one example; x2 in batches of its own, or x2 = x1."""
    method = _with(exact_method, "kernel_of_batches")
    draw = Draws(selection.gate_seed, f"batches of {method.name}")
    for n2 in (4, None) if selection.alone else (draw.one_of(4, None),):
        request = replace(plain_request(method, selection), outputs=draw.one_of(*get_args(Outputs)))
        plain = dense(draw, 3, n2)
        f, params, x1, x2 = plain.in_framework(method.framework, request)
        second = None if x2 is None else Batches([x2[:3], x2[3:]])
        with told(f"kernel_of_batches, N2 = {n2}", selection.gate_seed), ends_no_test():
            kernel = method.kernel_of_batches(f, params, Batches([x1[:1], x1[1:4], x1[4:]]), second, request)
            assert_right(to_numpy(kernel), plain.case, request)


def assert_right(kernel: np.ndarray, case: Case, request: Request) -> None:
    fault = compare(kernel, tape(case), outputs=request.outputs, dtype=request.dtype, symmetric=case.symmetric)
    assert fault.ok, fault.reason


def _with(method: Method, attribute: str) -> Any:
    if method.framework == "numpy" and attribute != "components":
        pytest.skip("NumPy differentiates no functions")
    if not hasattr(method, attribute):
        pytest.skip(f"{method.name} has no `{attribute}`")
    return method
