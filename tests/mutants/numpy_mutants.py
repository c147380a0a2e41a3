"""Mistakes in a plain method of the reference's kind: per-example Jacobians in NumPy, then their products.

Those of `tests.planted` are among them: whole methods, each with one mistake.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from impls import Method
from impls.protocol import Kind
from reference import Case, Layered, Request, select_outputs
from tests.mutants import mistakes
from tests.mutants.mutant import Mutant, after, from_full, wrapped
from tests.planted import exact, requests, stochastic
from tests.planted.correct import jacobians, product, second_inputs
from tests.planted.exact import Compute, Planted

BASE, RANDOM_BASE = "planted.correct", "planted.right_projections"


def _computing(compute: Compute) -> Callable[[Method], Method]:
    return lambda base: Planted("computing", compute)


def _full(change: Callable[[np.ndarray, Case, Request], np.ndarray]) -> Callable[[Method], Method]:
    return from_full(lambda full, case, request: select_outputs(change(full, case, request), request.outputs))


def _frozen_counted(case: Case, request: Request) -> np.ndarray:
    frozen = list(case.network.frozen) if isinstance(case.network, Layered) else []
    every = [*case.params, *frozen]
    return _of_parameters(every, case, request)


def _of_parameters(names: list[str], case: Case, request: Request) -> np.ndarray:
    kernel = product(jacobians(case, case.x1, names), jacobians(case, second_inputs(case), names))
    return select_outputs(kernel, request.outputs).astype(request.dtype)


def _one_layer_dropped(case: Case, request: Request) -> np.ndarray:
    first = next(iter(case.params)).partition(".")[0]
    return _of_parameters([name for name in case.params if name.partition(".")[0] != first], case, request)


def _jtj(case: Case, request: Request) -> np.ndarray:
    left = jacobians(case, case.x1)
    n, n_outputs, p = left.shape
    if request.outputs != "full" or not case.symmetric or n * n_outputs < p:
        return exact.right(case, request)
    return np.einsum("nap,naq->pq", left, left)[None, None].astype(request.dtype)


def _cosine(case: Case, request: Request) -> np.ndarray:
    left, right = (x / np.linalg.norm(x, axis=2, keepdims=True)
                   for x in (jacobians(case, case.x1), jacobians(case, second_inputs(case))))
    return select_outputs(product(left, right), request.outputs).astype(request.dtype)


def _divided_by_parameters(full: np.ndarray, case: Case, request: Request) -> np.ndarray:
    return full / sum(array.size for array in case.params.values())


def _last_examples_dropped(full: np.ndarray, case: Case, request: Request) -> np.ndarray:
    full = full.copy()
    if (size := request.batch_size) is not None:
        full[len(full) // size * size:] = 0
    return full


def _padded_with_nan(full: np.ndarray, case: Case, request: Request) -> np.ndarray:
    """Padding examples on which the network gives NaN, masked by a factor of 0 and added to the last one."""
    full, size = full.copy(), request.batch_size
    if size is not None and len(full) % size:
        full[-1] += 0.0 * np.nan
    return full


def _wrong_ridge(full: np.ndarray, case: Case, request: Request) -> np.ndarray:
    """Within the tolerance of each entry where the kernel is rank deficient: its smallest eigenvalues are negative."""
    identity = np.einsum("nm,ab->nmab", np.eye(*full.shape[:2]), np.eye(*full.shape[2:]))
    return full - 1e-3 * identity if case.symmetric else full


def _outputs_after_16_dropped(full: np.ndarray, case: Case, request: Request) -> np.ndarray:
    full = full.copy()
    full[:, :, 16:, 16:] = 0
    return full


def _half_of_the_projections(case: Case, request: Request) -> np.ndarray:
    """Each projection is used with both signs, which changes nothing: half as many as were asked for."""
    n = request.options["proj_dim"]
    v = _normal(case, request)[:, :n // 2]
    return _estimate(np.concatenate([v, -v], 1), case, request)


def _one_block_of_keys(case: Case, request: Request) -> np.ndarray:
    """The projections repeat after 64."""
    n = request.options["proj_dim"]
    return _estimate(np.tile(_normal(case, request)[:, :64], n // 64 + 1)[:, :n], case, request)


def _uniform(case: Case, request: Request) -> np.ndarray:
    """Uniform in (−1, 1), whose variance is 1/3."""
    shape = (_n_params(case), request.options["proj_dim"])
    return _estimate(np.random.default_rng(request.seed).uniform(-1, 1, shape), case, request)


def _not_centred(case: Case, request: Request) -> np.ndarray:
    """0 or √2 for −1 or 1: the variance is right, the mean is not 0."""
    shape = (_n_params(case), request.options["proj_dim"])
    return _estimate(2**0.5 * np.random.default_rng(request.seed).integers(0, 2, shape), case, request)


def _one_sign_for_all(case: Case, request: Request) -> np.ndarray:
    """One random number for each tensor, not for each of its entries."""
    rng = np.random.default_rng(request.seed)
    draws = [np.repeat(rng.standard_normal((1, request.options["proj_dim"])), array.size, 0)
             for array in case.params.values()]
    return _estimate(np.concatenate(draws), case, request)


def _normal(case: Case, request: Request) -> np.ndarray:
    return np.random.default_rng(request.seed).standard_normal((_n_params(case), request.options["proj_dim"]))


def _n_params(case: Case) -> int:
    return sum(array.size for array in case.params.values())


def _estimate(v: np.ndarray, case: Case, request: Request) -> np.ndarray:
    left, right = jacobians(case, case.x1) @ v, jacobians(case, second_inputs(case)) @ v
    kernel = np.tensordot(left, right, (2, 2)).transpose(0, 2, 1, 3) / v.shape[1]
    return select_outputs(kernel, request.outputs).astype(request.dtype)


def _drawing(compute: Compute) -> Callable[[Method], Method]:
    kind: Kind = "stochastic"
    return lambda base: Planted("drawing", compute, kind=kind)


def _mutant(name: str, item: str, what: str, make: Callable[[Method], Method], case: str | None = "mlp_relu",
            architecture: str = "MLP", base: str = BASE, **options: Any) -> Mutant:
    return Mutant(f"numpy.{name}", item, architecture, what, base, make, case, **options)


def _planted(method: Method, item: str, what: str, case: str | None = "mlp_gelu", base: str = BASE,
             **options: Any) -> Mutant:
    name = method.name.removeprefix("planted.").lower()
    return Mutant(f"planted.{name}", item, "MLP", what, base, lambda _: method, case, **options)


def _options(options: Any) -> dict[str, Any]:
    return options


IN_REQUESTS = {"case": None, "check": "test_blocks_then_other_parameters"}

MUTANTS = (
    _planted(exact.BIASES_FORGOTTEN, "1", "weights alone are parameters"),
    _planted(exact.SUM_OVER_ALL_PAIRS, "7", "a cotangent of ones for the trace", outputs="trace"),
    _planted(exact.MEAN_FOR_TRACE, "9", "the mean over outputs for their sum", outputs="trace"),
    _planted(exact.TRACE_FOR_DIAGONAL, "10", "each output is given the trace's kernel", outputs="diagonal"),
    _planted(exact.OUTPUTS_TRANSPOSED, "16", "output axes are transposed"),
    _planted(exact.INPUTS_SWAPPED, "16", "x1 and x2 are swapped"),
    _planted(exact.OUTPUTS_BEFORE_X2, "16", "(N1, O, N2, O) for (N1, N2, O, O)"),
    _planted(exact.TF32_PRODUCTS, "18", "products of numbers rounded to TF32's 10 bits", dtype="float32"),
    _planted(exact.FLOAT16_SUMS, "18", "sums in float16", dtype="float32"),
    _planted(exact.FLOAT32_INSIDE, "18", "float64 asked for and given, float32 computed"),
    _planted(exact.FLOAT32_ALWAYS, "18", "float32 where float64 was asked for"),
    _planted(exact.NOT_FINITE, "21", "an entry that is not finite is passed on"),
    _planted(exact.BARELY_ASYMMETRIC, "21", "each entry within the tolerance, and yet not symmetric", symmetric=True),
    _planted(exact.NOT_POSITIVE, "21", "a ridge of the wrong sign: an eigenvalue near −0.24"),
    _planted(exact.LAST_BLOCK_DROPPED, "12", "examples that batch_size does not divide stay 0",
             check="test_batch_size"),
    _planted(exact.STALE_PARAMETERS, "20", "the parameters of the first call are baked in",
             check="test_other_parameters"),
    _planted(exact.INPUTS_OVERWRITTEN, "19", "x1 is doubled in place"),
    _planted(exact.GENERATOR_RESEEDED, "19", "NumPy's random generator is seeded", None,
             check="test_no_global_state_is_changed"),
    _planted(exact.NO_OUTPUT_AXES, "6", "output 0 only, without output axes"),
    _planted(requests.SYMMETRIC_BY_SHAPE, "16", "x2 of the shape of x1 is taken for x1", None,
             check="test_as_many_examples_in_x2"),
    _planted(requests.MORE_THAN_8_EXAMPLES, "12", "wrong from the ninth example on", None,
             check="test_as_many_examples_in_x2"),
    _planted(requests.BLOCKED_TRACE, "12", "wrong in blocks, for the trace only", **IN_REQUESTS),
    _planted(requests.BLOCKED_FLOAT32, "12", "wrong in blocks, in float32 only", **IN_REQUESTS),
    _planted(requests.BLOCKS_OF_ONE, "12", "wrong in blocks of one example", **IN_REQUESTS),
    _planted(requests.PADDED_BLOCK, "12", "wrong in a block that is larger than both batches", **IN_REQUESTS),
    _planted(requests.STALE_IN_FLOAT32, "20", "the first kernel of a case, for ever after, in float32", **IN_REQUESTS),
    _planted(exact.SKIPS_ALL, "", "refuses every case, with a reason", check="the summary"),
    _mutant("frozen_counted", "4", "frozen parameters are counted", _computing(_frozen_counted), "frozen",
            "frozen MLP"),
    _mutant("layer_dropped", "17", "the first layer's parameters are left out", _computing(_one_layer_dropped),
            "recurrent", "recurrent"),
    _mutant("layer_dropped_transformer", "17", "the embedding, tied to the output layer, is left out",
            _computing(_one_layer_dropped), "transformer", "transformer"),
    _mutant("jtj", "5", "JᵀJ for J Jᵀ once there are more rows than parameters", _computing(_jtj),
            "mlp_few_parameters", symmetric=True),
    _mutant("cosine", "15", "each gradient is normalised first", _computing(_cosine), "mlp_one_output"),
    _mutant("divided", "", "divided by the number of parameters", _full(_divided_by_parameters), "conv_ntk", "ConvNet"),
    _mutant("last_examples_dropped", "12", "examples that batch_size does not divide stay 0",
            _full(_last_examples_dropped), "residual_batch_norm", "residual ConvNet", check="test_batch_size"),
    _mutant("padded_with_nan", "12", "NaN from padding, masked by a factor of 0", _full(_padded_with_nan),
            "residual_batch_norm", "residual ConvNet", check="test_batch_size"),
    _mutant("wrong_ridge", "21", "a ridge of 1e-3 is subtracted", _full(_wrong_ridge), "mlp_few_parameters",
            symmetric=True),
    _mutant("outputs_after_16_dropped", "12", "outputs beyond a block of 16 stay 0", _full(_outputs_after_16_dropped),
            None, check="test_more_parameters_and_outputs"),
    _mutant("squeezed", "", "axes of length 1 are dropped", after(mistakes.squeezed), "mlp_one_output"),
    _mutant("outputs_first", "16", "(O, N1, N2) for (N1, N2, O)", from_full(mistakes.outputs_first), "mlp_relu",
            outputs="diagonal"),
    _mutant("parameters_rounded", "18", "parameters went through float16", wrapped(mistakes.parameters_rounded)),
    *(_planted(method, item, what, base=RANDOM_BASE, case="mlp_relu", **options) for method, item, what, options in (
        (stochastic.TENTH_TOO_LARGE, "", "a tenth too large", {"symmetric": True}),
        (stochastic.DOUBLED, "", "twice too large", {}),
        (stochastic.NOT_DIVIDED, "14", "the sketch is not divided by its dimension", {}),
        (stochastic.ONE_KEY_FOR_ALL, "20", "one seed for all repeats", {"check": "test_seed"}),
        (stochastic.OTHER_PROJECTIONS_FOR_X2, "11", "other projections for x2", {"symmetric": True}))),
    *(_mutant(name, item, what, _drawing(compute), base=RANDOM_BASE, **_options(options))
      for name, item, what, compute, options in (
        ("projections_repeat", "20", "the projections repeat after 64", _one_block_of_keys, {"symmetric": True}),
        ("projections_with_both_signs", "", "each projection with both signs: half as many as asked for",
         _half_of_the_projections, {"case": None, "check": "test_spread"}),
        ("projections_uniform", "", "projections uniform in (−1, 1), not scaled", _uniform, {"symmetric": True}),
        ("projections_not_centred", "", "projections of mean 1/√2", _not_centred, {"symmetric": True}),
        ("projections_by_tensor", "", "one random number for each tensor", _one_sign_for_all, {"symmetric": True}))),
)
