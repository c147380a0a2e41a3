"""What the gate asks of a method, and the words in which it refuses: found untested by the mutation run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest

from impls import Method
from impls.protocol import Kind
from impls.registry import framework, load
from reference import MLP, Case, Layered, Request, case, random_case, seed_of
from reference.layers import Dense, FourierFeatures
from tests.gate import test_requests
from tests.gate.checks import (
    Check,
    address,
    assert_unchanged,
    cases_for,
    checks,
    copied,
    ends_no_test,
    in_fortran_order,
    is_due,
    moved,
    prepare,
    skip_unsupported,
    uneven_batch_size,
)
from tests.gate.limit import expected_limit, limit_cases
from tests.gate.selection import Selection
from tests.gate.shares import is_drawn, share_of
from tests.gate.test_independence import compare_with, plain_request
from tests.gate.test_independence import test_batch_size as batch_size
from tests.gate.test_independence import test_other_parameters as other_parameters
from tests.gate.test_independence import test_seed as seed
from tests.gate.test_spread import as_matrix, spread
from tests.gate.test_spread import test_spread as spread_of_a_method
from tests.gate.test_values import judge
from tests.gate.test_values import test_kernel as kernel_of
from tests.mutants.hold import Death, gate_tests, outcome
from tests.mutants.mutant import Around, Wrapped, base_method
from tests.planted import exact, requests, stochastic

CORRECT = base_method("planted.correct")
SELECTION = Selection(("numpy",), "cpu")
FULL64 = ("full", "float64", None)


def stored(base: Method, name: str) -> Case:
    """The very object that the gate uses, which looks up its place."""
    return next(shared for shared in cases_for(base.kind) if shared.name == name)


@dataclass(frozen=True)
class Recorder(Around):
    """What it is asked for, with copies of the arrays."""

    name: str = "recorder"
    asked: list[tuple[Case, Request]] = field(default_factory=list)

    def prepare(self, case: Case, request: Request) -> Callable[[], np.ndarray]:
        self.asked.append((copied(case), request))
        return self.base.prepare(case, request)

    def forms(self) -> list[tuple[str, str, int | None]]:
        return [(request.outputs, request.dtype, request.batch_size) for _, request in self.asked]


def recorder(test: Callable[..., None], base: Method, *args: object) -> Recorder:
    """What the gate's test asks of a right method."""
    method = Recorder(base)
    test(*((method, *args) if not args or isinstance(args[0], str) else ((method, args[0]),)), SELECTION)
    return method


def test_blocks_are_uneven_and_every_second_case_symmetric() -> None:
    for name, symmetric in (("linear", False), ("mlp_relu", True), ("mlp_relu_deep", False), ("mlp_tanh_ntk", True)):
        asked = recorder(batch_size, stochastic.RIGHT, stored(stochastic.RIGHT, name))
        assert {shared.x2 is None for shared, _ in asked.asked} == {symmetric}, name
        assert asked.forms() == [FULL64, ("full", "float64", uneven_batch_size(asked.asked[0][0]))]
        assert [request.options for _, request in asked.asked] == [{"proj_dim": 64}] * 2
    assert recorder(batch_size, CORRECT, stored(CORRECT, "linear")).forms() == [("full", "float64", 3)]


def test_a_plain_request_is_for_the_device_asked_for() -> None:
    assert plain_request(CORRECT, Selection(("numpy",), "cuda")).device == "cuda"
    check = Check("planted.correct", case("linear"), "float64", "full")
    request = check.request(CORRECT, "cuda")
    assert (request.device, request.seed) == ("cuda", seed_of(check.id))


def test_a_skipped_test_says_why() -> None:
    with pytest.raises(pytest.skip.Exception, match=r"^another case$"):
        skip_unsupported(SupportsOne(CORRECT, "no case"), case("linear"), Request())


def test_all_inputs_that_changed_are_named() -> None:
    shared = random_case("changed", MLP((3, 2)), 2, 1)
    changed = copied(shared)
    assert changed.x2 is not None
    changed.x1[0], changed.x2[0] = 1, 1
    with pytest.raises(AssertionError, match=r"^the method changed its inputs: x1, x2$"):
        assert_unchanged(changed, shared)


def test_a_copy_has_arrays_of_its_own() -> None:
    shared = case("residual_batch_norm")
    own = in_fortran_order(shared)
    for copy in (copied(shared), copied(own)):
        for now, before in ((copy.params, shared.params), (copy.constants, shared.constants),
                            ({"x1": copy.x1, "x2": copy.x2}, {"x1": shared.x1, "x2": shared.x2})):
            assert list(now) == list(before)
            for key, array in now.items():
                np.testing.assert_array_equal(array, before[key])
                assert not np.shares_memory(array, before[key])
    assert all(array.flags.f_contiguous for array in (*own.params.values(), *own.constants.values(), own.x1))


def test_memory_that_is_given_again_is_named() -> None:
    def preparing(base: Method, case: Case, request: Request) -> Callable[[], np.ndarray]:
        kept = base.prepare(case, request)()
        return lambda: kept

    compute = prepare(Wrapped(CORRECT, preparing), case("linear"), Request())
    compute()
    with pytest.raises(AssertionError, match=r"^a second call gave the memory of an earlier one's kernel"):
        compute()


def test_where_the_entries_of_an_array_begin() -> None:
    assert address(SimpleNamespace(data_ptr=lambda: 7)) == 7  # PyTorch
    assert address(SimpleNamespace(unsafe_buffer_pointer=lambda: 8)) == 8  # JAX
    array = np.ones(3)
    assert address(array[1:]) == address(array) + 8


def test_a_limit_is_held_against_the_limit() -> None:
    shared, method = limit_cases()[0], OfKind(CORRECT, own_kind="limit")
    check, truth = Check(method.name, shared, "float64", "full"), expected_limit(shared).full
    for factor, ok in ((1, True), (1.5, False)):
        assert compare_with(None, factor * truth, method, shared).ok is ok
        assert judge(factor * truth, check, method, SELECTION).ok is ok


@pytest.mark.parametrize(("base", "calls"), [(CORRECT, 2), (stochastic.RIGHT, 1)], ids=lambda value: str(value)[:9])
def test_exact_kernels_are_computed_twice(base: Method, calls: int) -> None:
    """And random ones once; a second that is wrong is said to be the second."""
    called: list[np.ndarray] = []

    def preparing(base: Method, case: Case, request: Request) -> Callable[[], np.ndarray]:
        compute = base.prepare(case, request)

        def counted() -> np.ndarray:
            called.append(compute() * (1 + len(called)))
            return called[-1]

        return counted

    method = Wrapped(base, preparing, base.name)
    check = Check(method.name, case("linear"), "float64", "full")
    selection = Selection(("numpy",), "cpu", impl=method)
    if calls == 1:
        kernel_of(check, selection)
    else:
        with pytest.raises(AssertionError, match=r"^in a second call: error "):
            kernel_of(check, selection)
    assert len(called) == calls


def test_what_was_computed_before_has_to_be_a_kernel_itself() -> None:
    shared = case("linear")
    kernel = CORRECT.prepare(shared, Request(dtype="float64"))()
    fault = compare_with(kernel.astype(np.float32), kernel, CORRECT, shared)
    assert fault.reason == "the kernel has dtype float32, asked for was float64"


def test_seeds_and_other_parameters() -> None:
    assert [request.seed for _, request in recorder(seed, stochastic.RIGHT, case("linear")).asked] == [1, 1, 2]
    (first, _), (second, _) = recorder(other_parameters, CORRECT, case("linear")).asked
    np.testing.assert_array_equal(second.x1, moved(first).x1)


@pytest.mark.parametrize(("n1", "n2", "size"), [
    (4, 2, 3), (2, 4, 3), (3, None, 2), (2, 2, 2), (1, 6, 4), (4, None, 3), (5, None, 2)])
def test_the_uneven_batch_size(n1: int, n2: int | None, size: int) -> None:
    shared = random_case("uneven", MLP((3, 2)), n1, 1 if n2 is None else n2)
    assert uneven_batch_size(shared if n2 is not None else shared.with_symmetry()) == size


@pytest.mark.parametrize("name", ["mlp_relu", "residual_batch_norm", "transformer"])
def test_what_is_moved(name: str) -> None:
    shared = case(name)
    other, n_tokens = moved(shared), shared.network.n_tokens
    assert (other.name, other.network) == (shared.name, shared.network)
    assert other.x2 is not None
    assert shared.x2 is not None
    for now, before in ((other.x1, shared.x1), (other.x2, shared.x2)):
        np.testing.assert_allclose(now, (before + 1) % n_tokens if n_tokens else 0.75 * before + 0.0625, rtol=1e-6)
    for now, before in ((other.params, shared.params), (other.constants, shared.constants)):
        assert list(now) == list(before)
        for key in now:
            np.testing.assert_allclose(now[key], 0.75 * before[key] + 0.0625, rtol=1e-6, atol=1e-7)
    assert moved(shared.with_symmetry()).x2 is None


def test_units_at_0() -> None:
    (shared, request), = recorder(test_requests.test_relu_at_0, CORRECT).asked
    plain = random_case("units at 0", MLP((3, 5, 3), "relu"), 3, 2)
    np.testing.assert_array_equal(shared.x1, plain.x1 * [[1], [0], [1]])
    np.testing.assert_array_equal(shared.params["dense0.bias"], plain.params["dense0.bias"] * [0, 0, 0, 1, 1])
    assert (shared.name, shared.network, request.dtype) == (plain.name, plain.network, "float64")
    assert shared.x2 is not None
    assert plain.x2 is not None
    np.testing.assert_array_equal(shared.x2, plain.x2)


def test_a_known_derivative_at_0_is_an_expected_failure() -> None:
    """And a failure once it is mended."""
    name = test_requests.HALF_AT_0[0]
    with pytest.raises(AssertionError, match="takes the derivative of ReLU at 0 as 0 by now: strike it from HALF_AT_0"):
        test_requests.test_relu_at_0(Recorder(CORRECT, name), SELECTION)
    with pytest.raises(pytest.xfail.Exception, match=r"^stax\.Relu has the derivative 1/2 at 0$"):
        test_requests.test_relu_at_0(Recorder(exact.BIASES_FORGOTTEN, name), SELECTION)


def test_x2_is_changed_in_place() -> None:
    asked = recorder(test_requests.test_x2_changed_in_place, CORRECT).asked
    plain = random_case("x2 in place", MLP((3, 4, 2), "tanh"), 2, 1)
    assert plain.x2 is not None
    for sign, (shared, _) in zip((1, -1), asked, strict=True):
        assert (shared.name, shared.network) == (plain.name, plain.network)
        np.testing.assert_array_equal(shared.x1, plain.x1)
        assert shared.x2 is not None
        np.testing.assert_array_equal(shared.x2, sign * plain.x2)


def test_networks_with_the_same_parameters() -> None:
    test = test_requests.test_same_parameters_in_another_network
    (first, _), (second, _) = recorder(test, CORRECT, "activation").asked
    plain = random_case("activation", MLP((3, 5, 4, 3), "gelu"), 4, 1)
    assert (first.network, second.network) == (plain.network, MLP((3, 5, 4, 3), "tanh"))
    for shared in (first, second):
        np.testing.assert_array_equal(shared.x1, plain.x1 * [[256], [1], [1], [256]])
        assert shared.x2 is not None
        assert len(shared.x2) == 1
    (first, request), (second, _) = recorder(test, CORRECT, "constants").asked
    layers = (FourierFeatures("features", 3, std=2.0), Dense("head", 3))
    assert first.network == second.network == Layered((2,), layers)
    assert (len(first.x1), first.x2 is not None and len(first.x2), request.dtype) == (2, 1, "float32")
    for name, array in first.constants.items():
        np.testing.assert_array_equal(second.constants[name], array / 2)


def test_many_examples() -> None:
    (shared, _), = recorder(test_requests.test_as_many_examples_in_x2, CORRECT).asked
    (again, _), = recorder(test_requests.test_as_many_examples_in_x2, CORRECT).asked
    assert shared.x2 is not None
    assert again.x2 is not None
    for x, same in ((shared.x1, again.x1), (shared.x2, again.x2)):
        np.testing.assert_array_equal(x, same)
        assert x.shape == (35, 6)
        assert x.flags.f_contiguous
        assert len(np.unique(x)) == x.size
        size = np.abs(x).mean(1)
        assert size[::3].mean() == pytest.approx(16 * np.sqrt(2 / np.pi), rel=0.3)
        assert size[np.arange(35) % 3 > 0].mean() == pytest.approx(np.sqrt(2 / np.pi), rel=0.3)
    assert not np.array_equal(shared.x1, shared.x2)


@dataclass(frozen=True)
class OfKind(Recorder):
    own_kind: Kind = "exact"

    @property
    def kind(self) -> Kind:
        return self.own_kind


@dataclass(frozen=True)
class SupportsOne(OfKind):
    """Of the cases, that of its own name."""

    def unsupported(self, case: Case, request: Request) -> str | None:
        return None if case.name == self.name else "another case"


@pytest.mark.parametrize("kind", get_args(Kind))
def test_some_case_has_several_examples_and_outputs(kind: Kind) -> None:
    for name in ("mlp_gelu", *(["limit_relu"] if kind == "limit" else [])):
        with ends_no_test():  # which a skip would do
            found = test_requests.some_case(SupportsOne(CORRECT, name, own_kind=kind), Request())
        assert found.name == name
    for name in ("linear", "mlp_one_output", "mlp_sin_no_bias", "no case"):
        with pytest.raises(pytest.skip.Exception, match=f"^{name} supports no case with batch_size=2$"):
            test_requests.some_case(SupportsOne(CORRECT, name, own_kind=kind), Request(batch_size=2))


def test_more_parameters_and_outputs() -> None:
    (shared, _), = recorder(test_requests.test_more_parameters_and_outputs, CORRECT).asked
    assert (shared.name, shared.network, len(shared.x1)) == ("more parameters and outputs", test_requests.MORE, 2)
    assert shared.x2 is not None
    assert len(shared.x2) == 1


def test_the_spread_of_projections() -> None:
    """‖W − 1‖² in units of r (r + 1)/S, r = 6 here."""
    truth = np.einsum("nm,ab->nmab", np.eye(3), np.eye(2))
    assert spread(1.5 * truth, truth) == pytest.approx(6 * 0.25 * 256 / (6 * 7))
    (shared, request), = recorder(spread_of_a_method, stochastic.RIGHT).asked
    assert (len(shared.x1), shared.x2, request.options) == (9, None, {"proj_dim": 256})
    matrix = as_matrix(np.arange(36.0).reshape(3, 3, 2, 2))
    np.testing.assert_array_equal(matrix[:2, :4], [[0, 1, 4, 5], [2, 3, 6, 7]])


def test_repeated_examples() -> None:
    """Each kernel that is asked for is computed once."""
    asked = recorder(test_requests.test_repeated_examples, CORRECT).asked
    assert [shared.x2 is None for shared, _ in asked] == [True, False, False]
    for shared, _ in asked:
        np.testing.assert_array_equal(shared.x1[2], shared.x1[0])


def _otherwise_at_the_repeated(base: Method, case: Case, request: Request) -> Callable[[], np.ndarray]:
    """Of a pair of examples that are equal, though not one and the same."""
    compute = base.prepare(case, request)
    return lambda: compute() * (1 + 0.1 * np.eye(3)[2])[:, None, None, None] if len(case.x1) == 3 else compute()


def _larger_where_one_repeats(base: Method, case: Case, request: Request) -> Callable[[], np.ndarray]:
    compute = base.prepare(case, request)
    return lambda: compute() * (1.1 if len(np.unique(case.x1, axis=0)) < len(case.x1) else 1.0)


def _as_a_vector(base: Method, case: Case, request: Request) -> Callable[[], np.ndarray]:
    compute = base.prepare(case, request)
    return lambda: compute().ravel()


# Of which test of the gate, and how what it says begins.
SAID = (
    (exact.LAST_BLOCK_DROPPED, "test_batch_size", "batch_size=3: error "),
    (exact.STALE_PARAMETERS, "test_other_parameters", "a second network, after a first: error "),
    (exact.CACHED_BY_SIZE, "test_other_parameters", "other parameters and inputs gave the very same kernel"),
    (exact.INPUTS_OVERWRITTEN, "test_kernel", "the method changed its inputs: x1"),
    (exact.NOT_POSITIVE, "test_batch_size", "batch_size=3: error "),
    (exact.NOT_POSITIVE, "test_as_many_examples_in_x2", "35 examples in x1, as many in x2: error "),
    (exact.NOT_POSITIVE, "test_relu_at_0", "units of exactly 0: error "),
    (exact.NOT_POSITIVE, "test_more_parameters_and_outputs", "widths (140, 120, 33): error "),
    (exact.NOT_POSITIVE, "test_same_parameters_in_another_network", "MLP(widths=(3, 5, 4, 3), activation='gelu', "),
    (exact.NOT_POSITIVE, "test_x2_changed_in_place", "x2 is changed in place, at first: error "),
    (exact.CACHED_BY_SIZE, "test_x2_changed_in_place", "x2 is changed in place, after it: error "),
    (requests.STALE_X2, "test_x2_changed_in_place", "x2 is changed in place, after it: error "),
    (requests.BLOCKS_OF_ONE, "test_blocks_then_other_parameters", "a network, batch_size=1: error "),
    (exact.STALE_PARAMETERS, "test_blocks_then_other_parameters", "another network after it, batch_size=1: error "),
    (requests.SKIPS_HARD_CASES, "test_more_parameters_and_outputs",
     "RuntimeError: the method raised SkipTest: hard; what it cannot do it says in `unsupported`"),
    (requests.REPEATED_EXAMPLES, "test_repeated_examples", "an example of x1 repeats: error "),
    (requests.X2_EQUAL_TO_X1, "test_repeated_examples", "x2 is given, and equal to x1: error "),
    (requests.SAME_EXAMPLES, "test_repeated_examples", "x2 holds the examples of x1 in another order: error "),
    (Wrapped(stochastic.RIGHT, _otherwise_at_the_repeated, "otherwise_at_the_repeated"), "test_repeated_examples",
     "an example of x1 repeats: error "),
    (Wrapped(CORRECT, _larger_where_one_repeats, "larger_where_one_repeats"), "test_repeated_examples",
     "an example of x1 repeats: error "),
    (Wrapped(stochastic.RIGHT, _as_a_vector, "as_a_vector"), "test_repeated_examples",
     "an example of x1 repeats: the kernel has shape "),
    (stochastic.OTHER_PROJECTIONS_FOR_GIVEN_X2, "test_repeated_examples", "x2 is given, and equal to x1: error "),
    (stochastic.DOUBLED, "test_spread", "the square of the deviation is 11.4 times what 256 independent projections "
     "give, 1.5 is allowed: they are fewer, or not independent"),
    (stochastic.ONE_KEY_FOR_ALL, "test_seed", "another seed gave the very same estimate"),
    (stochastic.FROM_THE_CLOCK, "test_other_parameters", "the first kernel, after a second one was computed: error "),
    (stochastic.OTHER_PROJECTIONS_FOR_GIVEN_X2, "test_as_many_examples_in_x2",
     "35 examples in x1, as many in x2: error "),
)


@pytest.mark.parametrize(("method", "name", "words"), SAID, ids=lambda value: getattr(value, "name", ""))
def test_the_gate_says(method: Method, name: str, words: str) -> None:
    results = (outcome(test, method) for test in gate_tests(method)
               if test.name == name and test.case in (None, "mlp_gelu"))
    died = next(result for result in results if isinstance(result, Death))
    assert died.message.startswith(words)


def test_another_kernel_of_the_same_seed_is_said_to_be_one() -> None:
    with pytest.raises(AssertionError, match=r"the same seed gave another kernel\n"):
        seed((stochastic.FROM_THE_CLOCK, case("linear")), SELECTION)


@pytest.mark.parametrize(("module", "test", "method", "share"), [
    ("test_independence", "test_batch_size", "equinox.exact", 1 / 2),
    ("test_independence", "test_batch_size", "neural_tangents.auto", 1 / 3),
    ("test_independence", "test_batch_size", "structured_torch", 1),
    ("test_stochastic", "test_unbiased", "structured_torch.monte_carlo", 1 / 2),
    ("test_stochastic", "test_seed_in_float32", "structured_jax.monte_carlo", 1),
    ("test_laws", "test_laws", "structured_jax", 1 / 2),
    ("test_laws", "test_laws", "structured_torch", 1 / 2),
    ("test_drawn", "test_drawn", "structured_jax", 1 / 4),
    ("test_drawn", "test_drawn", "structured_torch", 1 / 2),
    ("test_state", "test_state", "equinox.exact", 1),
])
def test_shares_of_a_run_of_many_methods(module: str, test: str, method: str, share: float) -> None:
    """About that share at each run, and over the runs every test; a whole one is asked for always."""
    names, seeds = [f"tests/gate/{module}.py::{test}[{method}-{i}]" for i in range(20)], range(40)
    given = share_of(module, test, method, framework(method))
    asked = {name: sum(is_drawn(name, given, seed) for seed in seeds) for name in names}
    assert given == share
    assert min(asked.values()) > 0
    assert abs(sum(asked.values()) / (len(names) * len(seeds)) - share) < 0.08


@pytest.mark.parametrize(("method", "n_forms"), [
    ("equinox.exact", 6), ("neural_tangents.auto", 3), ("structured_torch.monte_carlo", 3)])
def test_forms_of_a_run_of_many_methods(method: str, n_forms: int) -> None:
    """Each kind of outputs for every case, mostly in each dtype; over the runs, every form."""
    of, torch = load(method), load("structured_torch")
    forms = {seed: {name: [(check.outputs, check.dtype, check.case.symmetric) for check in checks(method, "exact")
                           if check.case.name == name and is_due(check, of, seed)]
                    for name in ("mlp_relu", "conv_stride", "transformer")} for seed in range(20)}
    for by_case in forms.values():
        for name in ("mlp_relu", "conv_stride"):
            assert len(by_case[name]) == n_forms
            assert len({form[:2] for form in by_case[name]}) == n_forms
            assert [len({form[i] for form in by_case[name]}) for i in range(3)] == [3, 2, 2]
        assert [len({form[i] for form in by_case["transformer"]}) for i in (1, 2)] == [2, 2]
    for name, every in (("mlp_relu", 12), ("transformer", 4)):
        assert len({form for by_case in forms.values() for form in by_case[name]}) == every
    assert all(is_due(check, torch, 0) for check in checks(method, "exact"))
