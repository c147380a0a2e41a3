"""Kernels kept in files, with what made them: a kernel is not taken for that of another network or of other examples.

    save_kernel("k.npz", ntk(model, x1, x2), model=model, x1=x1, x2=x2, method="structured_torch")
    kernel = load_kernel("k.npz", model=model, x1=x1, x2=x2).kernel

An .npz file of the kernel, a few outputs of the network, and a text in JSON; nothing in it is unpickled.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple, cast
from zipfile import BadZipFile

import numpy as np

from reference import InputError, tolerance
from reference.case import DType, Outputs
from studies.digests import digest
from studies.matrix import as_array, as_real
from studies.tracking.features import observe, weights
from studies.tracking.untouched import untouched

FORMAT = 1
PACKAGES = ("ntk-bench", "numpy", "torch", "jax", "jaxlib", "equinox", "flax", "neural-tangents")
SAMPLE = 4
"""Examples of which the network's outputs are kept: they tell what digests of the weights do not, such as another
activation, or other running statistics."""

AXES: Mapping[Outputs, int] = {"full": 4, "diagonal": 3, "trace": 2}


class SavedKernel(NamedTuple):
    """`kernel` as it was saved. `about`: "method", "options", "outputs", "versions", "network", "weights", "x1", "x2";
    the last three are SHA-256 digests."""

    kernel: np.ndarray
    about: dict[str, Any]


def save_kernel(path: Path | str, kernel: Any, *, model: Any, x1: Any, x2: Any = None, params: Any = None,
                outputs: Outputs = "full", method: str = "auto", options: Mapping[str, Any] | None = None) -> None:
    """Write what ``impls.ntk(model, x1, x2, params=params, outputs=outputs, method=method, **options)`` gave; the file
    is there whole, or as it was before.

    Raises `InputError` for a kernel whose shape is not that of these outputs and examples, or that is not finite.
    """
    if outputs not in AXES:
        raise InputError(f"outputs={outputs!r} is not one of {', '.join(AXES)}")
    path, array = _npz(path), as_array(kernel, "the kernel")
    n1, n2 = len(x1), len(x1 if x2 is None else x2)
    if array.ndim != AXES[outputs] or array.shape[:2] != (n1, n2):
        raise InputError(f"the kernel has shape {array.shape}, which is not one of outputs={outputs!r} between {n1} "
                         f"and {n2} examples; give the x1, x2 and outputs that it was computed with")
    if array.dtype not in (np.float32, np.float64):
        raise InputError(f"the kernel, of dtype {array.dtype}, must hold numbers of float32 or float64")
    about = {"format": FORMAT, "method": method, "options": dict(options or {}), "outputs": outputs,
             "versions": versions(), "network": _name(model), "kernel": digest({"kernel": array}),
             **_digests(model, params, x1, x2)}
    _write(path, kernel=array, sample=_sample(model, params, x1), about=np.array(_as_json(about)))


def load_kernel(path: Path | str, *, model: Any = None, params: Any = None, x1: Any = None,
                x2: Any = None) -> SavedKernel:
    """The kernel, refused where it does not fit what is given: `model` by its weights and, with `x1`, its outputs;
    `x1` and `x2` to the bit.

    Where x1 is given and x2 is not, the kernel must be that of x1 with itself. Raises `InputError` for what does not
    fit, and for a file of something else or that is damaged.
    """
    path = _npz(path)
    kernel, sample, about = _read(path)
    if digest({"kernel": kernel}) != about["kernel"]:
        raise InputError(f"{path.name} is damaged: its kernel is not the one that was saved")
    found = _digests(model, params, x1, x2)
    compared = [name for name, given in (("weights", model), ("x1", x1), ("x2", x1 if x2 is None else x2))
                if given is not None]
    if other := [name for name in compared if found[name] != about[name]]:
        raise InputError(f"the kernel in {path.name} is not that of this network and these examples: it was made with "
                         f"other {' and '.join(other)} (network {about['network']}, method {about['method']}); compute "
                         "it anew")
    if model is not None and x1 is not None and not _close(_sample(model, params, x1), sample):
        raise InputError(f"the kernel in {path.name} is not that of this network: the weights are the same, and the "
                         "outputs differ (another activation, other buffers or running statistics?); compute it anew")
    return SavedKernel(kernel, about)


def versions() -> dict[str, str]:
    """Of Python and the packages that kernels depend on, those that are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _as_json(about: dict[str, Any]) -> str:
    try:
        return json.dumps(about)
    except TypeError as error:
        raise InputError(f"options={about['options']!r} are not kept ({error}); give them as Python's numbers, "
                         "strings, lists and dicts") from error


def _write(path: Path, **arrays: np.ndarray) -> None:
    new = path.with_name(f"{path.name}.new")
    try:
        with new.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        new.replace(path)
    except OSError as error:
        raise InputError(f"the kernel is not written to {path} ({error.strerror or error})") from error


def _read(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            kernel, sample = file["kernel"], file["sample"]
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}; save a kernel with save_kernel") from error
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise InputError(f"{path.name} is no saved kernel ({error})") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise InputError(f"{path.name} is a saved kernel of another format than {FORMAT}; compute it anew")
    return kernel, sample, about


def _npz(path: Path | str) -> Path:
    if Path(path).suffix != ".npz":
        raise InputError(f"a kernel is kept in an .npz file, got {str(path)!r}")
    return Path(path)


def _digests(model: Any, params: Any, x1: Any, x2: Any) -> dict[str, str | None]:
    return {"weights": None if model is None else digest(weights(model, params=params)),
            "x1": None if x1 is None else digest({"x": as_real(x1, "x1")}),
            "x2": None if x2 is None else digest({"x": as_real(x2, "x2")})}


def _sample(model: Any, params: Any, x1: Any) -> np.ndarray:
    with untouched():
        return observe(model, x1[:SAMPLE], params=params).outputs


def _close(found: np.ndarray, kept: np.ndarray) -> bool:
    """Up to rounding, which is another one on another machine."""
    if found.shape != kept.shape:
        return False
    limit = tolerance(cast(DType, "float64" if kept.dtype == np.float64 else "float32"))
    return bool(np.abs(found - kept).max(initial=0.0) <= limit * np.abs(kept).max(initial=0.0))


def _name(model: Any) -> str:
    """Of a module's class, or of a function."""
    model = model[0] if isinstance(model, tuple) else model
    return getattr(model, "__qualname__", type(model).__qualname__)
