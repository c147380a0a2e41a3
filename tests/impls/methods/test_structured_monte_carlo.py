"""Structured Monte Carlo: unbiased, repeatable, one set of directions; the gate holds it to all cases besides."""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
import pytest

pytest.importorskip("jax", reason="the JAX half is not installed")
pytest.importorskip("torch", reason="the PyTorch half is not installed")

import jax
import jax.numpy as jnp
import torch

from impls import load
from impls.frameworks.arrays import to_numpy
from impls.methods.options import DISTRIBUTIONS
from impls.structured import projections
from reference import MLP, Case, Expected, InputError, Request, case, expected, float64_expected
from reference.case import DType, Outputs, random_case
from reference.statistics import compare_stochastic
from tests.naive_kernels import assert_right

NAMES = ("structured_jax.monte_carlo", "structured_torch.monte_carlo")
METHODS: dict[str, Any] = {name: load(name) for name in NAMES}
PROJ_DIM = 130

# Wide enough that directions share draws: 64 × 96 and 96 × 80 are reused 4 and 5 times.
WIDE = random_case("monte_carlo_wide", MLP((64, 96, 80, 3), "tanh"), 3, 2)


def kernel(name: str, of_case: Case, *, proj_dim: int = PROJ_DIM, distribution: str = "gaussian",
           **request: Any) -> np.ndarray:
    options = {"proj_dim": proj_dim, "distribution": distribution}
    return to_numpy(METHODS[name].prepare(of_case, Request(options=options, **request))())


def truth(of_case: Case) -> Expected:
    x2 = of_case.x1 if of_case.x2 is None else of_case.x2
    return float64_expected(of_case, range(len(of_case.x1)), range(len(x2)))


def as_truth(estimate: np.ndarray, of_case: Case) -> Expected:
    """For an agreement to rounding with another full estimate; errors are scaled by the proved diagonal as ever."""
    proved = expected(of_case)
    return Expected(estimate.astype(np.float64), proved.block1, proved.block2, "another estimate")


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("outputs", get_args(Outputs))
@pytest.mark.parametrize("name", NAMES)
def test_unbiased_where_draws_are_reused(name: str, outputs: Outputs, distribution: str) -> None:
    proj_dim = 4096
    assert projections.layout(proj_dim, [p.shape for p in WIDE.params.values()]).reuses == (4, 1, 5, 1, 1, 1)
    estimate = kernel(name, WIDE, proj_dim=proj_dim, distribution=distribution, outputs=outputs)
    result = compare_stochastic(estimate, truth(WIDE), outputs=outputs, dtype="float32", symmetric=False,
                                proj_dim=proj_dim, n_checks=1000)
    assert result.ok, result.reason


@pytest.mark.parametrize("name", NAMES)
def test_reuse_leaves_the_variance(name: str) -> None:
    """Over seeds, the mean square error of the diagonal is that of independent Gaussian directions, 2 K²/S.

    The mean of R relative squares of estimates whose law is nearly Gaussian has a relative standard error √(2/R), R
    the independent entries; 3 examples × 16 seeds at least, their outputs being correlated.
    """
    proj_dim, seeds = 256, 16
    exact = np.einsum("nnaa->na", truth(WIDE.with_symmetry()).full)
    estimates = np.array([np.einsum("nnaa->na", kernel(name, WIDE.with_symmetry(), proj_dim=proj_dim, seed=seed))
                          for seed in range(seeds)])
    ratio = float(np.mean(((estimates - exact) / exact) ** 2) / (2 / proj_dim))
    allowed = 4 * math.sqrt(2 / (seeds * len(WIDE.x1)))
    assert abs(ratio - 1) < allowed, f"{ratio:.2f} times the variance of independent directions"


@pytest.mark.parametrize("name", NAMES)
def test_one_parameter_is_exact_with_rademacher_projections(name: str) -> None:
    of_case = random_case("one_parameter", MLP((1, 1), bias=False), 4, 3)
    estimate = kernel(name, of_case, proj_dim=1, distribution="rademacher")
    assert_right(estimate, truth(of_case), "float32")


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("dtype", get_args(DType))
@pytest.mark.parametrize("name", NAMES)
def test_seed_decides_the_directions(name: str, dtype: DType, distribution: str) -> None:
    first, again, other = (kernel(name, WIDE, dtype=dtype, distribution=distribution, seed=seed) for seed in (5, 5, 6))
    assert first.dtype == dtype
    np.testing.assert_array_equal(first, again)
    assert (np.abs(first - other) > 0).all()


@pytest.mark.parametrize("batch_size", [1, 2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_batch_size_changes_nothing(name: str, batch_size: int) -> None:
    of_case = case("conv_stride")
    unblocked, blocked = (kernel(name, of_case, dtype="float64", batch_size=size) for size in (None, batch_size))
    assert_right(blocked, as_truth(unblocked, of_case), "float64")


@pytest.mark.parametrize("outputs", ["diagonal", "trace"])
@pytest.mark.parametrize("name", NAMES)
def test_parts_of_the_full_estimate(name: str, outputs: Outputs) -> None:
    of_case = case("mlp_gelu")
    assert_right(kernel(name, of_case, outputs=outputs), as_truth(kernel(name, of_case), of_case), "float32", outputs)


@pytest.mark.parametrize("name", NAMES)
def test_one_seed_is_one_set_of_directions_for_all_examples(name: str) -> None:
    """K(x1, x2) is a corner of K(x, x) with x both of them, in a call of its own."""
    of_case = case("mlp_gelu")
    assert of_case.x2 is not None
    together = Case("together", of_case.network, of_case.params, np.concatenate([of_case.x1, of_case.x2]))
    n1 = len(of_case.x1)
    corner = kernel(name, together, dtype="float64")[:n1, n1:]
    assert_right(kernel(name, of_case, dtype="float64"), as_truth(corner, of_case), "float64")


def test_global_state_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    plain = kernel(NAMES[0], case("mlp_gelu"))
    kernel(NAMES[1], case("mlp_gelu"))
    assert torch.equal(before, torch.random.get_rng_state())
    with jax.enable_x64(True):
        np.testing.assert_array_equal(kernel(NAMES[0], case("mlp_gelu")), plain)


def test_own_functions() -> None:
    x = np.random.default_rng(0).standard_normal((4, 3)).astype("float32")
    weight = np.ones((3, 2), "float32") / 3
    request = Request(options={"proj_dim": 8192})
    of_jax = METHODS[NAMES[0]].kernel(lambda w, x: jnp.tanh(x @ w), jnp.asarray(weight), jnp.asarray(x), None, request)
    of_torch = METHODS[NAMES[1]].kernel(lambda p, x: torch.tanh(x @ p["w"]), {"w": torch.tensor(weight)},
                                        torch.tensor(x), None, request)
    slopes = 1 - np.tanh(x @ weight) ** 2
    blocks = np.einsum("ni,mi,na,mb,ab->nmab", x, x, slopes, slopes, np.eye(2))
    own = np.einsum("nnab->nab", blocks)
    for estimate in (of_jax, of_torch):
        result = compare_stochastic(to_numpy(estimate), Expected(blocks, own, own, "by hand"), outputs="full",
                                    dtype="float32", symmetric=True, proj_dim=8192, n_checks=1000)
        assert result.ok, result.reason


@pytest.mark.parametrize("shapes", [[(3, 2)], [(4096, 4096), (4096,), (10, 4096)], [(50000, 768)], [(512, 512, 3, 3)]])
@pytest.mark.parametrize("proj_dim", [1, 130, 8192])
def test_layout_covers_the_directions_and_fits(shapes: list[tuple[int, ...]], proj_dim: int) -> None:
    found = projections.layout(proj_dim, shapes)
    assert proj_dim <= found.n_groups * found.group < proj_dim + found.n_groups * (1 + found.n_chunks)
    size = sum(map(math.prod, shapes))
    assert found.chunk * size <= max(projections.NUMBERS_PUSHED, size)
    drawn = sum(found.draws(i) * math.prod(shape) for i, shape in enumerate(shapes))
    assert drawn <= 2 * max(projections.NUMBERS_DRAWN, size)
    assert max(found.reuses) <= projections.MOST_REUSES


REFUSED = {
    "unknown option": ({"n_projections": 3}, "no option 'n_projections'; known are proj_dim, distribution"),
    "no projections": ({"proj_dim": 0}, "proj_dim must be a positive integer, got 0"),
    "fraction": ({"proj_dim": 10.5}, "proj_dim must be a positive integer, got 10.5"),
    "distribution": ({"distribution": "cauchy"}, "distribution='cauchy' is not one of gaussian, rademacher"),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("name", NAMES)
def test_refused_with_a_reason(name: str, what: str) -> None:
    options, message = REFUSED[what]
    with pytest.raises(InputError, match=message):
        METHODS[name].prepare(case("linear"), Request(options=options))
