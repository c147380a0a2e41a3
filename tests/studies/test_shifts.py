"""Tasks: each mode changes what it says, by the seed and the number of the task alone."""

from __future__ import annotations

import numpy as np
import pytest

from reference import InputError, tolerance
from studies.data import Data
from studies.tracking.shifts import (
    IDENTITY,
    DriftingValues,
    InputDeformation,
    Shift,
    deformation,
    deformed,
    drifted,
    task,
)

RNG = np.random.default_rng(0)
X = RNG.uniform(size=(6, 2, 5, 4)).astype(np.float32)
DATA = Data("own", X, np.array([0, 1, 2, 3, 1, 0]), X[:2], np.array([3, 2]))


def _task(mode: str, index: int, seed: int = 0, **more: object) -> Data:
    return task(DATA, Shift(mode, 9, **more), index, seed)  # pyright: ignore[reportArgumentType]


def test_no_shift() -> None:
    assert _task("none", 3) is DATA


def test_inputs_are_permuted_alike_in_every_example() -> None:
    found = _task("permuted_input", 2)
    np.testing.assert_array_equal(np.sort(found.x_train.reshape(6, -1)), np.sort(X.reshape(6, -1)))
    np.testing.assert_array_equal(found.x_test, found.x_train[:2])
    np.testing.assert_array_equal(found.y_train, DATA.y_train)
    orders = {task.x_train.tobytes() for seed in (0, 1) for index in range(3)
              for task in (_task("permuted_input", index, seed), _task("permuted_input", index, seed))}
    assert len(orders) == 6  # also seed 1, task 0 and seed 0, task 1


def test_classes_are_permuted() -> None:
    found = _task("permuted_output", 1, seed=3)
    pairs = set(zip(DATA.y_train.tolist(), found.y_train.tolist(), strict=True))
    assert len(pairs) == len({new for _, new in pairs}) == 4
    assert all((old, new) in pairs for old, new in zip(DATA.y_test.tolist(), found.y_test.tolist(), strict=True))
    np.testing.assert_array_equal(found.x_train, X)


def test_values_drift() -> None:
    how = DriftingValues(drift_std_dev=0.2)
    np.testing.assert_array_equal(drifted(how, 4, 0, seed=1), np.arange(4))
    walk = np.array([drifted(DriftingValues(drift_std_dev=0.01), 4, index, seed=1) for index in range(5)])
    steps = [np.random.default_rng((1, index)).normal(0, 0.01, 4) for index in range(1, 5)]
    np.testing.assert_allclose(np.diff(walk, axis=0), steps, atol=tolerance("float64"))  # nothing else
    found = _task("drifting_values", 3, values=how)
    values = drifted(how, 4, 3, seed=0).astype(np.float32)
    np.testing.assert_array_equal(found.y_train, values[DATA.y_train])
    assert (found.y_train.dtype, found.classes) == (np.float32, 0)


@pytest.mark.parametrize("std", [0.1, 3.0, 100.0])
@pytest.mark.parametrize("strength", [0.0, 0.5, 2.0])
def test_values_keep_order_gap_and_bounds(std: float, strength: float) -> None:
    how = DriftingValues(std, strength, 0.4, -1.0, 4.0)
    for index in range(6):
        values = drifted(how, 10, index, seed=2)
        assert np.diff(values).min() >= 0.4 - tolerance("float64")
        assert -1 - tolerance("float64") <= values[0] <= values[-1] <= 4 + tolerance("float64")


def test_neighbours_repel_each_other_alike() -> None:
    from studies.tracking.shifts import _repelled

    how = DriftingValues(repulsion_strength=0.5, min_gap=0.1)
    # Overlap 0.05: each gives way by (0.05 + 0.1)/4, after which they are 0.125 apart.
    np.testing.assert_allclose(_repelled(np.array([0.0, 0.05, 9.0]), how), [-0.0375, 0.0875, 9.0],
                               atol=tolerance("float64"))


def test_bounds_without_room() -> None:
    with pytest.raises(InputError, match="10 values with gaps of 1 have no place between 0 and 8"):
        drifted(DriftingValues(min_gap=1, lower_bound=0, upper_bound=8), 10, 0, 0)


def test_how_the_affine_map_moves() -> None:
    linear = [deformation(InputDeformation("linear", max_drift=0.3), t, seed=5) - IDENTITY for t in range(4)]
    np.testing.assert_allclose([np.linalg.norm(a) for a in linear], [0, 0.3, 0.6, 0.9], atol=tolerance("float64"))
    np.testing.assert_allclose(linear[3], 3 * linear[1], atol=tolerance("float64"))
    wave = deformation(InputDeformation("sinusoidal", amplitude=0.5, frequency=0.2), 7, seed=5)
    np.testing.assert_allclose(wave, IDENTITY + 0.5 * np.sin(1.4), atol=tolerance("float64"))
    walk = [deformation(InputDeformation("random_walk", drift_std_dev=2), t, seed=5) for t in range(60)]
    steps = np.diff(walk, axis=0)
    assert steps.std() == pytest.approx(2, rel=0.27)  # of 354 normal numbers: 7 standard errors
    assert abs(np.mean(steps[1:] * steps[:-1])) < 1.5  # independent of each other: 7 standard errors


def test_images_are_deformed_as_by_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="the other way to the same images")
    functional = torch.nn.functional
    for affine in (IDENTITY, IDENTITY + RNG.uniform(-0.5, 0.5, (2, 3)), np.array([[0, 1.0, 0], [-1.0, 0, 0.3]])):
        grid = functional.affine_grid(torch.tensor(affine)[None].expand(6, 2, 3), X.shape, align_corners=False)
        expected = functional.grid_sample(torch.tensor(X).double(), grid, align_corners=False).numpy()
        np.testing.assert_allclose(deformed(X, affine), expected, atol=tolerance("float32"))
    found = _task("continuous_input_deformation", 4, deformation=InputDeformation("linear", max_drift=0.1))
    np.testing.assert_array_equal(found.x_test, found.x_train[:2])
    assert (found.x_train != X).any()
    np.testing.assert_array_equal(_task("continuous_input_deformation", 0).x_train, X)


@pytest.mark.parametrize(("shift", "message"), [
    (Shift("permute"), "no shift 'permute'"),  # pyright: ignore[reportArgumentType]
    (Shift(deformation=InputDeformation("random")), "'random'; did you mean random_walk"),  # pyright: ignore[reportArgumentType]
    (Shift("drifting_values", values=DriftingValues(drift_std_dev=-1.0)), "values.drift_std_dev must be .* at least 0"),
    (Shift("drifting_values", values=DriftingValues(lower_bound=np.nan)), "values.lower_bound must be a finite number"),
    (Shift(deformation=InputDeformation(max_drift=np.inf)), "deformation.max_drift must be a finite number"),
])
def test_shifts_that_make_no_sense(shift: Shift, message: str) -> None:
    with pytest.raises(InputError, match=message):
        task(DATA, shift, 1, 0)


def test_data_without_what_is_to_change() -> None:
    flat = Data("own", np.zeros((3, 2), np.float32), np.zeros(3, np.float32), np.zeros((3, 2), np.float32),
                np.zeros(3, np.float32))
    with pytest.raises(InputError, match="is about classes, and the targets of own are numbers"):
        task(flat, Shift("permuted_output"), 0, 0)
    with pytest.raises(InputError, match=r"is about images .* shape \(2,\)"):
        task(flat, Shift("continuous_input_deformation"), 1, 0)
