"""The conjugate kernel in balls: against closed forms in exact arithmetic, and the names of its features."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from reference import MLP, Case, InputError, cases, compare, conjugate, random_case
from reference import case as shared
from reference.conjugate import float64_conjugate, last_features


def exact(array: np.ndarray) -> np.ndarray:
    return np.array([Fraction(float(value)) for value in array.ravel()], dtype=object).reshape(array.shape)


def relu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, x * 0)


def hidden(of: Case, x: np.ndarray) -> list[np.ndarray]:
    """In fractions what the layers of a ReLU network take, and, last, what the first one gives."""
    features, given = [exact(x)], exact(x)
    for i in range(of.network.n_layers - 1):  # pyright: ignore[reportAttributeAccessIssue]
        given = features[-1] @ exact(of.params[f"dense{i}.weight"]).T + exact(of.params[f"dense{i}.bias"])
        features.append(relu(given))
    return [*features, given]


@pytest.mark.parametrize(("layer", "index"), [(None, 1), ("dense1:input", 1), ("dense0:input", 0), ("dense0", 2)])
def test_it_is_that_of_exact_arithmetic(layer: str | None, index: int) -> None:
    of = shared("mlp_relu")
    assert of.x2 is not None
    one, other = hidden(of, of.x1)[index], hidden(of, of.x2)[index]
    due = (one @ other.T / one.shape[1]).astype(float)
    found = conjugate(of, layer)
    np.testing.assert_allclose(found.outputs("trace"), due, rtol=1e-16)
    assert [found.outputs(outputs).shape for outputs in ("full", "diagonal")] == [(4, 2, 1, 1), (4, 2, 1)]
    np.testing.assert_allclose(found.block1[:, 0, 0], ((one * one).sum(1) / one.shape[1]).astype(float), rtol=1e-16)


@pytest.mark.parametrize("name", ["conv_pool_dense", "transformer", "residual_batch_norm"])
def test_float64_is_within_its_balls_and_x2_may_be_x1(name: str) -> None:
    of = shared(name)
    assert of.x2 is not None
    for case in (of, of.with_symmetry()):
        comparison = compare(float64_conjugate(case).full, conjugate(case), outputs="full", dtype="float64",
                             symmetric=case.symmetric)
        assert comparison.ok, comparison.reason
    swapped = replace(of, x1=of.x2, x2=of.x1)
    np.testing.assert_array_equal(conjugate(swapped).full[..., 0, 0], conjugate(of).full[..., 0, 0].T)


def test_the_last_features_are_what_the_last_layer_takes() -> None:
    found = {case.name: last_features(case) for case in cases()}
    assert found["mlp_relu_deep"] == "dense3:input"
    assert found["conv_pool_dense"] == "dense1:input"
    assert found["transformer"] == "tokens:input#2"  # the embedding's weight is that of the head


def test_features_of_a_layer_that_is_used_again_have_its_number() -> None:
    of = shared("tied_dense")
    first, second = conjugate(of, "middle"), conjugate(of, "middle#2")
    assert np.abs(first.full - second.full).max() > 1e-3


@pytest.mark.parametrize(("name", "layer", "message"), [
    ("mlp_relu", "dense7:input", "has no features 'dense7:input'; did you mean dense"),
    ("transformer", "tokens:input", "has no features 'tokens:input'"),
])
def test_features_that_are_not_there(name: str, layer: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        conjugate(shared(name), layer)


def test_a_linear_network_has_its_inputs_for_features() -> None:
    of = random_case("features of a linear network", MLP((3, 2)), 2, None)
    np.testing.assert_allclose(conjugate(of).outputs("trace"), of.x1 @ of.x1.T / 3, rtol=1e-15)
