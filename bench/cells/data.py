"""The inputs: scikit-learn's digits, or a file of the user's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from reference import InputError, round_to_float32


@dataclass(frozen=True, eq=False)
class Inputs:
    """Examples `x1` (N1, …) and `x2` (N2, …) as float64 with float32 values, or integers; `x2` None means x2 = x1."""

    name: str
    """ "digits" or the file's name."""
    x1: np.ndarray
    x2: np.ndarray | None = None
    rounded: bool = False
    """Whether values had to be rounded to float32."""

    def first(self, n: int) -> Inputs:
        """The first `n` examples of x1 and of x2 (all, where there are fewer)."""
        return replace(self, x1=self.x1[:n], x2=None if self.x2 is None else self.x2[:n])

    def flattened(self) -> Inputs:
        """Each example as a vector, in C order."""
        x2 = None if self.x2 is None else self.x2.reshape(len(self.x2), -1)
        return replace(self, x1=self.x1.reshape(len(self.x1), -1), x2=x2)


def digits() -> Inputs:
    """The 1797 handwritten digits of scikit-learn, shape (1797, 1, 8, 8), grey values k/16 in [0, 1].

    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998.
    """
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise InputError('the digits come with scikit-learn, which is not installed: pip install "ntk-bench[bench]", '
                         "or give inputs of your own with --input") from error
    pixels = np.asarray(load_digits(return_X_y=True)[0], np.float64)
    return Inputs("digits", pixels.reshape(-1, 1, 8, 8) / 16)


def load_inputs(path: Path, integers: bool = False) -> Inputs:
    """The examples in an .npy file, or in an .npz file with x1 and perhaps x2 (or a single array).

    With `integers` these are taken, too, and stay as they are: for a model of the user's, which may embed tokens.

    Raises `InputError` for a file that is not there, holds pickled objects (never unpickled: that runs code), or holds
    other than such numbers, no examples, infinities, NaN, or x1 and x2 with examples of different shapes.
    """
    arrays = _pick(path, _read(path))
    x1 = _usable(arrays["x1"], f"{path.name}: x1", integers)
    x2 = _usable(arrays["x2"], f"{path.name}: x2", integers) if "x2" in arrays else None
    _check_alike(path, x1, x2)
    rounded = not np.array_equal(arrays["x1"], x1) or (x2 is not None and not np.array_equal(arrays["x2"], x2))
    return Inputs(path.name, x1, x2, rounded)


def map_inputs(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """x1, and x2 where it differs, as they are in the file; an .npy file is read piece by piece, as it is needed.

    Raises `InputError` as `load_inputs` does, but for values, at which nobody has looked.
    """
    arrays = _pick(path, _read(path, mapped=True))
    for name, array in arrays.items():
        _check_form(array, f"{path.name}: {name}", integers=True)
    x1, x2 = arrays["x1"], arrays.get("x2")
    _check_alike(path, x1, x2)
    return x1, x2


def _check_alike(path: Path, x1: np.ndarray, x2: np.ndarray | None) -> None:
    if x2 is not None and x2.shape[1:] != x1.shape[1:]:
        raise InputError(f"{path.name}: x1 and x2 must hold examples of one shape, got {x1.shape} and {x2.shape}")


def _read(path: Path, mapped: bool = False) -> Mapping[str, np.ndarray]:
    if path.suffix not in (".npy", ".npz"):
        raise InputError(f"--input takes an .npy or .npz file, got {str(path)!r}")
    if not path.is_file():
        raise InputError(f"--input: there is no file {str(path)!r}")
    try:
        if mapped and path.suffix == ".npy":
            return {"x1": np.load(path, mmap_mode="r", allow_pickle=False)}
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            return {"x1": content} if isinstance(content, np.ndarray) else dict(content)
    except (ValueError, EOFError, BadZipFile) as error:
        raise InputError(f"{path.name} is not read: it holds pickled objects, which would run code, or is no "
                         f"{path.suffix} file ({error}); save a plain array, e.g. np.save({path.name!r}, "
                         "x.astype('float32'))") from error


def _pick(path: Path, arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    if "x1" in arrays:
        return arrays
    if len(arrays) == 1:
        return {"x1": next(iter(arrays.values()))}
    raise InputError(f"{path.name} needs an array x1 (and x2, where it differs) or a single array; "
                     f"it holds {', '.join(arrays) or 'nothing'}")


def _check_form(array: np.ndarray, what: str, integers: bool) -> None:
    is_integer = array.dtype.kind in "iu"
    if array.dtype.kind != "f" and not (is_integer and integers):
        taken = "a model takes floating-point numbers, or integers" if integers else (
            "a network takes floating-point numbers")
        raise InputError(f"{what} has dtype {array.dtype}, but {taken}; convert it, e.g. x.astype('float32')")
    if array.ndim < 1 or array.size == 0:
        raise InputError(f"{what} is empty (shape {array.shape}); it needs at least one example and number")


def _usable(array: np.ndarray, what: str, integers: bool) -> np.ndarray:
    _check_form(array, what, integers)
    if array.dtype.kind in "iu":
        return array
    with np.errstate(over="ignore"):  # said below
        rounded = round_to_float32(array)
    if not np.isfinite(rounded).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(rounded))[0])
        raise InputError(f"{what} is not finite in float32 at index {where} (value {array[where]}); "
                         "remove or mask such values")
    return rounded
