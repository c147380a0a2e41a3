"""What a method of any function is asked besides `prepare`: `kernel` of plain functions, `components`, batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
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
    of_equal_shapes,
    of_one_number,
    of_tokens,
    padded_convolution,
    share,
    truth_by_parameter,
)
from tests.gate.selection import Selection
from tests.gate.state import global_state
from tests.gate.subject import tape
from tests.gate.surroundings import MAY_REFUSE, surroundings
from tests.gate.test_calls import small_case
from tests.gate.test_drawn import described
from tests.gate.test_independence import plain_request
from tests.gate.test_state import changed

Function = Callable[[Draws, int | None], Plain]


def flat(draw: Draws, n2: int | None) -> Plain:
    """Outputs of shape (N,)."""
    return dense(draw, 1, n2)


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
                with leaves_alone(params, x1, x2):
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
    return [(function, _as_drawn(plain, form)) for function, form in asked]


def _as_drawn(plain: Request, form: Request) -> Request:
    return replace(plain, outputs=form.outputs, dtype=form.dtype, batch_size=form.batch_size)


@contextmanager
def leaves_alone(*arrays: Any) -> Iterator[None]:
    """Raises `AssertionError` where these arrays, in nested dicts or not, or global state are not what they were."""
    leaves = [leaf for leaf in _leaves(arrays) if leaf is not None]
    before, state = [_as_it_is(leaf) for leaf in leaves], global_state()
    with ends_no_test():
        yield
    after = [_as_it_is(leaf) for leaf in leaves]
    assert all(np.array_equal(one[0], other[0]) and one[1] == other[1]
               for one, other in zip(before, after, strict=True)), "the method changed its inputs"
    assert changed(state) == [], "the call changed the settings of the process"


def _leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, Mapping | tuple):
        for part in tree.values() if isinstance(tree, Mapping) else tree:
            yield from _leaves(part)
    else:
        yield tree


def _as_it_is(array: Array) -> tuple[np.ndarray, object]:
    """Its values; of a tensor, whether it is differentiated with respect to, and the gradient that it holds."""
    return np.array(to_numpy(array)), (getattr(array, "requires_grad", None), id(getattr(array, "grad", None)))


def test_kernel_as_users_call_it(exact_method: Method, selection: Selection) -> None:
    """PyTorch's parameters that are differentiated with respect to, as a module has them, and hold gradients; x1 that
    is a view with its axes turned; x2 that is x1; and inside of what users have switched on."""
    method = _with(exact_method, "kernel")
    if method.framework != "torch":
        pytest.skip("JAX's arrays and parameters have no such states")
    draw = Draws(selection.gate_seed, f"calls of {method.name}")
    request = replace(plain_request(method, selection), outputs=draw.one_of(*get_args(Outputs)))
    plain, around = dense(draw, 3, 2), surroundings("torch")
    f, params, x1, x2 = plain.in_framework("torch", request)
    turned, same = x1.T.contiguous().T, replace(plain.case, x2=plain.case.x1)
    for what, case, given in (("x1 is a view", plain.case, (turned, x2)), ("x2 is x1", same, (x1, x1))):
        with told(what, selection.gate_seed), leaves_alone(params, *given):
            assert_right(to_numpy(method.kernel(f, params, *given, request)), case, request)
    trained = {name: p.clone().requires_grad_() for name, p in params.items()}
    f(trained, x1).sum().backward()
    with told("parameters that require gradients", selection.gate_seed), leaves_alone(trained, x1, x2):
        assert_right(to_numpy(method.kernel(f, trained, x1, x2, request)), plain.case, request)
    for what, inside in around.items():
        if what not in MAY_REFUSE:
            with told(f"kernel under {what}", selection.gate_seed), inside(), ends_no_test():
                assert_right(to_numpy(method.kernel(f, params, x1, x2, request)), plain.case, request)


def test_components_by_name(exact_method: Method, selection: Selection) -> None:
    """The kernel of each parameter under its own name, of x2 that is not x1 and of x2 = x1, in blocks and not."""
    method = _with(exact_method, "components")
    draw = Draws(selection.gate_seed, f"components of {method.name}")
    if method.name.startswith("neural_tangents") and not selection.alone:
        pytest.skip("it compiles a kernel for each parameter; tests/impls/own/test_components.py asks it of one case")
    for function, n2, form in _component_forms(draw, method, selection):
        request = _as_drawn(plain_request(method, selection), form)
        if hasattr(method, "kernel"):
            plain = function(draw, n2)
            if selection.alone and plain.x1 is plain.case.x1 and plain.case.network.n_tokens is None:
                _ask_before(method, plain, request)
            names, case = plain.names, plain.case
            f, params, x1, x2 = plain.in_framework(method.framework, request)
            with leaves_alone(params, x1, x2):
                found = method.components(f, params, x1, x2, request)
        else:
            case = small_case(draw) if n2 else small_case(draw).with_symmetry()
            names = {name: name for name in case.params}
            skip_unsupported(method, case, request)
            with ends_no_test():
                found = method.components(copied(case), request)
        with told(f"components of {case.network}, {described(request)}", selection.gate_seed):
            assert_components(found, names, case, request)


def _ask_before(method: Any, plain: Plain, request: Request) -> None:
    """For the kernel of the function, and for its components at other parameters."""
    with ends_no_test():
        method.kernel(*plain.in_framework(method.framework, request), request)
        method.components(*plain.moved().in_framework(method.framework, request), request)


def _component_forms(draw: Draws, method: Any, selection: Selection) -> list[tuple[Function, int | None, Request]]:
    forms = draw.forms(None, 2)
    asked: list[tuple[Function, int | None]] = [
        (of_equal_shapes, 3), (of_equal_shapes, None), (of_tokens, 2), (of_one_number, None), (padded_convolution, 2),
        (flat, 3)]
    found = [(function, n2, form) for (function, n2), form in zip(asked, forms, strict=True)]
    if selection.alone:
        return found[:3] if method.framework == "jax" else found
    return found[:1]


def assert_components(found: Mapping[str, Array], names: Mapping[str, str], case: Case, request: Request) -> None:
    assert set(found) == set(names), f"kernels of {', '.join(found)}, where the parameters are {', '.join(names)}"
    truth, whole = truth_by_parameter(case), tape(case)
    for own, name in names.items():
        fault = compare(to_numpy(found[own]), share(truth[name], whole), outputs=request.outputs, dtype=request.dtype,
                        symmetric=False)
        assert fault.ok, f"that of {own}: {fault.reason}"


def test_kernel_of_batches(exact_method: Method, selection: Selection) -> None:
    """Batches of several sizes, in a number and of sizes that are drawn, and one of all; x2 in batches of its own, or
    x2 = x1; and the same function again, of other parameters and examples."""
    method = _with(exact_method, "kernel_of_batches")
    draw = Draws(selection.gate_seed, f"batches of {method.name}")
    for plain, ends, form in _batch_forms(draw, method, selection):
        request = _as_drawn(plain_request(method, selection), form)
        again = [plain.moved()] if plain.x1 is plain.case.x1 and not ends else []
        for function in (plain, *again):
            f, params, x1, x2 = function.in_framework(method.framework, request)
            first, second = _cut(x1, ends), None if x2 is None else _cut(x2, [len(x2) - 1])
            with told(f"kernel_of_batches cut at {ends}, {plain.case.network}", selection.gate_seed):
                with leaves_alone(params, x1, x2):
                    kernel = method.kernel_of_batches(f, params, first, second, request)
                assert_right(to_numpy(kernel), function.case, request)


def _cut(x: Array, ends: list[int]) -> Batches:
    """At these numbers of examples."""
    return Batches([x[begin:end] for begin, end in pairwise([0, *ends, len(x)])])


def _batch_forms(draw: Draws, method: Any, selection: Selection) -> list[tuple[Plain, list[int], Request]]:
    """The first batch of one example, the last one smaller than it, each of one example, and all in one."""
    forms = draw.forms(None, 2)
    drawn: list[tuple[Function, int | None, list[int]]] = [
        (of_equal_shapes, 4, [1, 4]), (of_equal_shapes, None, []), (of_tokens, 2, [2]), (flat, None, [1, 2, 3, 4]),
        (padded_convolution, 3, [2]), (of_one_number, 4, [3, 4])]
    if not selection.alone:
        drawn = [draw.one_of(*drawn[:4])]
    elif method.framework == "jax":
        drawn = drawn[:4]
    return [(function(draw, n2), ends, form) for (function, n2, ends), form in zip(drawn, forms, strict=False)]


def assert_right(kernel: np.ndarray, case: Case, request: Request) -> None:
    fault = compare(kernel, tape(case), outputs=request.outputs, dtype=request.dtype, symmetric=case.symmetric)
    assert fault.ok, fault.reason


def _with(method: Method, attribute: str) -> Any:
    if method.framework == "numpy" and attribute != "components":
        pytest.skip("NumPy differentiates no functions")
    if not hasattr(method, attribute):
        pytest.skip(f"{method.name} has no `{attribute}`")
    return method
