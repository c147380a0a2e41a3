"""The truth for a limit method: the kernel of infinite width, or what averages at finite width tend to.

Where the infinite-width kernel has a closed form, the reference encloses it (`reference.infinite_width`), and a limit
kernel is held to it like an exact one; one of ReLU with the tolerance of its closed form. For other activations (tanh)
the kernel of a network with n hidden units a layer, averaged over the draws of its parameters, differs from the limit
by O(1/n) (Jacot et al. 2018, theorem 1; Hanin & Nica 2020 for the rate). It is computed with the reference's own tape,
at three widths, for one output: outputs are exchangeable, and for a ≠ b the average is 0 by the symmetry W_a → −W_a of
the last layer, so the expected kernel is that of one output on the diagonal of the output axes. A kernel passes where,
at every width, it is within `LIMIT_STANDARD_ERRORS` standard errors of the average plus `LIMIT_BIAS`/width: a bound
that shrinks as the width grows. The draws are seeded, so the verdict does not vary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from reference import (
    MLP,
    Case,
    Comparison,
    Conv,
    ConvNet,
    Expected,
    Request,
    case,
    check_form,
    compare,
    draw_params,
    float64_expected,
    has_limit,
    infinite_width,
    normalised,
    random_case,
    seed_of,
    structural_fault,
    tolerance,
)
from reference.networks import Activation
from reference.tolerances import LIMIT_BIAS, LIMIT_STANDARD_ERRORS, ToleranceKind

WIDTHS = (16, 64, 256)
N_DRAWS = 64
"""At each width."""

_ACTIVATIONS: tuple[Activation, ...] = ("relu", "erf", "gelu", "sin")


@cache
def limit_cases() -> tuple[Case, ...]:
    """Every activation that has a limit in closed form, with and without biases, and a convolution."""
    networks: dict[str, MLP | ConvNet] = {
        f"limit_{activation}{'' if bias else '_no_bias'}":
            MLP((3, 4, 4, 2), activation, bias, parameterization="ntk", W_std=1.4, b_std=0.75)
        for activation in _ACTIVATIONS for bias in (True, False)}
    networks["limit_conv"] = ConvNet((2, 4, 3), (Conv(4, (3, 3), padding=(1, 1)),), (2,), "flatten", "relu",
                                     parameterization="ntk", W_std=1.4, b_std=0.75)
    return tuple(random_case(name, network, 3, 2) for name, network in networks.items())


@dataclass(frozen=True)
class Average:
    """Of the finite-width kernel of one output at one width, over the examples of x1 and then of x2: (N1+N2, N1+N2)."""

    width: int
    mean: np.ndarray
    standard_error: np.ndarray


def compare_limit(kernel: Any, of: Case, request: Request) -> Comparison:
    """Hold a limit kernel of the case `of` against the truth."""
    if not has_limit(of.network):
        return compare_averages(kernel, of, request)
    return compare(kernel, expected_limit(of), outputs=request.outputs, dtype=request.dtype, symmetric=of.symmetric,
                   kind=limit_tolerance(of))


def limit_tolerance(of: Case) -> ToleranceKind:
    return "closed_form" if getattr(of.network, "activation", "") == "relu" else "exact"


def compare_averages(kernel: Any, of: Case, request: Request) -> Comparison:
    """Hold it against the averages of the finite-width kernels, at every width."""
    malformed = check_form(kernel, expected_average(of), outputs=request.outputs, dtype=request.dtype)
    if malformed is not None:
        return malformed
    values = kernel.astype(np.float64)
    comparisons = [_compare_at(average, values, of, request) for average in averages(of.name)]
    if wrong := [comparison for comparison in comparisons if not comparison.ok]:
        return wrong[-1]
    fault = structural_fault(values, request.outputs, request.dtype) if of.symmetric else ""
    return replace(comparisons[-1], status="wrong" if fault else "ok", reason=fault)


def expected_limit(of: Case) -> Expected:
    """The limit; where it has no closed form, within a few per cent of it."""
    return infinite_width(of) if has_limit(of.network) else expected_average(of)


def expected_average(of: Case) -> Expected:
    """The average at the largest width."""
    return _expected(averages(of.name)[-1].mean, of)


def _compare_at(average: Average, values: np.ndarray, of: Case, request: Request) -> Comparison:
    expected = _expected(average.mean, of)
    norms = np.sqrt(np.diag(average.mean))
    slack = LIMIT_STANDARD_ERRORS * average.standard_error + LIMIT_BIAS / average.width * np.outer(norms, norms)
    allowed = _expected(slack, of).outputs(request.outputs) + tolerance(request.dtype) * expected.scale(request.outputs)
    excess = np.abs(values - expected.outputs(request.outputs)) / allowed
    worst = tuple(int(i) for i in np.unravel_index(np.argmax(excess), excess.shape))
    error = float(normalised(values - expected.outputs(request.outputs), expected.scale(request.outputs)).max())
    limit = float(normalised(allowed, expected.scale(request.outputs))[worst])
    if excess[worst] <= 1:
        return Comparison("ok", error, limit)
    truth = expected.outputs(request.outputs)[worst]
    return Comparison("wrong", error, limit, (
        f"not the limit: {values[worst]:.5g} at {worst}, where the finite-width kernel averages {truth:.5g} at width "
        f"{average.width}; {allowed[worst]:.2g} is allowed between them"))


@cache
def averages(name: str) -> tuple[Average, ...]:
    """The averages at `WIDTHS` for the case of that name, over the examples of x1 and x2 together."""
    of = next((limit for limit in limit_cases() if limit.name == name), None) or case(name)
    return tuple(_average(of, width) for width in WIDTHS)


def _average(of: Case, width: int) -> Average:
    network = widened(of.network, width)
    x = of.x1 if of.x2 is None else np.concatenate([of.x1, of.x2])
    rng = np.random.default_rng(seed_of(f"{of.name} at width {width}"))
    drawn = (Case(of.name, network, draw_params(network, rng), x) for _ in range(N_DRAWS))
    draws = np.array([float64_expected(one, range(len(x)), range(len(x))).full[..., 0, 0] for one in drawn])
    return Average(width, draws.mean(0), draws.std(0, ddof=1) / np.sqrt(N_DRAWS))


def widened(network: Any, width: int) -> MLP | ConvNet:
    """The same network with `width` hidden units, or channels, in every layer, and one output."""
    if isinstance(network, MLP):
        inputs, *hidden, _ = network.widths
        return replace(network, widths=(inputs, *(width for _ in hidden), 1))
    convs = tuple(replace(conv, channels=width) for conv in network.convs)
    return replace(network, convs=convs, dense=(*(width for _ in network.dense[1:]), 1))


def _expected(one_output: np.ndarray, of: Case) -> Expected:
    """Values (N1+N2, N1+N2) for one output as those of the case: on the diagonal of the output axes, 0 beside it."""
    n1, n_outputs = len(of.x1), of.network.n_outputs
    assert n_outputs is not None
    columns = slice(0, n1) if of.x2 is None else slice(n1, n1 + len(of.x2))
    spread = one_output[:, :, None, None] * np.eye(n_outputs)
    diagonal = np.einsum("nnab->nab", spread)
    return Expected(spread[:n1, columns], diagonal[:n1], diagonal[columns], "averages of finite-width kernels")
