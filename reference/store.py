"""The stored kernels: proved values as text, each bound by digests to the case that it belongs to."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from reference.case import Case, InputError, Outputs
from reference.cases import case as shared_case
from reference.cases import names
from reference.expected import Expected
from reference.layered import Described

FOLDER = Path(__file__).parent / "kernels"
REMEDY = "regenerate the stored kernels with `nox -s kernels`"


class StoreError(Exception):
    """A stored kernel is missing or belongs to other parameters or inputs; the message says what to do."""


def kernel(case: Case, outputs: Outputs = "full") -> Float64[np.ndarray, "N1 N2 *outputs"]:
    """The proved kernel of a shared case or of its symmetric variant; errors as in `expected`."""
    return expected(case).outputs(outputs)


def has_proof(case: Case) -> bool:
    """Whether `case` is a shared case, or one with x2 = x1, with these very parameters and inputs."""
    if case.name not in names() or not isinstance(case.network, Described):
        return False
    return digests(case).items() <= digests(shared_case(case.name)).items()


def expected(case: Case) -> Expected:
    """The proved values for a shared case or its symmetric variant.

    Each entry is the float64 nearest to a number proved to be within 2⁻⁷⁰·√(K[n,n,a,a] K[m,m,b,b]) of the true one.
    Raises `InputError` for a case without a proof, and `StoreError` where the file is missing or stale.
    """
    if not has_proof(case):
        raise InputError(f"case {case.name!r} has no proved kernel; reference.float64_expected computes a few examples")
    stored = read(case.name)
    stale = [what for what, digest in digests(case).items() if stored["digests"].get(what) != digest]
    if stale:
        raise StoreError(f"the stored kernel of case {case.name!r} was proved for another {', '.join(stale)}; {REMEDY}")
    arrays = {name: np.array(entry["values"]).reshape(entry["shape"]) for name, entry in stored["kernels"].items()}
    block1 = np.einsum("nnab->nab", arrays["x1_x1"]).copy()
    if case.symmetric:
        return Expected(arrays["x1_x1"], block1, block1.copy(), "proved kernel")
    return Expected(arrays["x1_x2"], block1, arrays["x2_x2_blocks"], "proved kernel")


def digests(case: Case) -> dict[str, str]:
    """SHA-256 of the model (architecture, parameters, constants), of x1, and of x2 where there is one."""
    model = hashlib.sha256(repr(case.network).encode())
    for name, value in {**case.params, **case.constants}.items():
        model.update(name.encode() + _bytes(value))
    inputs = {"x1": case.x1} | ({} if case.x2 is None else {"x2": case.x2})
    return {"model": model.hexdigest()} | {name: hashlib.sha256(_bytes(x)).hexdigest() for name, x in inputs.items()}


def path(name: str) -> Path:
    """The file of the stored kernel of that case."""
    return FOLDER / f"{name}.json"


def read(name: str) -> dict[str, Any]:
    """The stored entry as it stands in the file. Raises `StoreError` where there is no such file, or it is broken."""
    try:
        return json.loads(path(name).read_text())
    except FileNotFoundError:
        raise StoreError(f"the kernel of case {name!r} is not stored at {path(name)}; {REMEDY}") from None
    except json.JSONDecodeError as error:
        raise StoreError(f"{path(name)} is not valid JSON ({error}); {REMEDY}") from error


def write(entry: dict[str, Any]) -> None:
    """Store an entry; JSON keeps every float64 exactly (shortest representation that reads back the same)."""
    FOLDER.mkdir(exist_ok=True)
    path(entry["case"]).write_text(json.dumps(entry, indent=1, allow_nan=False) + "\n")


def _bytes(array: np.ndarray) -> bytes:
    return repr(array.shape).encode() + np.ascontiguousarray(array, dtype="<f8").tobytes()
