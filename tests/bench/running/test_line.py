"""What crosses from a process of the pool: data that is what it was, and of anything else nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
import pytest

from bench.cells.methods import Listed
from bench.records.record import CaseInfo
from bench.records.types import hints_of
from bench.running.data import RECORDS, Answer, Failure, Garbled, Message, Progress, decoded, encoded
from bench.running.line import Line, tell
from bench.truth.conditioning import Conditioning
from bench.truth.projections import Projection
from bench.truth.truth import Truth
from reference import Expected

INFO = CaseInfo("a", "MLP", 8, 2, None, 3, 99, "random", digest="d")
MESSAGES: list[Message] = [
    Progress("set-up \udcff", {"setup_s": 0.5, "samples_s": (1.0, float("inf")), "peak_bytes": None, "info": INFO}),
    Answer([Listed("m", "f.py:M")]), Answer({"a": np.float32(0.5)}), Failure("oom", "no room"), Answer(None)]


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


@pytest.mark.parametrize("message", MESSAGES)
def test_messages_arrive_as_they_were(pipe: tuple[int, int], message: Message) -> None:
    tell(pipe[1], message)
    assert list(Line(pipe[0], 10_000).messages()) == [message]


def test_a_truth_arrives_as_it_was() -> None:
    rng = np.random.default_rng(0)
    blocks = [rng.standard_normal(shape) for shape in ((2, 2, 3, 3), (2, 3, 3), (2, 3, 3))]
    drawn = Projection("full", blocks[1][0], blocks[2][0], (0, 1), blocks[0].sum(), np.ones(()))
    truth = Truth(INFO, Expected(blocks[0], blocks[1], blocks[2], "tape"), (0, 1), None,
                  {"float32": Conditioning("float32", 1e-7, {"full": 1e-8}, 3)}, {"full": drawn}, True, 0.5, "both")
    answer = decoded(encoded(Answer(truth)))
    assert isinstance(answer, Answer)
    for field in ("info", "examples1", "examples2", "conditionings", "float32_inside", "doubt", "undecided"):
        assert getattr(answer.value, field) == getattr(truth, field)
    arrays = [(dataclasses.astuple(of.expected)[:3], dataclasses.astuple(of.projections["full"])[1:])
              for of in (truth, answer.value)]
    np.testing.assert_equal(arrays[1], arrays[0])
    assert answer.value.projections["full"].values.shape == ()


def _framed(text: bytes) -> bytes:
    return len(text).to_bytes(8, "big") + text


class _Command:
    """Unpickled, it would run a command."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("false",)


RUBBISH = {
    "noise": b"\xff\x00rubbish" * 9, "nothing": _framed(b""), "pickle": _framed(pickle.dumps(_Command())),
    "bare pickle": pickle.dumps(_Command()), "no message": _framed(b"[1, 2]"), "deep": _framed(b"[" * 9000),
    "unknown": _framed(json.dumps({"kind of record": "Popen", "fields": {}}).encode()),
    "unhashable": _framed(json.dumps({"kind of record": [1]}).encode()),
    "field": _framed(json.dumps({"kind of record": "Answer", "fields": {"valu": 1}}).encode()),
    "type": _framed(json.dumps({"kind of record": "Failure", "fields": {"status": "oom", "reason": 3}}).encode()),
    "objects": _framed(json.dumps({"kind of record": "array", "dtype": "O", "shape": [0], "data": ""}).encode()),
    "shape": _framed(json.dumps({"kind of record": "array", "dtype": "<f8", "shape": [9], "data": ""}).encode()),
    "too long": _framed(b" " * 20_000), "too much": _framed(encoded(Progress("a", {}))) * 400,
}


@pytest.mark.parametrize("rubbish", RUBBISH)
def test_what_is_no_message_is_garbled(pipe: tuple[int, int], rubbish: str) -> None:
    os.write(pipe[1], RUBBISH[rubbish])
    with pytest.raises(Garbled):
        list(Line(pipe[0], 10_000).messages())


def test_half_a_message_keeps_nobody_and_an_end_is_seen(pipe: tuple[int, int]) -> None:
    line, whole = Line(pipe[0], 10_000), _framed(encoded(Answer(1)))
    os.write(pipe[1], whole[:20])
    assert list(line.messages()) == []
    os.write(pipe[1], whole[20:])
    os.close(pipe[1])
    assert list(line.messages()) == [Answer(1)]
    assert not line.open


def test_what_is_not_data_cannot_be_sent() -> None:
    for value in (object(), {1: 2}, np.array([object()]), {"kind of record": "tuple"}):
        with pytest.raises(TypeError, match="cannot be sent"):
            encoded(Answer(value))


def test_every_record_inside_a_truth_can_be_sent() -> None:
    reached, left = set[type](), [Truth, Listed]
    while left:
        kind = left.pop()
        reached.add(kind)
        left += [each for hint in hints_of(kind).values() for each in _records_in(hint) if each not in reached]
    assert {Truth, Listed, CaseInfo, Expected, Conditioning, Projection} < reached
    assert reached <= set(RECORDS.values())


def _records_in(hint: Any) -> list[type]:
    inside = [each for argument in get_args(hint) for each in _records_in(argument)]
    return [*inside, hint] if isinstance(hint, type) and dataclasses.is_dataclass(hint) else inside
