"""``method="auto"``: every exact method that works on any function, its predicted time and memory, and the choice.

The time is that of a kernel in the steady state, after tracing and compilation, which are not counted. What does not
fit into memory is never chosen. Methods are imported only once they are chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from impls import registry
from impls.choice import calibration, costs
from impls.choice.costs import Facts
from impls.choice.halves import half
from impls.choice.rates import Rates
from impls.frameworks.faces import free_memory
from impls.given.batches import OwnBatches, in_batches
from impls.given.network import OwnNetwork
from impls.protocol import Framework
from reference import Case, InputError, Request

# Another method has to be predicted this many times faster than the structured engine, whose predictions are among the
# surest, and which is mostly the fastest: of 1.0 to 2.0 the choice that costs least on the cases that the factors of
# `impls.choice.costs` were fitted to.
MARGIN = 1.3

# Of the memory that is free, what may be used: predictions are not exact, and others allocate too.
USABLE = 0.8

# Blocks of Jacobians are kept within this many bytes even where there is more: larger ones are hardly faster.
JACOBIAN_BYTES = 2.0**30

MAP_EXAMPLES = ("torch_func.jacobian_contraction", "torch_func.ntk_vector_products")
"""Methods that run the network once for all examples (torch.func.vmap), which must then do the same for each."""

READ_BATCHES = costs.STRUCTURED
"""Methods that never need all batches at once."""


@dataclass(frozen=True)
class Candidate:
    """A method with its prediction: `seconds` in the steady state, `bytes` beyond the kernel. `obstacle`: why it
    cannot be chosen, or ""."""

    name: str
    seconds: float
    bytes: float
    batch_size: int | None = None
    memory_limit: int | None = None
    """For a method that plans for one."""
    obstacle: str = ""
    engine: Any = None
    """What the method has traced and planned already, if it has."""


def candidates(own: OwnNetwork, request: Request, memory_limit: int | None, calls: int = 2) -> list[Candidate]:
    """Those that can be chosen, the fastest first, then the others. `request` without options of a method. For one of
    `calls` the machine is not measured.

    Raises `InputError` where the kernel itself does not fit, or no method does.
    """
    request = replace(request, dtype=own.dtype, device=own.device)
    room, of = _room(own, memory_limit)
    engine, facts = planned(own, request, memory_limit)
    room = _beyond_kernel(room, of, facts, memory_limit)
    rates = calibration.rates(own.framework, own.device, own.dtype, calls)
    found = [_candidate(name, facts, rates, request.batch_size, room, of) for name in _known(own.framework)]
    found = [_refitted(candidate, engine, own, request, room) if candidate.name in costs.STRUCTURED else candidate
             for candidate in found]
    if in_batches(own):
        found = [_in_batches(candidate) for candidate in found]
    found.sort(key=lambda candidate: (bool(candidate.obstacle), rank(candidate.name, candidate.seconds)))
    if found[0].obstacle:
        raise InputError(none_fits({candidate.name: candidate.obstacle for candidate in found}))
    return found


def none_fits(obstacles: Mapping[str, str]) -> str:
    """What to tell where there is an obstacle to every method."""
    reasons = "; ".join(f"{name}: {obstacle}" for name, obstacle in obstacles.items())
    return (f"no method fits: {reasons}. Ask for outputs='trace' or 'diagonal', fewer examples, or a larger "
            "memory_limit")


def rank(name: str, seconds: float) -> float:
    """What the choice goes by."""
    return seconds / MARGIN if name in costs.STRUCTURED else seconds


def table(found: Sequence[Candidate]) -> str:
    """The candidates, one a line, and why."""
    rows = [("method", "predicted", "memory", ""),
            *((c.name, f"{c.seconds * 1e3:.3g} ms", f"{c.bytes / 2**20:.3g} MiB", _note(c, found)) for c in found)]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = (["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]] for row in rows)
    return "\n".join("  ".join(line).rstrip() for line in lines)


def own_of_case(framework: Framework, case: Case, request: Request) -> OwnNetwork:
    """The case as a method of that framework would meet it."""
    functional = half(framework).functional(case, request)
    return OwnNetwork(framework, *functional, request.dtype, request.device, 0, 0)  # the plan counts outputs, params


def facts_of_case(framework: Framework, case: Case, request: Request) -> Facts:
    """What predictions for the case are made from."""
    own = own_of_case(framework, case, request)
    return _facts(framework, own.f, own.params, own.x1, own.x2, request)[1]


def _note(candidate: Candidate, found: Sequence[Candidate]) -> str:
    least = min(other.seconds for other in found if not other.obstacle)
    why = "the fastest that fits" if candidate.seconds <= least else "nearly the fastest, and the surest prediction"
    if candidate.obstacle:
        return f"not: {candidate.obstacle}"
    blocks = f", in blocks of {candidate.batch_size} examples" if candidate.batch_size else ""
    limit = f", planned for {candidate.memory_limit / 2**20:.3g} MiB" if candidate.memory_limit is not None else ""
    return (f"chosen: {why}" if candidate is found[0] else "") + blocks + limit


def _known(framework: Framework) -> list[str]:
    """Of the methods with a model of their costs."""
    return [name for name in costs.FACTORS if registry.framework(name) == framework]


def _room(own: OwnNetwork, memory_limit: int | None) -> tuple[float, str]:
    """Bytes that may be used, the kernel included, and what says so."""
    free = free_memory(own.framework, own.device)
    if free is not None:
        return USABLE * free, f"{USABLE * free / 2**20:.4g} MiB of memory may be used"
    return float("inf"), "the memory that is free is not known"


def _beyond_kernel(room: float, of: str, facts: Facts, memory_limit: int | None) -> float:
    if facts.kernel_bytes > room:
        raise InputError(f"the kernel itself takes {facts.kernel_bytes / 2**20:.4g} MiB, and {of}; ask for outputs="
                         "'trace' or 'diagonal', or for fewer examples")
    beyond = room - facts.kernel_bytes
    return float(beyond if memory_limit is None else min(beyond, memory_limit))


def planned(own: OwnNetwork, request: Request, memory_limit: int | None) -> tuple[Any, Facts]:
    """The structured engine for a memory limit, and what predictions are made from."""
    request = replace(request, options={} if memory_limit is None else {"memory_limit": memory_limit})
    return _facts(own.framework, own.f, own.params, own.x1, own.x2, request)


def _facts(framework: Framework, f: Any, params: Any, x1: Any, x2: Any, request: Request) -> tuple[Any, Facts]:
    method: Any = registry.load(f"structured_{framework}")
    some = next(iter(x1)) if isinstance(x1, OwnBatches) else x1
    of_framework = half(framework)
    x1, x2 = (of_framework.stand_in(next(iter(x)), len(x)) if isinstance(x, OwnBatches) else x for x in (x1, x2))
    engine = of_framework.engine(method, f, params, x1, x2, request)
    return engine, of_framework.facts(engine, f, params, some, request)


def _candidate(name: str, facts: Facts, rates: Rates, batch_size: int | None, room: float,
               of: str) -> Candidate:
    once = costs.seconds(name, facts, rates)
    if name in costs.STRUCTURED:
        return Candidate(name, once, costs.held_bytes(name, facts, batch_size), batch_size)
    if name in MAP_EXAMPLES and facts.per_example:
        return Candidate(name, once, 0.0, obstacle="what the network does depends on its numbers, or its derivative is "
                                                   "the user's own")
    size = batch_size or _largest(name, facts, min(room, JACOBIAN_BYTES))
    held = costs.held_bytes(name, facts, size)
    obstacle = "" if held <= room else (f"needs {held / 2**20:.3g} MiB beyond the kernel for blocks of {size} "
                                        f"examples, and {room / 2**20:.3g} MiB are left")
    return Candidate(name, once * _repeats(facts, size), held, size, obstacle=obstacle)


def _largest(name: str, facts: Facts, room: float) -> int | None:
    """The largest blocks that fit, by halves; None for all examples at once, 1 where nothing fits."""
    size, whole = max(facts.n1, facts.n2), True
    while size > 1 and costs.held_bytes(name, facts, None if whole else size) > room:
        size, whole = -(-size // 2), False
    return None if whole else size


def _repeats(facts: Facts, size: int | None) -> float:
    """How often an example's Jacobians are made: those of a block of x2 anew for each block of x1."""
    if size is None or size >= max(facts.n1, facts.n2):
        return 1.0
    blocks1, blocks2 = -(-facts.n1 // size), -(-facts.n2 // size)
    if facts.plan.task.n2 is None:
        return (blocks1 + blocks1 * (blocks1 - 1) / 2) / blocks1
    return (facts.n1 + blocks1 * facts.n2) / (facts.n1 + facts.n2) if blocks2 else 1.0


def _refitted(candidate: Candidate, engine: Any, own: OwnNetwork, request: Request, room: float) -> Candidate:
    """The structured engine plans anew, for the room that there is, where its plan does not fit."""
    limit = engine.plan.task.memory_limit
    if candidate.bytes > room and (limit is None or limit > room):
        limit = int(room)
        engine, _ = planned(own, request, limit)
    held = engine.plan.held_bytes
    obstacle = "" if held <= room else (f"needs {held / 2**20:.3g} MiB beyond the kernel, and {room / 2**20:.3g} MiB "
                                        "are left")
    return replace(candidate, bytes=held, memory_limit=limit, obstacle=obstacle, engine=engine)


def _in_batches(candidate: Candidate) -> Candidate:
    if candidate.name in READ_BATCHES or candidate.obstacle:
        return candidate
    return replace(candidate, obstacle="needs all batches in memory at once")
