"""What may cross from a process of the pool to its parent: JSON, and a closed list of records. Nothing is unpickled."""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import Any, Literal

import numpy as np

from bench.cells.methods import Listed
from bench.records.record import CaseInfo
from bench.records.types import fits, hints_of
from bench.truth.conditioning import Conditioning
from bench.truth.projections import Projection
from bench.truth.truth import Truth
from reference import Expected
from reference.initialisations import Initialised

_KIND = "kind of record"


@dataclasses.dataclass(frozen=True)
class Progress:
    phase: str
    measured: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Answer:
    value: Any


@dataclasses.dataclass(frozen=True)
class Failure:
    """`refused` is input that cannot be used: the user's to mend, not the method's."""

    status: Literal["oom", "crash", "refused"]
    reason: str


Message = Progress | Answer | Failure
RECORDS = {kind.__name__: kind for kind in (
    Progress, Answer, Failure, CaseInfo, Listed, Truth, Expected, Initialised,
    Conditioning, Projection)}


class Garbled(Exception):
    """What came is none of ours."""


def encoded(message: Message) -> bytes:
    """`message` as ASCII. Raises `TypeError` for what is neither JSON, a NumPy value nor one of our records."""
    return json.dumps(_plain(message)).encode("ascii")


def decoded(text: bytes) -> Message:
    """The message again. Raises `Garbled` for anything that `encoded` does not write."""
    try:
        message = json.loads(text, object_hook=_restored)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Garbled(f"{type(error).__name__}") from error
    if not isinstance(message, Progress | Answer | Failure):
        raise Garbled(f"a {type(message).__name__}")
    return message


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {_key(key): _plain(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return {_KIND: "tuple", "items": [_plain(each) for each in value]}
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode("ascii")
        return {_KIND: "array", "dtype": value.dtype.str, "shape": list(value.shape), "data": data}
    if isinstance(value, np.generic):
        return _plain(value.item())
    name = type(value).__name__
    if RECORDS.get(name) is type(value):
        fields = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(RECORDS[name])}
        return {_KIND: name, "fields": fields}
    raise TypeError(f"a {name} cannot be sent")


def _key(key: Any) -> str:
    if not isinstance(key, str) or key == _KIND:
        raise TypeError(f"a dict with the key {key!r} cannot be sent")
    return key


def _restored(found: dict[str, Any]) -> Any:
    """Innermost first, as `json.loads` calls it."""
    if _KIND not in found:
        return found
    name = found[_KIND]
    if name == "tuple":
        return tuple(found["items"])
    if name == "array":
        return _array(found)
    kind = RECORDS[name]
    hints = hints_of(kind)
    fields: dict[str, Any] = {
        field: np.asarray(value) if hints[field] is np.ndarray and isinstance(value, float) else value
        for field, value in found["fields"].items()}  # one number of NumPy's, where an array may stand
    if not all(fits(value, hints[field]) for field, value in fields.items()):
        raise TypeError(name)
    return kind(**fields)


def _array(found: dict[str, Any]) -> np.ndarray:
    dtype = np.dtype(found["dtype"])
    if dtype.kind not in "fiub":
        raise TypeError(dtype)
    flat = np.frombuffer(base64.b64decode(found["data"], validate=True), dtype)
    return flat.reshape(found["shape"]).copy()
