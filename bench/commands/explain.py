"""``python -m bench explain``: what the structured engines do with each parameter, and what "auto" takes, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import impls
from bench.cells.data import load_inputs
from bench.cells.methods import why_no_device
from bench.cells.profiles import fixtures, select
from bench.cells.user_model import UserModel, parse_model, users_code
from impls.choice import auto
from impls.choice.costs import STRUCTURED
from impls.protocol import Framework
from impls.structured.explain import explain as table_of_plan
from reference import Case, InputError, Request
from reference.case import Device, DType, Outputs

MIB = 2**20


@dataclass(frozen=True)
class Explain:
    """Show how the structured engines would compute a kernel: for each parameter the rule that covers it or why none
    does, the way chosen, operations and bytes; then every method's predicted time and memory, and what "auto" takes.

    Nothing is computed but the machine's speed, once.
    """

    cases: tuple[str, ...] = ()
    """Of the small shared cases; patterns such as 'conv_*' are allowed."""
    model: str | None = None
    """FILE.py:FUNCTION, which returns a network, as for `run`."""
    input: Path | None = None
    """X.npy or X.npz, the examples for --model; integers for a model that embeds tokens."""
    methods: tuple[str, ...] = STRUCTURED
    """Of the structured engines."""
    outputs: Outputs = "full"
    """The kind of kernel."""
    dtype: DType = "float32"
    """Of the parameters."""
    device: Device = "cpu"
    """Where the methods would run."""
    symmetric: bool = False
    """As if x2 were x1."""
    memory_limit: float | None = None
    """MiB beyond the kernel itself; what is free, unless given."""


def explain(command: Explain) -> None:
    """Print it. Raises `InputError` for names, a model or inputs that cannot be used."""
    request = Request(command.outputs, command.dtype, command.device)
    limit = None if command.memory_limit is None else int(command.memory_limit * MIB)
    if limit is not None and limit <= 0:
        raise InputError(f"--memory-limit must be positive, got {command.memory_limit}")
    methods = select(command.methods, STRUCTURED, "structured method")
    no_device = {name: why_no_device(_framework(name), command.device) for name in methods}
    if all(no_device.values()):
        raise InputError(no_device[methods[0]])
    for case in _cases(command):
        case = case.with_symmetry() if command.symmetric else case
        for name in methods:
            print(f"{case.name}, {name}, {command.outputs}, {command.dtype}, {_sizes(case)}")
            lacking = no_device[name]
            print(f"unsupported: {lacking}\n" if lacking else f"{_explained(name, case, request, limit)}\n")


def _cases(command: Explain) -> Sequence[Case]:
    if command.model is None:
        if not command.cases or command.input is not None:
            raise InputError("explain needs --cases NAME …, or --model FILE.py:FUNCTION with --input X.npy")
        sources = fixtures()
        names = select(command.cases, [source.name for source in sources], "case")
        return [source.build() for source in sources if source.name in names]
    if command.cases:
        raise InputError("explain takes --cases or --model, not both")
    inputs = None if command.input is None else load_inputs(command.input, integers=True)
    return [UserModel(*parse_model(command.model), inputs).build()]


def _sizes(case: Case) -> str:
    return f"{len(case.x1)} × {len(case.x1)} examples, x2 = x1" if case.x2 is None else (
        f"{len(case.x1)} × {len(case.x2)} examples")


def _explained(name: str, case: Case, request: Request, limit: int | None) -> str:
    if (reason := impls.unsupported(impls.load(name), case, request)) is not None:
        return f"unsupported: {reason}"
    with users_code(case):
        found = auto.candidates(auto.own_of_case(_framework(name), case, request), request, limit)
    engine = next(candidate.engine for candidate in found if candidate.name == name)
    return f"{table_of_plan(engine.plan)}\n\n{auto.table(found)}"


def _framework(name: str) -> Framework:
    return impls.load(name).framework
