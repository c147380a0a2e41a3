"""What a store holds the kernel of, as numbers and digests, and what another kernel has that is different.

Parameters and inputs are told by digests of their numbers, inputs by that of each band of examples, so that more may
follow. The network itself is told by what it does: products of the gradients of a few pairs of examples, parameter by
parameter, taken by backward passes of the function as it is. No code is written down or read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from reference import InputError
from reference.case import DType, Outputs

FORMAT = 2

Digest = Callable[[slice], str]
"""Of these examples."""


@dataclass(frozen=True)
class Side:
    """x1 or x2: how many examples, and digests of bands of them (the last may be shorter)."""

    examples: int
    bands: tuple[str, ...]


@dataclass(frozen=True)
class Witness:
    """uᵀ K[i, j] v of two examples and two directions, as shares of the parameters; `scale`: the product of the
    lengths of the two gradients."""

    i: int
    j: int
    shares: Mapping[str, float]
    scale: float


@dataclass(frozen=True)
class Identity:
    """All that decides the numbers of a kernel."""

    outputs: Outputs
    dtype: DType
    n_outputs: int
    tile: tuple[int, int]
    method: str
    options: Mapping[str, Any]
    versions: Mapping[str, str]
    parameters: Mapping[str, str]
    x1: Side
    x2: Side | None
    witnesses: tuple[Witness, ...] = ()
    format: int = FORMAT

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Identity:
        """Raises `InputError` for what another version of this format wrote."""
        found = json.loads(text)
        if found.get("format") != FORMAT:
            raise InputError(f"the store has format {found.get('format')!r}, and this version reads {FORMAT}")
        x2 = None if found["x2"] is None else Side(found["x2"]["examples"], tuple(found["x2"]["bands"]))
        x1 = Side(found["x1"]["examples"], tuple(found["x1"]["bands"]))
        witnesses = tuple(Witness(**each) for each in found["witnesses"])
        return cls(**{**found, "tile": tuple(found["tile"]), "x1": x1, "x2": x2, "witnesses": witnesses})


def side(n: int, band: int, digest: Digest) -> Side:
    """Of n examples in bands."""
    return Side(n, tuple(digest(slice(start, min(start + band, n))) for start in range(0, n, band)))


def digest(*parts: str | bytes | np.ndarray) -> str:
    """32 hexadecimal digits that differ where any part does; of arrays also where shape or dtype do."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            found.update(f"{part.dtype.str}{part.shape}".encode())
            found.update(np.ascontiguousarray(part).data if part.size else b"")
        else:
            found.update(part.encode() if isinstance(part, str) else part)
        found.update(b"\0")
    return found.hexdigest()[:32]


def differences(stored: Identity, now: Identity, digests: tuple[Digest, Digest], allowed: float) -> list[str]:
    """What differs, a line each; none where `now` is the same, or the same with more examples at the end.

    `digests`: of the examples that are given now. `allowed`: of a share, in terms of its scale.
    """
    found = [f"{name}: {was!r} there, {here!r} now"
             for name, was, here in ((name, getattr(stored, name), getattr(now, name)) for name in (
                 "outputs", "dtype", "n_outputs", "tile", "method", "options")) if was != here]
    found += _of_mappings("version of", stored.versions, now.versions)
    found += _of_parameters(stored.parameters, now.parameters)
    if (stored.x2 is None) != (now.x2 is None):
        found.append(f"x2: {'x2 = x1' if stored.x2 is None else 'an x2'} there, "
                     f"{'x2 = x1' if now.x2 is None else 'an x2'} now")
        return found
    sides = zip(("x1", "x2"), (stored.x1, stored.x2), (now.x1, now.x2), stored.tile, digests, strict=True)
    for name, was, here, band, of in sides if stored.tile == now.tile else ():
        if was is not None and here is not None:
            found += _of_side(name, was, here, band, of)
    return found or _of_witnesses(stored.witnesses, now.witnesses, allowed)


def _of_mappings(what: str, was: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    return [f"{what} {name}: {was.get(name, 'none')} there, {here.get(name, 'none')} now"
            for name in {**was, **here} if was.get(name) != here.get(name)]


def _of_parameters(was: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    if was.keys() != here.keys():
        return [f"parameters: {', '.join(sorted(was.keys() ^ here.keys())[:5])} are in one of the two only"]
    other = [name for name in was if was[name] != here[name]]
    return [f"values of the parameters {', '.join(other[:5])}" + (f" and {len(other) - 5} more" if other[5:] else "")
            ] if other else []


def _of_side(name: str, was: Side, here: Side, band: int, of: Digest) -> list[str]:
    if here.examples < was.examples:
        return [f"{name}: {was.examples} examples there, {here.examples} now; give all of them, and new ones behind"]
    for number, known in enumerate(was.bands):
        rows = slice(number * band, min((number + 1) * band, was.examples))
        if (here.bands[number] if rows.stop - rows.start == band or here.examples == was.examples else of(rows)
                ) != known:
            return [f"{name}: other numbers in the examples {rows.start} to {rows.stop - 1}"]
    return []


def _of_witnesses(was: tuple[Witness, ...], here: tuple[Witness, ...], allowed: float) -> list[str]:
    for old, new in zip(was, here, strict=False):
        for name in {**old.shares, **new.shares}:
            before, after = old.shares.get(name, 0.0), new.shares.get(name, 0.0)
            if not abs(before - after) <= allowed * max(old.scale, new.scale):
                return [f"the network: of examples {old.i} and {old.j} the gradients of {name} had the product "
                        f"{before:.6g} there, and have {after:.6g} now"]
    return []
