"""Data: what is read is what was written, and what cannot be used is refused unread."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reference import InputError
from studies.data import IDX_FILES, IDX_TYPES, load, read_idx
from studies.digests import digest

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (5, 4, 3), np.uint8), np.array([0, 2, 1, 2, 0], np.uint8)


def idx_bytes(array: np.ndarray, kind: int) -> bytes:
    """By the format's description, number by number."""
    letter = {0x08: "B", 0x09: "b", 0x0B: "h", 0x0C: "i", 0x0D: "f", 0x0E: "d"}[kind]
    header = bytes([0, 0, kind, array.ndim]) + b"".join(struct.pack(">I", n) for n in array.shape)
    return header + b"".join(struct.pack(f">{letter}", value) for value in array.ravel().tolist())


def _folder(folder: Path, compress: bool = False, suffix: str = "-idx") -> Path:
    for name, start in IDX_FILES.items():
        array = IMAGES if name[0] == "x" else LABELS
        content = idx_bytes(array, 0x08)
        path = folder / f"{start}{suffix}{array.ndim}-ubyte{'.gz' if compress else ''}"
        path.write_bytes(gzip.compress(content) if compress else content)
    return folder


@pytest.mark.parametrize("kind", IDX_TYPES)
def test_idx_of_every_type(kind: int, tmp_path: Path) -> None:
    values = np.array([[1, -2, 3], [4, 5, -6]]) if kind != 0x08 else np.array([[1, 2, 3], [4, 5, 255]])
    (tmp_path / "x").write_bytes(idx_bytes(values, kind))
    found = read_idx(tmp_path / "x")
    assert found.dtype == np.dtype(IDX_TYPES[kind]).newbyteorder("=")
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize(("compress", "suffix"), [(False, "-idx"), (True, "-idx"), (False, ".idx")])
def test_a_folder_in_the_format_of_mnist(compress: bool, suffix: str, tmp_path: Path) -> None:
    data = load(_folder(tmp_path, compress, suffix))
    assert data.x_train.shape == (5, 1, 4, 3)
    np.testing.assert_array_equal(data.x_train[:, 0], IMAGES.astype(np.float32) / 255)
    np.testing.assert_array_equal(data.y_test, LABELS)
    assert (data.classes, data.x_train.dtype, data.y_train.dtype) == (3, np.float32, np.int64)


def test_npz(tmp_path: Path) -> None:
    x, y = RNG.standard_normal((6, 3)), RNG.standard_normal((6, 2))
    np.savez(tmp_path / "own.npz", x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])
    for source in (tmp_path, tmp_path / "own.npz"):
        data = load(source)
        np.testing.assert_array_equal(data.x_train, x.astype(np.float32))
        assert (data.classes, data.y_train.shape, data.y_train.dtype) == (0, (6, 2), np.float32)


def test_digits_are_those_of_scikit_learn() -> None:
    datasets = pytest.importorskip("sklearn.datasets", reason="the digits come with scikit-learn")
    data = load("digits")
    x, y = datasets.load_digits(return_X_y=True)
    np.testing.assert_array_equal(np.concatenate([data.x_train, data.x_test]).reshape(1797, 64) * 16, x)
    np.testing.assert_array_equal(np.concatenate([data.y_train, data.y_test]), y)
    assert (len(data.x_test), data.classes) == (297, 10)


def test_a_pickle_is_refused_unread(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {name: np.array([None], object) for name in IDX_FILES}
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(InputError, match="pickled objects, which would run code"):
        load(tmp_path / "own.npz")


@pytest.mark.parametrize(("content", "message"), [
    (b"", "is no IDX file: it begins with nothing"), (b"PK\3\4", "is no IDX file: it begins with 50 4b 03 04"),
    (idx_bytes(IMAGES, 0x08)[:-1], "cut off or damaged"), (idx_bytes(IMAGES, 0x08)[:9], "cut off or damaged"),
    (idx_bytes(IMAGES, 0x08) + b"\0", "cut off or damaged"), (b"\0\0\7\1\0\0\0\0", "is no IDX file"),
])
def test_broken_idx(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_idx(tmp_path / "x")
    (tmp_path / "x.gz").write_bytes(content + b"no gzip")
    with pytest.raises(InputError, match="whole file of gzip"):
        read_idx(tmp_path / "x.gz")


X, Y = np.zeros((3, 2)), np.array([0, 1, 1])


@pytest.mark.parametrize(("changes", "message"), [
    ({"x_train": X * np.nan}, r"x_train holds NaN or infinite values, the first at index \(0, 0\)"),
    ({"y_train": np.array([0.0, np.nan, 1])}, r"y_train holds NaN or infinite values, the first at index \(1,\)"),
    ({"y_test": Y[:2]}, "x_test has 3 examples and y_test 2"),
    ({"y_train": Y - 1}, "holds the class -1"),
    ({"y_train": Y.astype(float)}, "only the number of examples may differ"),
    ({"x_test": np.zeros((3, 5))}, "only the number of examples may differ"),
    ({"x_train": np.zeros(3)}, "one row an example"),
    ({"x_train": X.astype(complex)}, "must hold real numbers"),
    ({"y_train": np.array(["a", "b", "c"])}, "must hold classes"),
])
def test_arrays_that_cannot_be_used(changes: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    arrays: dict[str, Any] = {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y} | changes
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(InputError, match=message):
        load(tmp_path)


def test_places_with_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds 0 files train-images"):
        load(tmp_path)
    with pytest.raises(InputError, match="none of them"):
        load("mnist")
    with pytest.raises(InputError, match="not read"):
        load(tmp_path / "none.npz")
    np.savez(tmp_path / "own.npz", x=X)
    with pytest.raises(InputError, match="lacks x_train, y_train, x_test, y_test; it holds x"):
        load(tmp_path)


def test_a_digest_tells_names_dtypes_shapes_and_bits_apart() -> None:
    a = np.arange(6.0)
    others = [{"b": a}, {"a": a.astype(np.float32)}, {"a": a.reshape(2, 3)}, {"a": np.nextafter(a, 9)}, {"a": a[::-1]},
              {"a": a, "b": a}]
    assert len({digest({"a": a}), *map(digest, others)}) == 7
    same = [{"a": a.astype(">f8")}, {"a": np.asfortranarray(a)}, {"a": np.repeat(a, 2)[::2]}]
    assert {digest(each) for each in same} == {digest({"a": a})}
    assert digest({"a": a, "b": a}) == digest({"b": a, "a": a})
