"""The records under tests/records/ belong to the code and the cases as they are, and show what they should."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from reference import case
from reference.pooled import as_matrix
from reference.tolerances import FALSE_ALARM_LEVEL, FALSE_ALARM_SHARES, POWER, SLOPE_ERROR
from tests.gate.stochastic import Shares, pooled
from tests.planted.stochastic import RIGHT
from tests.records.false_alarms import PATH, case_digests, clopper_pearson, simulate, source_digest
from tests.records.power import acceptance, biased_kernels, distribution, power
from tests.records.wishart import draw_kernels

RECORD: dict[str, Any] = json.loads(PATH.read_text())  # made by `nox -s false_alarms`
REMEDY = "make it anew with `nox -s false_alarms`"


def part(name: str) -> dict[str, Any]:
    if name not in RECORD:
        pytest.skip(f"the part {name!r} of {PATH.name} is still to be made: {REMEDY} (-- --parts {name})")
    return RECORD[name]


def test_the_record_is_of_this_code() -> None:
    assert RECORD["source"] == source_digest(), f"the statistics have changed since {PATH.name} was made: {REMEDY}"


def test_the_record_is_of_these_cases() -> None:
    assert RECORD["cases"] == case_digests(), f"the cases have changed since {PATH.name} was made: {REMEDY}"


def test_false_alarms_are_as_rare_as_promised() -> None:
    simulated = RECORD["runs"]
    assert simulated["runs"] >= 1000
    bound = clopper_pearson(simulated["runs with an alarm"], simulated["runs"], 0.95)
    assert bound == pytest.approx(simulated["upper bound on the probability at 95 %"])
    assert bound <= FALSE_ALARM_LEVEL
    assert sum(FALSE_ALARM_SHARES.values()) <= 1 + 1e-12


def test_power_is_as_great_as_promised() -> None:
    for name, found in part("power").items():
        assert found["least power"] >= POWER, name
        assert found["Rademacher margin"] >= 1, name


def test_slopes_were_far_from_the_edge() -> None:
    assert 5 * RECORD["runs"]["slope"]["standard deviation"] < SLOPE_ERROR


def test_installed_methods_gave_no_alarm() -> None:
    assert part("methods")
    for name, found in part("methods").items():
        assert found["estimates"] >= 1000, name
        assert not any(found["alarms by kind"].values()), name


def test_clopper_pearson() -> None:
    assert clopper_pearson(0, 1000, 0.95) == pytest.approx(1 - 0.05 ** (1 / 1000), rel=1e-9)
    p = clopper_pearson(3, 1000, 0.95)
    assert sum(math.comb(1000, k) * p**k * (1 - p) ** (1000 - k) for k in range(4)) == pytest.approx(0.05, rel=1e-9)


def test_the_law_of_a_mean_of_squares() -> None:
    """χ² with 2k degrees of freedom is above x with the probability that a Poisson variable of mean x/2 is below k."""
    for x in (60.0, 80.0, 100.0):
        above = sum(math.exp(-x / 2) * (x / 2) ** k / math.factorial(k) for k in range(40))
        assert distribution(np.full(2, 1.0), 40, x / 40) == pytest.approx(1 - above, abs=1e-9)


def test_power_is_what_simulation_finds() -> None:
    """Of the hardest bias of a case, with a plan that finds it half of the time."""
    statistics, rng, few, n = pooled("mlp_relu"), np.random.default_rng(0), 20_000, 400
    low, high = acceptance(statistics, few, 1e-5)
    kernel = biased_kernels(case("mlp_relu"))["factor 1.02 on output 0"]
    values = statistics.statistics(draw_kernels(kernel, few, n, rng))
    found = ((values < low) | (values > high)).mean(0)
    worked_out = [1 - distribution(mu, few, b) + distribution(mu, few, a)
                  for mu, a, b in zip(_eigenvalues(statistics.weights, kernel), low, high, strict=True)]
    assert max(worked_out) > 0.2
    np.testing.assert_allclose(found, worked_out, atol=4 * 0.5 / np.sqrt(n))


def _eigenvalues(weights: np.ndarray, kernel: np.ndarray) -> list[np.ndarray]:
    return [np.sort(np.linalg.eigvals(weight @ as_matrix(kernel)).real) for weight in weights]


def test_power_of_a_case() -> None:
    found = power(case("linear"), Shares.of([RIGHT]).bias_level)
    assert {"factor 1.02", "factor 0.98 on output 2", "without dense0.weight"} <= set(found)
    assert min(found.values()) >= POWER


def test_wishart_estimates_have_the_moments_of_projections() -> None:
    jac, rng, proj_dim = np.random.default_rng(1).standard_normal((3, 2, 20)), np.random.default_rng(0), 16
    full = np.einsum("nap,mbp->nmab", jac, jac)
    drawn = draw_kernels(full, proj_dim, 20_000, rng)
    own = np.einsum("nnaa->na", full)
    deviation = np.sqrt((full**2 + np.einsum("na,mb->nmab", own, own)) / proj_dim)
    assert (np.abs(drawn.mean(0) - full) < 5 * deviation / np.sqrt(20_000)).all()
    np.testing.assert_allclose(drawn.std(0), deviation, rtol=0.05)
    assert draw_kernels(full, 3, 2, rng).shape == (2, 3, 3, 2, 2)  # fewer projections than rows


def test_a_wrong_estimator_raises_alarms(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulation can see: estimates a twentieth too large fail every kind of test but that of the seeds."""
    def biased(*args: Any) -> np.ndarray:
        return 1.05 * draw_kernels(*args)

    monkeypatch.setattr("tests.records.false_alarms.draw_kernels", biased)
    failed = simulate(2, ["mlp_relu"])["runs"]
    assert failed["entries"] or failed["bias"]
    assert failed["bias"] == failed["convergence"] == {0, 1}
    assert not failed["seeds"]
