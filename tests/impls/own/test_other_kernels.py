"""`nngp` and `conjugate` for networks of one's own, of three frameworks: closed forms, and what they leave alone."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from impls import conjugate, nngp
from impls.frameworks.arrays import to_numpy
from reference import InputError

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")

eqx = pytest.importorskip("equinox", reason="factories of three frameworks")
nnx = pytest.importorskip("flax.nnx", reason="factories of three frameworks")
torch = pytest.importorskip("torch", reason="factories of three frameworks")

D, O = 4, 3
RNG = np.random.default_rng(0)
X1, X2 = (RNG.standard_normal((n, D)).astype(np.float32) for n in (3, 2))

# The layers' own initialisations: those of Equinox and PyTorch are uniform in ±1/√d, of variance 1/3d, biases too; Flax
# has weights of variance 1/d and biases of 0.
FACTORIES: dict[str, tuple[Any, float, float]] = {
    "equinox": (lambda key: eqx.nn.Linear(D, O, key=key), 1 / (3 * D), 1 / (3 * D)),
    "flax": (lambda key: nnx.Linear(D, O, rngs=nnx.Rngs(key)), 1 / D, 0.0),
    "torch": (lambda: torch.nn.Linear(D, O), 1 / (3 * D), 1 / (3 * D)),
}


@pytest.mark.parametrize("name", FACTORIES)
def test_a_linear_layer_has_the_covariance_of_its_initialisation(name: str) -> None:
    """Within its standard errors, which are no larger than they should be: over the entries z² averages to about 1."""
    factory, weight, bias = FACTORIES[name]
    due = (weight * X1 @ X2.T + bias)[:, :, None, None] * np.eye(O)
    found = nngp(factory, X1, X2, n_samples=2000, seed=1)
    kernel, error = to_numpy(found.kernel), to_numpy(found.standard_error)
    assert kernel.shape == error.shape == (3, 2, O, O)
    z = (kernel - due) / error
    assert np.abs(z).max() < 5
    assert 0.3 < (z**2).mean() < 2.5
    for outputs, part in (("diagonal", np.einsum("nmaa->nma", kernel)), ("trace", np.einsum("nmaa->nm", kernel))):
        again = nngp(factory, X1, X2, n_samples=2000, seed=1, outputs=outputs, batch_size=2)  # pyright: ignore[reportArgumentType]
        np.testing.assert_allclose(to_numpy(again.kernel), part, rtol=1e-4, atol=1e-6)
        assert again.standard_error.shape == part.shape
    spread = np.sqrt((np.einsum("nmaa->nma", error) ** 2).sum(-1))  # outputs are independent of each other
    np.testing.assert_allclose(to_numpy(again.standard_error), spread, rtol=0.2)


def test_pytorch_generator_is_left_as_it_was() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = nngp(lambda: torch.nn.Linear(D, O), X1, n_samples=4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    second, other = nngp(lambda: torch.nn.Linear(D, O), X1, n_samples=4), nngp(
        lambda: torch.nn.Linear(D, O), X1, n_samples=4, seed=1)
    assert torch.equal(first.kernel, second.kernel)
    assert not torch.equal(first.kernel, other.kernel)


def test_networks_are_evaluated_and_not_trained() -> None:
    """Dropout of everything would leave zeros."""
    dropped = nngp(lambda: torch.nn.Sequential(torch.nn.Linear(D, 2), torch.nn.Dropout(1.0)), X1, n_samples=8)
    assert bool((torch.einsum("nnaa->na", dropped.kernel) > 0).all())
    flax = nngp(lambda key: nnx.Sequential(nnx.Linear(D, 2, rngs=nnx.Rngs(key)), nnx.Dropout(1.0)), X1, n_samples=8)
    assert np.einsum("nnaa->na", to_numpy(flax.kernel)).min() > 0


ONE = torch.nn.Linear(D, O)


@pytest.mark.parametrize(("factory", "x1", "options", "message"), [
    (lambda: ONE, X1, {}, "must return a new torch.nn.Module each time, got the very module of before"),
    (lambda: 3, X1, {}, "must return a new torch.nn.Module each time, got int"),
    (lambda key: eqx.nn.Linear(D, O, key=eqx.internal.GetKey()()), X1, {}, "must draw its parameters from the key"),
    (lambda key: 3, X1, {}, "a pair of one and its state, or a Flax NNX module, got int"),
    (lambda key, width: None, X1, {}, "the factory takes key, width; give a function of the key alone"),
    (3, X1, {}, "the factory must be a function, got 3"),
    (lambda: torch.nn.Linear(D, O), X1, {"n_samples": 1}, "n_samples must be an integer of at least 2, got 1"),
    (lambda: torch.nn.Linear(D, O), np.full((2, D), np.nan), {}, "x1 is not finite at index"),
    (lambda: torch.nn.Linear(D, O), X1, {"outputs": "mean"}, "outputs='mean' is not one of full, diagonal, trace"),
])
def test_what_is_refused(factory: Any, x1: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        nngp(factory, x1, **cast(Any, {"n_samples": 4} | options))


def relu(x: Any) -> Any:
    return np.maximum(x, 0)


def networks() -> dict[str, tuple[Any, np.ndarray, np.ndarray, str, str]]:
    """With the weights and biases of their first layer, and the names of their last layer and of its activation."""
    import jax

    module = torch.nn.Sequential(torch.nn.Linear(D, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2))
    equinox = eqx.nn.MLP(D, 2, 6, 1, key=jax.random.key(0))
    flax = nnx.Sequential(nnx.Linear(D, 6, rngs=nnx.Rngs(0)), nnx.relu, nnx.Linear(6, 2, rngs=nnx.Rngs(1)))
    return {
        "torch": (module, module[0].weight.detach().numpy(), module[0].bias.detach().numpy(), "2:input", "0"),
        "equinox": (equinox, np.asarray(equinox.layers[0].weight), np.asarray(equinox.layers[0].bias), "layers.1:input",
                    "layers.0"),
        "flax": (flax, np.asarray(flax.layers[0].kernel[...]).T, np.asarray(flax.layers[0].bias[...]), "layers.2:input",
                 "layers.0"),
    }


@pytest.mark.parametrize("name", ["torch", "equinox", "flax"])
def test_features_of_a_named_layer(name: str) -> None:
    """What the last layer takes, after the activation; and what the first one gives, before it."""
    model, weight, bias, last, first = networks()[name]
    for layer, function in ((last, relu), (first, lambda x: x)):
        phi1, phi2 = (function(x @ weight.T + bias) for x in (X1, X2))
        for batch_size in (None, 2):
            found = conjugate(model, X1, X2, layer=layer, batch_size=batch_size)
            np.testing.assert_allclose(to_numpy(found), phi1 @ phi2.T / 6, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(to_numpy(conjugate(model, X1, layer=layer)), phi1 @ phi1.T / 6, rtol=1e-4, atol=1e-6)
    with pytest.raises(InputError, match="the network has no layer"):
        conjugate(model, X1, layer="nowhere")


def test_a_function_has_no_layers() -> None:
    with pytest.raises(InputError, match="the features of a layer are those of"):
        conjugate((lambda params, x: x @ params, np.ones((D, 1))), X1, layer="0")
