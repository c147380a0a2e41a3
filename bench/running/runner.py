"""One run: lay out the cells, measure those that have no row yet, write each row, and say what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import product
from typing import Any

from rich.console import Console

from bench.cells import bounds, engines, scale
from bench.cells.cases import CaseSource, size_of
from bench.cells.methods import Listed, find_methods
from bench.cells.options import Options, method_names, sources_of
from bench.cells.user_model import UserModel
from bench.machine import instructions, memory
from bench.machine.builds import builds
from bench.machine.probe import Probe
from bench.machine.threads import check_threads
from bench.records.environment import describe_environment
from bench.records.record import QUANTITY, CaseInfo, Cell, Environment, Record
from bench.records.store import Store, StoreError
from bench.records.text import storable
from bench.records.types import fits, hints_of
from bench.running import order
from bench.running.again import Attempts
from bench.running.lock import Lock
from bench.running.measure import MAX_SAMPLES, Job, measure
from bench.running.order import Place, key_of
from bench.running.pool import Limits, Outcome, Pool
from bench.running.progress import Progress
from bench.running.remaining import Effort
from bench.truth.check import build
from bench.truth.other_kernels import find_other_truth
from bench.truth.truth import Truth, find_truth
from impls.frameworks.faces import LAZY_IMPORTS
from impls.registry import built_in
from reference import InputError

PREPARATION = Limits(time_s=600, memory_bytes=memory.total(), told_bytes=2**30)
"""Of what is done before the cells: importing the methods, the truth of a case."""

LOCK = "lock"
"""In the folder of the results: held while a run is at work there."""

_TOLD = {"status", "reason", "kind", "error", "tolerance", "amplification", "remark", "checked_against", "setup_s",
         "first_call_s", "samples_s", "peak_bytes", "kernel_bytes", "noticed", "disturbance", "switches",
         "instructions"}
"""The fields of a `Record` that the process of a cell fills in."""
_NO_MEASUREMENT = {"status": "crash", "reason": "what its process told is no measurement"}




class Run:
    """A run that is ready to measure. Raises `InputError` or `StoreError` where it cannot be."""

    def __init__(self, options: Options, console: Console) -> None:
        check_threads(options.threads)
        self.options, self.console = options, console
        self.profile = options.adjusted_profile()
        names = method_names(options)
        sources = sources_of(options, self.profile, console)
        self.store = Store.create(options.out)
        self._lock = _locked(self.store)
        self.modules = modules_of(names)
        self.pool = Pool(self.modules, options.threads, options.device)
        self.environment = described(self.pool)
        self._check_model(sources)
        methods = self._methods(names)
        self.places = order.in_order(_lay_out(options, self.profile.outputs, self.profile.dtypes,
                                              self.profile.replicates, sources, methods), options.seed)
        self.n_checks = max(1, sum(place.method.kind == "stochastic" for place in self.places))
        self._written: list[Record] = []
        """The rows of this environment, while it measures."""
        self._attempts = self._attempts_within(options)
        self.measuring = Measuring.of(options, self.pool, self.environment.key, self.n_checks)

    def measure(self) -> None:
        """Measure and write every row that is not there yet; what was written stays, whatever happens."""
        self._written = self._rows()
        done = set() if self.options.rerun else {key_of(record) for record in self._written}
        left = [place for place in self.places if place.key not in done]
        if len(left) < len(self.places):
            self.console.print(f"{len(self.places) - len(left)} of {len(self.places)} rows are there already "
                               f"(measured anew with --rerun)", highlight=False)
        if not memory.reset_peak():
            self.console.print("peak memory is not measured: this system has no /proc/self/clear_refs (Linux has)")
        if missing := instructions.missing():
            self.console.print(f"instructions are not counted: {missing}", highlight=False)
        self.store.add_run(self.environment, self.options.as_noted(), now())
        try:
            with self._progress(left) as progress:
                for source, places in _by_source(left):
                    self._measure_case(source, places, progress)
                self._finish(progress)
        finally:
            self._lock.release()
        if said := str(self._attempts):
            self.console.print(said, highlight=False)

    def _progress(self, left: Sequence[Place]) -> Progress:
        sizes = {place.source.name: size_of(place.source) for place in left}
        effort = Effort(self.profile.steady_s, MAX_SAMPLES, self.profile.time_limit_s)
        return Progress(self.console, [place.cell for place in left], sizes, effort)

    def records(self) -> list[Record]:
        """The rows of this run's cells, whenever they were measured."""
        wanted = {place.key for place in self.places}
        return [record for record in self._rows() if key_of(record) in wanted]

    def _attempts_within(self, options: Options) -> Attempts:
        key = self.environment.key
        return Attempts(Probe(options.threads), options.again, self.store.best_reading(key),
                        lambda reading: self.store.add_reading(key, now(), reading))

    def _rows(self) -> list[Record]:
        return [record for record in self.store.records() if record.environment == self.environment.key]

    def _check_model(self, sources: Sequence[CaseSource]) -> None:
        """A model that cannot be built is said before anything is computed."""
        if sources and isinstance(sources[0], UserModel):
            outcome = self.pool.run(PREPARATION, build, sources[0])
            if outcome.status != "ok":
                raise InputError(storable(outcome.reason))

    def _methods(self, names: Sequence[str]) -> list[Listed]:
        outcome = self.pool.run(PREPARATION, find_methods, names, self.options.impl, self.options.device)
        if outcome.status != "ok":
            raise InputError(storable(outcome.reason))
        if not fits(outcome.answer, list[Listed]):
            raise InputError("a file that --impl names wrote into the line between the processes of the harness")
        methods: list[Listed] = self.options.chosen(outcome.answer)
        if methods and all(method.no_device or method.problem for method in methods):
            lacking = next((method.no_device for method in methods if method.no_device), "")
            if lacking:
                raise InputError(lacking)
        return methods

    def _measure_case(self, source: CaseSource, places: Sequence[Place], progress: Progress) -> None:
        progress.say(f"{source.name}: computing what its kernels are held against")
        seed, quantity = self.options.seed, self.options.quantity
        found = (self.pool.run(PREPARATION, find_truth, source, *_asked(places), seed) if quantity == "ntk"
                 else self.pool.run(PREPARATION, find_other_truth, source, quantity, seed))
        if found.status == "refused" or (found.status != "ok" and isinstance(source, UserModel)):
            raise InputError(storable(found.reason))
        if not isinstance(found.measured.get("info"), CaseInfo):
            raise InputError(f"{source.name} cannot be built: {found.status}: {storable(found.reason)}")
        self._measure_places(places, found, progress)

    def _measure_places(self, places: Sequence[Place], found: Outcome, progress: Progress) -> None:
        """Those of one case, of which `found` has the truth."""
        for place in places:
            progress.begin(place.cell)
            if self.profile.contenders_only and place.replicate and not order.contends(place.cell, self._written):
                progress.skip(place.cell)
                continue
            record = self.store.add(self._attempts.measured(partial(self.measuring.row, place, found)))
            self._written.append(record)
            progress.finish(record)

    def _finish(self, progress: Progress) -> None:
        """Every row is written as soon as it is measured: nothing is left to wait for."""


@dataclass(frozen=True)
class Measuring:
    """What a machine measures places with."""

    pool: Pool
    limits: Limits
    environment: str
    """Its key."""
    steady_s: float
    n_checks: int

    @classmethod
    def of(cls, options: Options, pool: Pool, environment: str, n_checks: int) -> Measuring:
        profile = options.adjusted_profile()
        return cls(pool, Limits(profile.time_limit_s, options.memory_bytes()), environment, profile.steady_s, n_checks)

    def row(self, place: Place, found: Outcome) -> Record:
        """Measured now, in a process of its own; `found` has the truth of its case, or why there is none."""
        started = now()
        if found.status != "ok":
            outcome = Outcome("crash", f"nothing to hold its kernel against: {found.reason}", stderr=found.stderr)
            return self.record(place, found.measured["info"], outcome, started)
        truth = found.answer
        if not isinstance(truth, Truth):
            raise InputError(f"{place.source.name} wrote into the line between the processes of the harness")
        if place.method.no_device:
            outcome = Outcome("ok", answer={"status": "unsupported", "reason": place.method.no_device})
        else:
            job = Job(place.cell, place.source, truth, place.method.impl, self.steady_s, self.n_checks)
            outcome = self.pool.run(self.limits, measure, job)
        return self.record(place, truth.info, outcome, started)

    def record(self, place: Place, info: CaseInfo, outcome: Outcome, started: str) -> Record:
        """The row of a process that ended so."""
        status = "crash" if outcome.status == "refused" else outcome.status
        fields: dict[str, Any] = {"status": status, "reason": outcome.reason, "kind": place.method.kind}
        for told in (outcome.measured, outcome.answer or {}):
            fields |= told if _is_a_measurement(told) else _NO_MEASUREMENT
        stderr = "" if fields["status"] == "ok" else outcome.stderr
        if outcome.left:
            lived_on = f"{outcome.left} processes that it had started lived on, and were ended"
            fields["noticed"] = "; ".join(filter(None, (fields.get("noticed", ""), lived_on)))
        return Record(place.cell, info, place.replicate, position=place.position, started_at=started,
                      environment=self.environment, method_digest=place.method.digest, stderr=stderr, **fields)


def described(pool: Pool) -> Environment:
    """This machine, with what a process that has the frameworks tells of them."""
    environment, told = describe_environment(), pool.run(PREPARATION, builds).answer
    return replace(environment, facts=environment.facts | told) if fits(told, dict[str, str]) else environment


def _locked(store: Store) -> Lock:
    """So that no other run measures beside this one and writes between its rows."""
    folder = store.path.parent
    try:
        return Lock(folder / LOCK)
    except BlockingIOError as error:
        raise StoreError(f"another run is at work in {folder}; wait for its end, or give another --out") from error


def _is_a_measurement(told: Any) -> bool:
    """Whether the harness may have said so in a process: a method can write into the line as well."""
    hints = hints_of(Record)
    return isinstance(told, dict) and all(name in _TOLD and fits(value, hints[name]) for name, value in told.items())


def exit_code(records: Sequence[Record]) -> int:
    """0 fine, 3 some method is wrong, undecided, non-finite or crashed, 4 nothing was measured."""
    if any(record.status in ("wrong", "undecided", "nonfinite", "crash") for record in records):
        return 3
    return 0 if any(record.samples_s for record in records) else 4


def _lay_out(options: Options, outputs: Sequence[str], dtypes: Sequence[str], replicates: int,
             sources: Sequence[CaseSource], methods: Sequence[Listed]) -> Iterator[Place]:
    named = engines.OUTPUTS | scale.OUTPUTS
    cells = ((source, *rest) for source in sources
             for rest in product(named.get(source.name, outputs), dtypes, methods))
    for source, out, dtype, method in cells:
        own = options.of_stochastic() if method.kind == "stochastic" else {}
        own |= {} if options.quantity == "ntk" else {QUANTITY: options.quantity}
        cell = Cell(method.name, source.name, out, dtype, options.device, options.threads, options.block_size,
                    options.seed, own)
        yield from (Place(cell, source, method, replicate) for replicate in range(replicates))


def _asked(places: Sequence[Place]) -> tuple[list[str], list[str]]:
    """The kinds of outputs and the dtypes that there are cells of."""
    return list(dict.fromkeys(p.cell.outputs for p in places)), list(dict.fromkeys(p.cell.dtype for p in places))


def _by_source(places: Sequence[Place]) -> list[tuple[CaseSource, list[Place]]]:
    groups: dict[str, list[Place]] = {}
    for place in places:
        groups.setdefault(place.cell.case, []).append(place)
    return [(some[0].source, some) for some in groups.values()]


def modules_of(names: Sequence[str]) -> list[str]:
    """What the fork server imports: the modules of the chosen methods, and what their frameworks put off."""
    chosen = [(framework, module) for name, framework, module in (*built_in(), *bounds.METHODS) if name in names]
    return list(dict.fromkeys(each for framework, module in chosen for each in (module, *LAZY_IMPORTS[framework])))


def now() -> str:
    """UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
