"""Inputs: the digits, and files of the user's with every way in which they can be unusable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.cells.data import digits, load_inputs
from bench.cells.profiles import PROFILES, batches, cases_of
from reference import InputError

X = np.linspace(-1, 1, 12).reshape(4, 3)


def _npy(folder: Path, array: np.ndarray) -> Path:
    path = folder / "x.npy"
    np.save(path, array)
    return path


def _npz(folder: Path, **arrays: np.ndarray) -> Path:
    path = folder / "x.npz"
    np.savez(path, allow_pickle=False, **arrays)
    return path


def test_digits_are_exact_in_float32() -> None:
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    inputs = digits()
    assert inputs.x1.shape == (1797, 1, 8, 8)
    assert np.array_equal(inputs.x1, inputs.x1.astype(np.float32))
    assert (inputs.x1.min(), inputs.x1.max()) == (0, 1)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_npy_is_read_as_float32_values(tmp_path: Path, dtype: str) -> None:
    inputs = load_inputs(_npy(tmp_path, X.astype(dtype)))
    assert inputs.x1.dtype == np.float64
    assert np.array_equal(inputs.x1, X.astype(dtype).astype(np.float32))
    assert inputs.rounded == (dtype == "float64")
    assert inputs.x2 is None


def test_npz_has_two_arrays_or_one(tmp_path: Path) -> None:
    both = load_inputs(_npz(tmp_path, x1=X, x2=X[:2]))
    assert both.x2 is not None
    assert both.x2.shape == (2, 3)
    assert load_inputs(_npz(tmp_path, anything=X)).x1.shape == (4, 3)


def test_first_examples_and_flattening(tmp_path: Path) -> None:
    inputs = load_inputs(_npz(tmp_path, x1=np.zeros((5, 1, 2, 2)), x2=np.ones((3, 1, 2, 2))))
    some = inputs.first(4).flattened()
    assert some.x2 is not None
    assert (some.x1.shape, some.x2.shape) == ((4, 4), (3, 4))


@pytest.mark.parametrize(("array", "message"), [
    (np.arange(6).reshape(2, 3), "astype"),
    (np.zeros((0, 3)), "empty"),
    (np.zeros((3, 0)), "empty"),
    (np.array([[1.0, np.nan]]), "index \\(0, 1\\)"),
    (np.array([[1.0, np.inf]]), "not finite"),
    (np.array([[1e300]]), "float32"),
    (np.zeros((2, 2), complex), "floating-point"),
], ids=["integers", "no-examples", "no-numbers", "nan", "inf", "overflow", "complex"])
def test_unusable_arrays(tmp_path: Path, array: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_inputs(_npy(tmp_path, array))


def test_integers_for_a_model_stay_as_they_are(tmp_path: Path) -> None:
    tokens = np.arange(6, dtype=np.int32).reshape(2, 3)
    inputs = load_inputs(_npz(tmp_path, x1=tokens, x2=X[:, :3]), integers=True)
    assert inputs.x1.dtype == np.int32
    assert np.array_equal(inputs.x1, tokens)
    assert inputs.x2 is not None
    assert inputs.x2.dtype == np.float64
    with pytest.raises(InputError, match="empty"):
        load_inputs(_npy(tmp_path, tokens[:0]), integers=True)
    with pytest.raises(InputError, match="floating-point numbers, or integers"):
        load_inputs(_npy(tmp_path, tokens > 1), integers=True)


def test_pickles_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="pickled"):
        load_inputs(path)
    np.savez(tmp_path / "x.npz", x1=np.array([None], dtype=object))
    with pytest.raises(InputError, match="pickled"):
        load_inputs(tmp_path / "x.npz")


@pytest.mark.parametrize("content", [b"", b"not an array", b"PK\x03\x04broken"])
@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_broken_files(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        load_inputs(tmp_path / name)


def test_missing_and_misnamed_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        load_inputs(tmp_path / "x.npy")
    with pytest.raises(InputError, match=r"\.npy or \.npz"):
        load_inputs(tmp_path / "x.csv")


def test_npz_without_x1(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="x1"):
        load_inputs(_npz(tmp_path, a=X, b=X))
    with pytest.raises(InputError, match="one shape"):
        load_inputs(_npz(tmp_path, x1=X, x2=X[:, :2]))


def test_batches_take_what_there_is(tmp_path: Path) -> None:
    inputs = load_inputs(_npy(tmp_path, X))
    assert batches((2, 4, 100), inputs) == [2, 4]
    assert batches((100,), inputs) == [4]
    with pytest.raises(InputError, match="positive"):
        batches((0,), inputs)


def test_cases_follow_the_inputs(tmp_path: Path) -> None:
    vectors = cases_of(PROFILES["quick"], load_inputs(_npy(tmp_path, X)))
    assert {source.network for source in vectors} == {"MLP"}
    images = cases_of(PROFILES["quick"], load_inputs(_npy(tmp_path, np.ones((3, 2, 4, 4)))))
    assert {source.network for source in images} == {"MLP", "ConvNet"}
    case = images[0].build()
    assert (case.name, case.network.input_shape, case.symmetric) == ("x-mlp-w64-o1-n3", (32,), True)


def test_digest_tells_contents_apart(tmp_path: Path) -> None:
    def digest(array: np.ndarray) -> str:
        return cases_of(PROFILES["quick"], load_inputs(_npy(tmp_path, array)))[0].digest

    assert digest(X) == digest(X)
    assert digest(X) != digest(X + 1)
