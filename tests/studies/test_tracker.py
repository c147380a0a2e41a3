"""The tracker: its figures against other ways to them, and that nobody's training notices it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax", reason="the JAX half is not installed")
pytest.importorskip("equinox", reason="the JAX half is not installed")
pytest.importorskip("torch", reason="the PyTorch half is not installed")

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import torch
from torch import nn

from reference import InputError, tolerance
from studies.sinks import Record
from studies.tracking import Tracker
from studies.tracking.changes import change, velocity
from studies.tracking.features import observe, weights
from studies.tracking.ranks import rank_drop
from tests.gate.state import global_state

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((12, 6)).astype(np.float32), np.arange(12) % 3
TRAIN = [(RNG.standard_normal((8, 6)).astype(np.float32), RNG.integers(0, 3, 8)) for _ in range(6)]


def torch_module() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Dropout(0.3), nn.Linear(9, 3))


def equinox_module() -> tuple[Any, Any]:
    key = jax.random.key(0)
    return eqx.nn.make_with_state(lambda: eqx.nn.Sequential([
        eqx.nn.Linear(6, 9, key=key), eqx.nn.BatchNorm(9, "batch", mode="batch"), eqx.nn.Lambda(jax.nn.relu),
        eqx.nn.Dropout(0.3), eqx.nn.Linear(9, 3, key=key)]))()


def flax_module() -> Any:
    nnx = pytest.importorskip("flax.nnx", reason="Flax is not installed")

    class Network(nnx.Module):
        def __init__(self, rngs: Any) -> None:
            self.layers = nnx.List([nnx.Linear(6, 9, rngs=rngs), nnx.BatchNorm(9, rngs=rngs),
                                    nnx.Dropout(0.3, rngs=rngs), nnx.Linear(9, 3, rngs=rngs)])
            self.act = nnx.relu

        def __call__(self, x: jax.Array) -> jax.Array:
            first, norm, dropout, last = self.layers
            return last(dropout(self.act(norm(first(x)))))

    return Network(nnx.Rngs(0))


# --- training goes on to the same weights, to the bit ---


def train_torch(tracker: Callable[..., Any]) -> list[np.ndarray]:
    module = torch_module().train()
    optimiser = torch.optim.Adam(module.parameters(), 0.01)
    for step, (x, y) in enumerate(TRAIN):
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(torch.tensor(x)), torch.tensor(y)).backward()
        tracker(step, module)  # where it does most harm: after the gradients, with the random numbers drawn
        optimiser.step()
    assert all(part.training for part in module.modules())
    assert not any(part._forward_hooks for part in module.modules())
    state = optimiser.state_dict()["state"]
    return [*(value.numpy() for value in module.state_dict().values()), torch.get_rng_state().numpy(),
            *(value.numpy() for of in state.values() for value in of.values())]


def train_equinox(tracker: Callable[..., Any]) -> list[np.ndarray]:
    model, state = equinox_module()
    optimiser = optax.adam(0.01)
    memory = optimiser.init(eqx.filter(model, eqx.is_inexact_array))

    @eqx.filter_jit
    def update(model: Any, state: Any, memory: Any, x: Any, y: Any, key: Any) -> Any:
        def loss(model: Any) -> Any:
            run = jax.vmap(lambda x, state, key: model(x, state, key=key), axis_name="batch", in_axes=(0, None, 0),
                           out_axes=(0, None))
            outputs, new = run(x, state, jax.random.split(key, len(x)))
            return optax.softmax_cross_entropy_with_integer_labels(outputs, y).mean(), new

        (_, new), gradients = eqx.filter_value_and_grad(loss, has_aux=True)(model)
        updates, memory_ = optimiser.update(gradients, memory, model)
        return eqx.apply_updates(model, updates), new, memory_

    for step, (x, y) in enumerate(TRAIN):
        tracker(step, (model, state))
        model, state, memory = update(model, state, memory, x, y, jax.random.key(step))
    return [np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter((model, state, memory), eqx.is_array))]


def train_flax(tracker: Callable[..., Any]) -> list[np.ndarray]:
    nnx = pytest.importorskip("flax.nnx", reason="Flax is not installed")
    module = flax_module()
    module.train()
    optimiser = nnx.Optimizer(module, optax.adam(0.01), wrt=nnx.Param)

    @nnx.jit
    def update(module: Any, optimiser: Any, x: Any, y: Any) -> None:
        def loss(module: Any) -> Any:
            return optax.softmax_cross_entropy_with_integer_labels(module(x), y).mean()

        optimiser.update(module, nnx.grad(loss)(module))

    for step, (x, y) in enumerate(TRAIN):
        tracker(step, module)
        update(module, optimiser, x, y)
    assert not module.layers[2].deterministic
    state = jax.tree.leaves((nnx.state(module), nnx.state(optimiser)))
    return [np.asarray(jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf)
            for leaf in state]


LAYERS = {"torch": ("0", "2", "4:input"), "equinox": ("layers.0", "layers.2", "layers.4:input"),
          "flax": ("layers.0", "act", "layers.3:input")}
TRAINING = {"torch": train_torch, "equinox": train_equinox, "flax": train_flax}


@pytest.mark.parametrize("framework", TRAINING)
def test_training_goes_on_to_the_same_weights_to_the_bit(framework: str, tmp_path: Path) -> None:
    without = TRAINING[framework](lambda *_: None)
    tracker = Tracker(tmp_path, X, Y, every=2, layers=LAYERS[framework], keep_kernels=True)
    before = global_state() if framework != "torch" else {}
    found = TRAINING[framework](tracker)
    assert len(found) == len(without)
    for one, other in zip(found, without, strict=True):
        np.testing.assert_array_equal(one, other)
    if framework != "torch":  # whose training draws from the generator that all share
        assert global_state() == before
    _is_complete(tracker, LAYERS[framework])


def leaves_evaluation_mode(_: int, module: nn.Module) -> None:
    module.eval()


def draws_random_numbers(_: int, module: nn.Module) -> None:
    torch.rand(1)


def measures_in_training_mode(_: int, module: nn.Module) -> None:
    module(torch.tensor(X))


def writes_gradients(_: int, module: nn.Module) -> None:
    module(torch.tensor(X)).sum().backward()


PLANTED = (leaves_evaluation_mode, draws_random_numbers, measures_in_training_mode, writes_gradients)


@pytest.mark.parametrize("planted", PLANTED)
def test_a_measurement_that_training_notices_is_noticed_here(planted: Callable[..., None]) -> None:
    def train(measurement: Callable[..., None]) -> list[np.ndarray]:
        try:
            return train_torch(measurement)
        except AssertionError:  # it has seen the mode
            return []

    without, found = train(lambda *_: None), train(planted)
    assert not (found and all(np.array_equal(one, other) for one, other in zip(without, found, strict=True)))


def _is_complete(tracker: Tracker, layers: tuple[str, ...]) -> None:
    """Three records with every figure, of which some are known beforehand."""
    store = tracker.store
    assert store.steps() == [0, 2, 4]
    assert not any(record.notes for record in store.records())
    _, losses = store.scalars("probe/loss")
    assert len(set(losses)) == 3
    for name in ("kernel", *(f"conjugate/{layer}" for layer in layers)):
        kernels = [store.array(name, step) for step in (0, 2, 4)]
        for i, kernel in enumerate(kernels):
            np.testing.assert_allclose(store.array(f"{name}/eigenvalues", 2 * i)[::-1], np.linalg.eigvalsh(
                (kernel.astype(float) + kernel.T) / 2), atol=tolerance("float64") * np.trace(kernel))
        assert store.scalars(f"{name}/change")[1][2] == change(kernels[2], kernels[0])["change"] > 0
        assert store.scalars(f"{name}/velocity")[1].tolist() == [
            velocity(after, before, 2)["velocity"] for before, after in itertools.pairwise(kernels)]
    # What follows the activation is what the last layer is given, dropout being off.
    one, other = (store.array(f"layer/{layer}/singular_values", 4) for layer in layers[1:])
    np.testing.assert_array_equal(one, other)
    assert store.scalars(f"layer/{layers[1]}/inactive_units")[0].tolist() == [0, 2, 4]
    curve = [9.0, *(store.scalars(f"layer/{layer}/effective_rank")[1][1] for layer in layers)]
    assert store.scalars("rank_drop/effective/signed_gini")[1][1] == rank_drop(curve, "signed").gini


# --- the figures ---


def test_features_and_kernels_of_a_module_by_hand(tmp_path: Path) -> None:
    module = torch_module().eval()
    record = Tracker(tmp_path, X, Y, layers=("2",), keep_kernels=True, outputs="full", weight_spectra=True)(0, module)
    assert isinstance(record, Record)
    with torch.no_grad():
        hidden = module[:3](torch.tensor(X)).numpy()
        outputs = module(torch.tensor(X)).numpy()
    np.testing.assert_allclose(record.arrays["conjugate/2"], hidden.astype(float) @ hidden.T / 9,
                               atol=tolerance("float32"))
    rows = np.concatenate([torch.cat([g.flatten() for g in torch.autograd.grad(
        module(torch.tensor(x[None]))[0, a], list(module.parameters()))])[None].numpy() for x in X for a in range(3)])
    kernel = rows.astype(float) @ rows.T
    np.testing.assert_allclose(record.spectra["kernel/eigenvalues"][::-1], np.linalg.eigvalsh(kernel),
                               atol=tolerance("float32") * np.trace(kernel))
    assert record.scalars["probe/accuracy"] == np.mean(outputs.argmax(1) == Y)
    expected = nn.functional.cross_entropy(torch.tensor(outputs), torch.tensor(Y)).item()
    assert record.scalars["probe/loss"] == pytest.approx(expected, rel=tolerance("float32"))
    assert record.scalars["layer/2/inactive_units"] == np.mean((hidden == 0).all(axis=0))
    assert record.scalars["weights/0.weight/magnitude"] == pytest.approx(
        module[0].weight.abs().mean().item(), rel=tolerance("float32"))  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
    assert record.scalars["weights/change"] == 0
    weight = module[4].weight.detach().double()  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
    np.testing.assert_allclose(record.spectra["weights/4.weight/singular_values"][::-1] ** 2,
                               torch.linalg.eigvalsh(weight @ weight.T), atol=tolerance("float64"))


def test_the_modes_of_a_loop_around_make_no_difference(tmp_path: Path) -> None:
    found = []
    for i, mode in enumerate((torch.enable_grad(), torch.no_grad(), torch.autocast("cpu", torch.bfloat16))):
        with mode:
            found.append(Tracker(tmp_path / str(i), X, Y.tolist(), layers=("2",))(0, torch_module()))
    for record in found[1:]:
        assert record.scalars["probe/loss"] == found[0].scalars["probe/loss"]
        np.testing.assert_allclose(record.spectra["kernel/eigenvalues"], found[0].spectra["kernel/eigenvalues"],
                                   atol=tolerance("float32") * found[0].spectra["kernel/eigenvalues"].sum())


def test_changes_of_known_kernels() -> None:
    first = np.diag([3.0, 4.0])
    assert change(2 * first, first) == pytest.approx({"change": 1, "spectral_change": 1, "alignment": 1})
    turned = np.array([[3.0, 1.0], [1.0, 4.0]])
    assert change(turned, first) == pytest.approx(
        {"change": np.sqrt(2) / 5, "spectral_change": 1 / 4, "alignment": 25 / (5 * np.sqrt(27))})
    speed = velocity(turned, first, 10)
    assert speed == pytest.approx({"velocity": (1 - 25 / (5 * np.sqrt(27))) / 10,
                                   "relative_velocity": np.sqrt(2) / 50})
    tiny = velocity(first + np.array([[0, 1e-9], [1e-9, 0]]), first, 1)["velocity"]
    assert tiny == pytest.approx(1e-18 / 25, rel=tolerance("float32"))  # 1 − cosine itself would be 0


def test_a_function_of_parameters_and_tasks(tmp_path: Path) -> None:
    params = {"w": jnp.asarray(RNG.standard_normal((6, 1)), jnp.float32)}
    tracker = Tracker(tmp_path, X, Y.astype(float), at=(3,), every=100)
    tasks = {"task/0": (X[:4], Y[:4].astype(float)), "task/1": (X[:2], np.zeros(2))}
    assert tracker(1, lambda p, x: x @ p["w"], params=params) is None
    record = tracker(3, lambda p, x: x @ p["w"], params=params, tasks=tasks, rate=0.5)
    assert record is not None
    outputs = X @ np.asarray(params["w"])
    assert record.scalars["task/0/loss"] == pytest.approx(np.mean((outputs[:4, 0] - Y[:4]) ** 2),
                                                          rel=tolerance("float32"))
    assert record.scalars["task/1/loss"] == pytest.approx(np.mean(outputs[:2] ** 2), rel=tolerance("float32"))
    assert record.scalars["rate"] == 0.5
    assert "task/0/accuracy" not in record.scalars


def test_functions_of_other_kinds() -> None:
    linen = pytest.importorskip("flax.linen", reason="Flax is not installed")
    dense = linen.Dense(3)
    variables = dense.init(jax.random.key(0), X)
    kernel, bias = (np.asarray(variables["params"][name]) for name in ("kernel", "bias"))
    np.testing.assert_allclose(observe(dense, X, params=variables).outputs, X @ kernel + bias,
                               atol=tolerance("float32"))
    assert set(weights(dense, params=variables)) == {"params.kernel", "params.bias"}
    tensors = {"w": torch.tensor(kernel), "frozen": torch.ones(3, dtype=torch.int64)}

    def f(params: Any, x: Any) -> Any:
        return x @ params["w"] * params["frozen"]

    np.testing.assert_allclose(observe(f, X, params=tensors).outputs, X @ kernel, atol=tolerance("float32"))
    with pytest.raises(InputError, match="a function has no layer 'w'"):
        observe(dense, X, ("w",), params=variables)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.last = nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.act(self.first(self.act(x))))


def test_a_layer_that_is_used_twice_has_both_uses() -> None:
    found = observe(Twice(), X, ("act", "act:input"))
    assert list(found.features) == ["act", "act:input", "act#2", "act:input#2"] or set(found.features) == {
        "act", "act:input", "act#2", "act:input#2"}
    np.testing.assert_array_equal(found.features["act:input"].values, X)
    np.testing.assert_array_equal(found.features["act"].values, np.maximum(X, 0))
    np.testing.assert_array_equal(found.features["act#2"].values,
                                  np.maximum(found.features["act:input#2"].values, 0))
    assert [found.features[name].activation for name in ("act", "act#2", "act:input")] == ["relu", "relu", None]


def test_the_features_of_an_activation_that_is_a_function() -> None:
    module = eqx.nn.MLP(6, 3, 5, 1, jax.nn.tanh, key=jax.random.key(0))
    found = observe(module, X, ("layers.0", "layers.1:input", "layers.1"))
    hidden = X @ np.asarray(module.layers[0].weight).T + np.asarray(module.layers[0].bias)
    np.testing.assert_allclose(found.features["layers.0"].values, hidden, atol=tolerance("float32"))
    np.testing.assert_allclose(found.features["layers.1:input"].values, np.tanh(hidden), atol=tolerance("float32"))
    np.testing.assert_array_equal(found.features["layers.1"].values, found.outputs)


# --- going on, and what is refused ---


def test_a_run_that_goes_on_has_the_records_of_one_that_was_not_interrupted(tmp_path: Path) -> None:
    def steps(tracker: Tracker, first: int, last: int) -> None:
        for step in range(first, last):
            module = torch_module()
            with torch.no_grad():
                module[0].weight.mul_(1 + step / 10)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
            tracker(step, module)

    whole, parts = (Tracker(tmp_path / name, X, Y, layers=("2",), sinks=("csv",)) for name in ("whole", "parts"))
    steps(whole, 0, 5)
    steps(parts, 0, 2)
    state = {name: value.copy() for name, value in parts.state().items()}
    steps(parts, 2, 4)  # after the state was kept, and lost
    again = Tracker(tmp_path / "parts", X, Y, layers=("2",), sinks=("csv",), state=state)
    steps(again, 2, 5)
    for one, other in zip(whole.store.records(), again.store.records(), strict=True):
        np.testing.assert_equal(dict(one.scalars), dict(other.scalars))
    csv = [(tmp_path / name / "csv" / "scalars.csv").read_text() for name in ("whole", "parts")]
    assert csv[0] == csv[1]


def test_a_probe_batch_that_changed(tmp_path: Path) -> None:
    x = X.copy()
    tracker = Tracker(tmp_path, x, Y, kernel=False)
    tracker(0, torch_module())
    x[3, 2] = np.nextafter(x[3, 2], 9)
    with pytest.raises(InputError, match="the probe batch is not the one of the first step"):
        tracker(1, torch_module())
    with pytest.raises(InputError, match="the probe batch is not the one of the state"):
        Tracker(tmp_path, x, Y, state=tracker.state())
    with pytest.raises(InputError, match="holds records up to step 0 already; give another folder, or the state"):
        Tracker(tmp_path, X, Y)


def test_training_that_diverges_is_noted_and_goes_on(tmp_path: Path) -> None:
    module = torch_module()
    tracker = Tracker(tmp_path, X, Y, layers=("2",))
    tracker(0, module)
    with torch.no_grad():
        module[0].weight.fill_(torch.nan)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
    record = tracker(1, module)
    assert record is not None
    assert "holds NaN" in record.notes["kernel"]
    assert "has the training diverged" in record.notes["layer/2"]
    assert np.isnan(record.scalars["probe/loss"])
    assert "kernel/change" not in record.scalars
    after = tracker(2, torch_module())
    assert after is not None
    assert "kernel/change" in after.scalars
    assert "kernel/velocity" not in after.scalars  # the step before has no kernel


@pytest.mark.parametrize(("options", "message"), [
    ({"every": 0}, "every must be a positive number"), ({"layer": ("0",)}, "no option 'layer'; did you mean layers?"),
    ({"sinks": ("cvs",)}, "no sink 'cvs'; did you mean csv?"), ({"y": Y[:3]}, "classes of shape (3,), from 0 to 2, do"),
    ({"layers": ("O",)}, "the network has no layer 'O'; known are 0, 1, 2, 3, 4"),
    ({"y": Y + 1}, "from 1 to 3, do not fit 3 outputs"), ({"y": np.full(12, np.nan)}, "y has 12 entries that are not"),
    ({"y": np.zeros((12, 2))}, "do not fit targets of shape (12, 2)"), ({"method": "no"}, "unknown method 'no'"),
    ({"every": 2.5}, "every must be a positive number"), ({"outputs": "diagonal"}, "outputs='diagonal' is not one of"),
    ({"drops": "rat"}, "drops='rat' is not one of"), ({"proportion": 1.5}, "proportion must be above 0 and at most 1"),
    ({"layers": "2"}, "layers='2' is one name; give a tuple"), ({"sinks": "csv"}, "sinks='csv' is one name; give a"),
    ({"layers": ("2",), "activations": {"1": "relu"}}, "activations names the layer '1', which is not in layers"),
    ({"layers": ("0",), "activations": {"0": "gelu"}}, "'gelu' of 0 is not known to be flat"),
    ({"sinks": (3,)}, "an object with write and close, got 3"), ({"state": {}}, "the state lacks probe, step"),
])
def test_what_is_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    from impls import RegistryError

    with pytest.raises((InputError, RegistryError)) as caught:
        Tracker(tmp_path, X, options.pop("y", Y), **options)(0, torch_module())
    assert message in str(caught.value)


def test_what_is_refused_at_a_step(tmp_path: Path) -> None:
    tracker = Tracker(tmp_path, X, Y, kernel=False)
    for step, says in (("first", "step must be a whole number"), (1.0, "whole number"), (-1, "at least 0, got -1")):
        with pytest.raises(InputError, match=says):
            tracker(step, torch_module())  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="rate must be a number to be recorded, got 'fast'"):
        tracker(0, torch_module(), rate="fast")  # pyright: ignore[reportArgumentType]
    tracker = Tracker(tmp_path / "again", X, Y > 0, kernel=False)
    tracker(np.int64(0), torch_module())  # pyright: ignore[reportArgumentType]
    assert tracker.store.steps() == [0]
    with pytest.raises(InputError, match=r"not the one of the first step: 0\.bias was \(9,\), and is \(5,\)"):
        tracker(1, nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3)))
    with pytest.raises(InputError, match="the probe batch is empty"):
        Tracker(tmp_path / "none", X[:0])
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file is no folder, and cannot be made one"):
        Tracker(tmp_path / "file", X)


def test_complex_weights_and_features_are_pairs_of_real_ones(tmp_path: Path) -> None:
    """The kernel φφᵀ of both parts, and the singular values of complex matrices."""
    class Complex(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(6, 4, dtype=torch.complex64))
            self.hidden, self.last = nn.Identity(), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.hidden(x.to(torch.complex64) @ self.weight).abs())

    module = Complex()
    record = Tracker(tmp_path, X, Y, layers=("hidden",), weight_spectra=True, keep_kernels=True)(0, module)
    assert record is not None
    weight = module.weight.detach().numpy().astype(complex)
    np.testing.assert_allclose(record.spectra["weights/weight/singular_values"], np.linalg.svd(weight)[1])
    parts = (X @ weight).view(float)
    np.testing.assert_allclose(record.arrays["conjugate/hidden"], parts @ parts.T / 4,
                               atol=tolerance("float32") * np.abs(parts @ parts.T).max())


def test_the_derivative_of_the_loss_and_how_far_a_matrix_has_gone(tmp_path: Path) -> None:
    """By autograd, and by SVD."""
    for y in (torch.tensor(Y), torch.tensor(RNG.standard_normal((12, 3)), dtype=torch.float32)):
        module = torch_module().eval()
        tracker = Tracker(tmp_path / str(y.ndim), X, y, kernel=False, weight_spectra=True)
        tracker(0, module)
        with torch.no_grad():
            module[4].weight.add_(torch.eye(3, 9))  # pyright: ignore[reportCallIssue, reportArgumentType]
        record = tracker(1, module)
        assert record is not None
        f = module(torch.tensor(X)).detach().requires_grad_()
        loss = nn.functional.cross_entropy(f, y) if y.ndim == 1 else nn.functional.mse_loss(f, y)
        due = torch.autograd.grad(loss, f)[0].norm().item()
        assert record.scalars["probe/loss_derivative"] == pytest.approx(due, rel=tolerance("float32"))
        assert record.scalars["weights/4.weight/spectral_distance"] == pytest.approx(1, rel=tolerance("float32"))


@pytest.mark.parametrize(("model", "layer", "message"), [
    (lambda: eqx.nn.MLP(6, 3, 5, 1, key=jax.random.key(0)), "layers.2", "no layer 'layers.2'; did you mean layers."),
    (lambda: flax_module(), "layer.0", "no layer 'layer.0'; did you mean layers?"),
    (lambda: Twice(), "lst", "no layer 'lst'; did you mean last"),
    (lambda: 3, "x", "a network is a torch.nn.Module, an Equinox or Flax NNX module, or f(params, x)"),
])
def test_layers_that_are_not_there(model: Callable[[], Any], layer: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        observe(model(), X, (layer,))
    assert message in str(caught.value)


def test_steps_rise(tmp_path: Path) -> None:
    with Tracker(tmp_path, X, kernel=False) as tracker:
        tracker(5, torch_module())
        with pytest.raises(InputError, match="step 5 comes after step 5; steps must rise"):
            tracker(5, torch_module())
