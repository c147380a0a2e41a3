"""The NNGP kernel: its limit against the last layer by hand, averages at finite width against the limit."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from reference import MLP, Conv, ConvNet, InputError, case, has_limit, infinite_width, random_case, select_outputs
from reference.initialisations import compare_average, draw_outputs, initialised, is_limit_at_every_width
from reference.networks import Activation

N_DRAWS = 1024


def test_the_limit_of_a_linear_network() -> None:
    of = random_case("nngp of a linear network", MLP((5, 3), W_std=1.5, b_std=0.5), 3, 2)
    assert of.x2 is not None
    found = infinite_width(of, "nngp")
    np.testing.assert_allclose(found.full[..., 2, 2], 2.25 * of.x1 @ of.x2.T / 5 + 0.25, rtol=1e-15)
    np.testing.assert_array_equal(found.full[..., 0, 1], 0)
    np.testing.assert_allclose(found.outputs("trace"), 3 * found.full[..., 0, 0], rtol=1e-15)


@pytest.mark.parametrize("network", [
    MLP((3, 4, 4, 2), "erf", W_std=1.5, b_std=0.25), ConvNet((2, 4, 3), (Conv(4),), (2,), "global", W_std=1.5)],
    ids=["MLP", "ConvNet"])
def test_it_is_the_same_in_both_parameterizations_and_what_trains_the_last_layer(network: MLP | ConvNet) -> None:
    """Of the NTK it is the share of the last layer's weights and bias, and the NTK is at least that."""
    of, ntk = (random_case("parameterizations", replace(network, parameterization=which), 3, 2)
               for which in ("standard", "ntk"))
    assert not has_limit(of.network)
    np.testing.assert_array_equal(infinite_width(of, "nngp").full,
                                  infinite_width(replace(ntk, x1=of.x1, x2=of.x2), "nngp").full)
    rest = infinite_width(ntk).block1 - infinite_width(ntk, "nngp").block1
    assert np.einsum("naa->na", rest).min() > 0


@pytest.mark.parametrize("name", ["mlp_relu", "mlp_sin_no_bias", "conv_1x1_no_bias"])
def test_one_hidden_layer_has_the_limit_on_average(name: str) -> None:
    """The tape's average over networks as narrow as they are, against what is proved of infinite width."""
    of = case(name)
    truth = initialised(of, N_DRAWS, seed=1)
    assert math.isinf(truth.n_draws)
    mean = np.einsum("sna,smb->nmab", truth.outputs1, truth.outputs2) / N_DRAWS
    comparison = compare_average(mean, truth, outputs="full", dtype="float64", symmetric=False, n_samples=N_DRAWS)
    assert comparison.ok, comparison.reason
    for factor in (1.5, 3.0):  # of the three outputs, a sum in place of each
        wrong = compare_average(factor * mean, truth, outputs="full", dtype="float64", symmetric=False,
                                n_samples=N_DRAWS)
        assert wrong.status == "wrong"
        assert float(wrong.reason.rpartition(" ")[2]) == pytest.approx(factor, rel=0.25)


def test_a_deep_network_is_not_the_limit_and_is_held_against_draws() -> None:
    """Two averages of such networks agree."""
    of = random_case("deep", MLP((3, 8, 8, 2), "tanh", W_std=1.5), 2, None)
    assert not is_limit_at_every_width(of.network)
    truth = initialised(of, N_DRAWS, seed=1)
    assert truth.n_draws == N_DRAWS
    other = draw_outputs(of, N_DRAWS, np.random.default_rng(2))
    mean = np.einsum("sna,smb->nmab", other, other) / N_DRAWS
    for outputs in ("full", "diagonal", "trace"):
        comparison = compare_average(select_outputs(mean, outputs), truth, outputs=outputs, dtype="float64",
                                     symmetric=True, n_samples=N_DRAWS)
        assert comparison.ok, comparison.reason


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_what_has_no_closed_form_at_its_width(activation: Activation) -> None:
    assert not is_limit_at_every_width(MLP((3, 4, 4, 2), activation))
    assert is_limit_at_every_width(MLP((3, 4, 2), activation)) is (activation == "relu")


def test_input_that_cannot_be_used() -> None:
    with pytest.raises(InputError, match="n_draws must be at least 2, got 1"):
        initialised(case("mlp_relu"), 1)
    with pytest.raises(InputError, match="as 'nngp'"):
        infinite_width(case("mlp_tanh_ntk"), "nngp")
