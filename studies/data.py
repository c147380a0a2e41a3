"""Data to train on: scikit-learn's digits, files in MNIST's format, .npz files. Nothing is downloaded or unpickled."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from reference import InputError

# Yann LeCun's page on MNIST, "the IDX file format": the third byte of the magic number.
IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

IDX_FILES = {"x_train": "train-images", "y_train": "train-labels", "x_test": "t10k-images", "y_test": "t10k-labels"}
"""What the names of the four files begin with, in MNIST and what is modelled on it (Fashion-MNIST, KMNIST)."""

ARRAYS = tuple(IDX_FILES)


@dataclass(frozen=True, eq=False)
class Data:
    """`x_train` (N, …) and `x_test` (M, …) are float32, images with an axis of channels: (N, 1, H, W).

    `y_train` (N,) and `y_test` (M,) are classes from 0, int64, or numbers to be met, float32, (N,) or (N, T).
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    @property
    def classes(self) -> int:
        """How many there are; 0 where the targets are numbers."""
        return int(max(self.y_train.max(), self.y_test.max())) + 1 if self.y_train.dtype.kind == "i" else 0


def load(source: str | Path) -> Data:
    """"digits", or the path of an .npz file or of a folder that holds one, or the four files of MNIST's format.

    Raises `InputError` for what is not there or cannot be used.
    """
    if str(source) == "digits":
        return digits()
    path = Path(source)
    if path.is_dir():
        found = sorted(path.glob("*.npz"))
        if len(found) > 1:
            raise InputError(f"the folder {str(path)!r} holds {len(found)} .npz files; name the one to read")
        return _checked(path.name, read_npz(found[0]) if found else _read_idx_folder(path))
    if path.suffix == ".npz":
        return _checked(path.stem, read_npz(path))
    raise InputError(f'data is "digits", a folder or an .npz file, got {str(source)!r}, which is none of them')


def digits(test: int = 297) -> Data:
    """The 1797 digits of 8×8 pixels of scikit-learn (Alpaydin, Kaynak 1998), in [0, 1]; the last are `test`."""
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise InputError('the digits come with scikit-learn: pip install -c constraints.txt ".[studies]"') from error
    x, y = load_digits(return_X_y=True)
    x, n = x.reshape(-1, 1, 8, 8) / 16, len(x) - test
    return _checked("digits", {"x_train": x[:n], "y_train": y[:n], "x_test": x[n:], "y_test": y[n:]})


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, which must be x_train, y_train, x_test and y_test (as of Keras' mnist.npz)."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            missing = [name for name in ARRAYS if name not in file]
            if missing:
                raise InputError(f"{path.name} lacks {', '.join(missing)}; it holds {', '.join(file) or 'nothing'}")
            return {name: file[name] for name in ARRAYS}
    except OSError as error:
        raise InputError(f"{path.name} is not read ({error.strerror or error})") from error
    except (ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise InputError(f"{path.name} is no .npz file, or holds pickled objects, which would run code ({error}); "
                         "save plain arrays with numpy.savez") from error


def read_idx(path: Path) -> np.ndarray:
    """One array of an IDX file, plain or compressed by gzip, in the machine's own order of bytes.

    Two zero bytes, the type, the number of axes, their lengths as big-endian 32-bit integers, then the numbers. Raises
    `InputError` for any other content, and for one that is cut off.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path.name} is not read ({error}); is it a whole file of gzip?") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in IDX_TYPES:
        raise InputError(f"{path.name} is no IDX file: it begins with {content[:4].hex(' ') or 'nothing'}, where two "
                         "zero bytes and the type of its numbers are due")
    kind, axes = np.dtype(IDX_TYPES[content[2]]), content[3]
    start = 4 + 4 * axes
    shape = struct.unpack(f">{axes}I", content[4:start]) if len(content) >= start else ()
    if len(content) < start or len(content) != start + math.prod(shape) * kind.itemsize:
        raise InputError(f"{path.name} holds {len(content)} bytes, which is not what its {axes} axes of lengths "
                         f"{shape} need; it is cut off or damaged")
    return np.frombuffer(content, kind, offset=start).reshape(shape).astype(kind.newbyteorder("="))


def _read_idx_folder(folder: Path) -> dict[str, np.ndarray]:
    found = {name: sorted(folder.glob(f"{start}*")) for name, start in IDX_FILES.items()}
    for name, paths in found.items():
        if len(paths) != 1:
            raise InputError(f"the folder {str(folder)!r} holds {len(paths)} files {IDX_FILES[name]}*; it needs an "
                             f".npz file or one each of {', '.join(f'{start}*' for start in IDX_FILES.values())}")
    return {name: read_idx(paths[0]) for name, paths in found.items()}


def _checked(name: str, arrays: dict[str, np.ndarray]) -> Data:
    """As `Data` has them. Raises `InputError` for arrays that do not fit each other, or are not finite."""
    data = Data(name, *(_inputs(arrays[key], key) if key[0] == "x" else _targets(arrays[key], key) for key in ARRAYS))
    for x, y, which in ((data.x_train, data.y_train, "train"), (data.x_test, data.y_test, "test")):
        if len(x) != len(y) or not len(x):
            raise InputError(f"x_{which} has {len(x)} examples and y_{which} {len(y)}; each needs its target")
    for one, other, which in ((data.x_train, data.x_test, "x"), (data.y_train, data.y_test, "y")):
        if one.shape[1:] != other.shape[1:] or one.dtype != other.dtype:
            raise InputError(f"{which}_train is {one.dtype} of shape {one.shape} and {which}_test {other.dtype} of "
                             f"{other.shape}; only the number of examples may differ")
    return data


def _inputs(x: np.ndarray, name: str) -> np.ndarray:
    """As float32; bytes over 255, and images without an axis of channels with one."""
    if x.dtype.kind not in "fiu" or x.ndim < 2:
        raise InputError(f"{name} is {x.dtype} of shape {x.shape}; it must hold real numbers, one row an example")
    scaled = x.astype(np.float32) / 255 if x.dtype == np.uint8 else x.astype(np.float32)
    if not np.isfinite(scaled).all():
        raise InputError(f"{name} holds NaN or infinite values, the first at index {_first(~np.isfinite(scaled))}; "
                         "remove such examples")
    return scaled[:, None] if scaled.ndim == 3 else scaled


def _targets(y: np.ndarray, name: str) -> np.ndarray:
    """Integers are classes, from 0; all else is numbers."""
    if y.dtype.kind in "iu" and y.ndim == 1:
        if y.size and y.min() < 0:
            raise InputError(f"{name} holds the class {y.min()}; classes count from 0")
        return y.astype(np.int64)
    if y.dtype.kind != "f" or y.ndim not in (1, 2):
        raise InputError(f"{name} is {y.dtype} of shape {y.shape}; it must hold classes, integers of shape (N,), or "
                         "numbers, floating-point of shape (N,) or (N, T)")
    if not np.isfinite(y).all():
        raise InputError(f"{name} holds NaN or infinite values, the first at index {_first(~np.isfinite(y))}; remove "
                         "such examples")
    return y.astype(np.float32)


def _first(where: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(where)[0])
