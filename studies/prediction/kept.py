"""Kernels kept in a folder: a prediction that was stopped, or is asked for other times, does not compute them again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from reference import InputError
from studies.prediction.blocks import Kernels
from studies.saved import load_kernel, save_kernel, versions

Examples = tuple[np.ndarray, np.ndarray | None]


def kept(folder: Path, model: Any, x: np.ndarray, x_test: np.ndarray, method: str,
         compute: Callable[[], Kernels]) -> tuple[Kernels, bool]:
    """The two kernels from FOLDER/kernel_train.npz and kernel_test.npz, and whether they were there: of this network
    and these examples, by this method, of these versions. Else `compute` makes them, and they are kept in place of what
    was there."""
    pairs: dict[Path, Examples] = {folder / "kernel_train.npz": (x, None), folder / "kernel_test.npz": (x_test, x)}
    found = [_load(path, model, examples, method) for path, examples in pairs.items()]
    if all(each is not None for each in found):
        return Kernels(*found), True
    K = compute()
    folder.mkdir(parents=True, exist_ok=True)
    for (path, examples), kernel in zip(pairs.items(), (K.train, K.test_train), strict=True):
        save_kernel(path, kernel, model=model, x1=examples[0], x2=examples[1], method=method)
    return K, False


def _load(path: Path, model: Any, examples: Examples, method: str) -> np.ndarray | None:
    if not path.exists():
        return None
    try:
        kernel, about = load_kernel(path, model=model, x1=examples[0], x2=examples[1])
    except InputError:  # of another network or other examples, or not whole
        return None
    return kernel if (about["method"], about["versions"]) == (method, versions()) else None
