"""Proving the stored kernels anew, and comparing what is stored with what is proved."""

from __future__ import annotations

import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from reference import store
from reference.case import Case, seed_of
from reference.cases import cases, names
from reference.checks import check_case
from reference.compare import compare
from reference.expected import Expected
from reference.float64 import float64_expected
from reference.oracle import RADIUS_LIMIT, Proof, ProofError, prove

# Everything that the values come from; a change to any of these makes the stored kernels stale.
SOURCES = ("arithmetic.py", "balls.py", "checks.py", "forward.py", "forward_layers.py", "jacobian.py", "layered.py",
           "layers.py", "networks.py", "oracle.py", "seen.py", "tape.py", "windows.py")

CHECKS = (
    f"every radius below {RADIUS_LIMIT!r} of the square root of the product of the two diagonal entries",
    "no input on a kink of the activation",
    "the tape's derivatives agree with central differences at 320 bits, for every example along a random direction",
    "the float64 tape agrees within the exact float64 tolerance",
)


def regenerate() -> None:
    """Prove and store the kernels of all shared cases, and remove files of cases that are no more."""
    for case in cases():
        store.write(entry(case))
        print(f"{case.name}: stored", flush=True)
    for name in _superfluous():
        store.path(name).unlink()
        print(f"{name}: removed, there is no such case")


def differences() -> list[str]:
    """What differs between the stored kernels and those proved now, one line a finding; values are compared bitwise."""
    found = [f"{name}: stored, but there is no such case" for name in _superfluous()]
    for case in cases():
        try:
            stored = store.read(case.name)
        except store.StoreError as error:
            found.append(f"{case.name}: {error}")
            continue
        found += [f"{case.name}: {what}" for what in _compare_entries(stored, entry(case))]
    return found


def entry(case: Case) -> dict[str, Any]:
    """What is stored of a case: the proved values, digests of what they belong to, and where they come from."""
    proof = prove(case)
    check_case(case, np.random.default_rng(seed_of(f"checks of {case.name}")))
    kernels = {"x1_x2": proof.full, "x1_x1": proof.symmetric, "x2_x2_blocks": proof.block2}
    values = {name: _nearest(balls) for name, balls in kernels.items()}
    _check_float64(case, values)
    stored = {name: {"shape": list(array.shape), "values": array.ravel().tolist()} for name, array in values.items()}
    return {
        "case": case.name,
        "network": repr(case.network),
        "digests": store.digests(case),
        "provenance": _provenance(proof),
        "kernels": stored,
    }


def sources_digest() -> str:
    """SHA-256 of the sources that the values come from."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for name in SOURCES:
        digest.update(name.encode() + (folder / name).read_text(encoding="utf-8").encode())
    return digest.hexdigest()


def _provenance(proof: Proof) -> dict[str, Any]:
    packages = {name: version(name) for name in ("python-flint", "numpy")}
    return {
        "script": "python -m reference regenerate",
        "sources": list(SOURCES),
        "sources_sha256": sources_digest(),
        "precision_bits": proof.bits,
        "max_relative_radius": proof.radius,
        "versions": packages | {"python": platform.python_version()},
        "checks": list(CHECKS),
    }


def _nearest(balls: np.ndarray) -> np.ndarray:
    from reference.balls import nearest_float

    return np.array([nearest_float(ball) for ball in balls.ravel()]).reshape(balls.shape)


def _check_float64(case: Case, values: dict[str, np.ndarray]) -> None:
    assert case.x2 is not None
    blocks = np.einsum("nnab->nab", values["x1_x1"]), values["x2_x2_blocks"]
    tape = float64_expected(case, range(len(case.x1)), range(len(case.x2)))
    proved = Expected(values["x1_x2"], *blocks, source="proved kernel")
    result = compare(tape.full, proved, outputs="full", dtype="float64", symmetric=False)
    if not result.ok:
        raise ProofError(f"case {case.name!r}: the tape in float64 disagrees with its proof: {result.reason}")


def _compare_entries(stored: dict[str, Any], proved: dict[str, Any]) -> list[str]:
    found = [f"{what} differs" for what in ("network", "digests", "kernels")
             if json.dumps(stored.get(what)) != json.dumps(proved[what])]
    if stored.get("provenance", {}).get("sources_sha256") != proved["provenance"]["sources_sha256"]:
        found.append(f"was proved by other sources; {store.REMEDY}")
    return found


def _superfluous() -> list[str]:
    return sorted({file.stem for file in store.FOLDER.glob("*.json")} - set(names()))
