"""Arrays by name in one .npz file, written whole or not at all. Nothing is pickled."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from reference import InputError

_ABOUT = "about.json"


def save(path: Path, arrays: dict[str, np.ndarray], about: dict[str, Any]) -> None:
    """Replace the file by one with these arrays, and `about`, which JSON can hold.

    A process that is killed meanwhile leaves the file that was there. Raises `InputError` for arrays of other than
    numbers and strings, such as those of bfloat16, which .npz files do not hold.
    """
    for name, array in arrays.items():
        if array.dtype.kind not in "fiubcU":
            raise InputError(f"{name} is {array.dtype}, which a checkpoint does not hold; train in float32")
    whole: dict[str, Any] = {f"array/{name}": array for name, array in arrays.items()}
    whole[_ABOUT] = np.array(json.dumps(about))
    new = path.with_name(f"{path.name}.new")
    with new.open("wb") as file:
        np.savez(file, **whole)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays, and `about`. Raises `InputError` for a file of something else."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name.removeprefix("array/"): file[name] for name in file if name != _ABOUT}
            return arrays, json.loads(str(file[_ABOUT]))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise InputError(f"{path} is no checkpoint of a tracked run ({error}); remove it, or choose another folder "
                         "with --out") from error
