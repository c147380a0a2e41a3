"""One row of the results: a cell, what was measured in it, and why not where nothing was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["ok", "unsupported", "not_installed", "wrong", "undecided", "nonfinite", "timeout", "oom", "crash"]

BESIDE = "beside"
"""The option of a cell that names the method which was measured at the same moment, on another core: such rows are
compared with each other alone."""
QUANTITY = "quantity"
"""The option of a cell that says which kernel it is, so that rows of two kernels are two measurements."""

Send = Callable[[str, dict[str, Any]], None]
"""``send(phase, measured)``: what begins now, and what is known by now; it survives whatever happens next."""


@dataclass(frozen=True)
class Cell:
    """What one row is about: a method on a case, asked for in one way. `case` names a case of the profile."""

    method: str
    case: str
    outputs: str = "full"
    dtype: str = "float32"
    device: str = "cpu"
    threads: int = 1
    batch_size: int | None = None
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    """The method's own, and "quantity" where the kernel is another than the NTK (see `quantity`)."""

    @property
    def quantity(self) -> str:
        """Which kernel is asked for."""
        return self.options.get(QUANTITY, "ntk")

    @property
    def duet(self) -> str:
        """The two methods that were measured at the same moment, "" for one by itself."""
        other = self.options.get(BESIDE)
        return "" if other is None else " and ".join(sorted((self.method, other)))

    @property
    def own_options(self) -> dict[str, Any]:
        """Those that go to the method."""
        return {name: value for name, value in self.options.items() if name not in (QUANTITY, BESIDE)}


@dataclass(frozen=True)
class CaseInfo:
    """What the report needs to know of a case; sizes are counts."""

    case: str
    network: str
    """The kind of network, one series in the plots: "MLP", "ConvNet", or the name of a user's model."""
    width: int | None
    """Hidden width or channels; None where the network does not say."""
    n1: int
    n2: int | None
    """None means x2 = x1."""
    n_outputs: int | None
    n_params: int | None
    data: str
    """Where the inputs come from: "digits", "random", or the file's name."""
    digest: str = field(default="", compare=False)
    """Of network, parameters and inputs: where it differs, the case is another one, whatever its name."""


@dataclass(frozen=True)
class Record:
    """A row of the store. Times in seconds, memory in bytes; None where it was not measured."""

    cell: Cell
    info: CaseInfo
    replicate: int
    """The turn in which it was measured, from 0 on: rows that differ in the method alone and have one `replicate` were
    measured one soon after the other, and are a pair; see `bench.running.order`."""
    status: Status
    kind: str = "exact"
    """Of the method: "exact", "stochastic" or "limit"; only exact ones are ranked. "bound" for what is no method."""
    reason: str = ""
    """Empty for "ok", else why."""
    error: float | None = None
    """max |K − K_ref| / √(K_ref[n,n,a,a] K_ref[m,m,b,b]), for exact methods; for stochastic ones the same quantity."""
    tolerance: float | None = None
    amplification: float | None = None
    """By how much rounding of the dtype moves the float64 kernel of this network, in units of that rounding; None where
    the kernel is proved."""
    remark: str = ""
    """What is to be known of the network: that it amplifies rounding, that it computes partly in float32."""
    checked_against: str = ""
    """What the kernel was compared with: "proved kernel", "float64 tape on examples (0, 7, 31)", …"""
    setup_s: float | None = None
    """`prepare`: building the network, moving the data."""
    first_call_s: float | None = None
    """First call: trace, compile and compute."""
    samples_s: tuple[float, ...] = ()
    """Steady state, one number a call."""
    peak_bytes: int | None = None
    """Peak memory of set-up and calls, net of the process's memory before and of pages of files."""
    kernel_bytes: int | None = None
    """Size of the kernel itself, for scale."""
    started_at: str = ""
    """UTC, ISO 8601."""
    environment: str = ""
    """Key of the environment (machine and versions) in which it ran."""
    method_digest: str = ""
    """Of the file that ``--impl`` named, "" for a method of the registry."""
    stderr: str = ""
    """The end of what the process wrote to its standard error."""
    position: int | None = None
    """Its place in the order in which the run measured, from 0 on."""
    disturbance: float | None = None
    """Share of the wall-clock time of the timed calls in which the process was ready and did not run: of the attempt
    that was kept. None where the kernel does not tell."""
    switches: int | None = None
    """Involuntary context switches in those calls."""
    machine: float | None = None
    """How many times slower than its best a fixed probe of the machine ran around this cell; 1.0 is undisturbed."""
    instructions: int | None = None
    """Retired in one call, user space; None where the kernel does not give them."""
    attempts: int = 1
    """Measurements made, of which this is the least disturbed: more than one where the machine was busy."""
    noticed: str = ""
    """What the runner saw beside the measurement: children that lived on, processor time used after the return, …"""
    node: str = ""
    """The machine among those of a cluster that measured it, "" for one machine."""


@dataclass(frozen=True)
class Environment:
    """Where rows were measured; its key is a digest of everything that may move a figure."""

    key: str
    machine: str
    """One line: processor, cores, memory in GiB."""
    accelerator: str
    """"" on a machine without one."""
    system: str
    """Operating system and kernel."""
    versions: dict[str, str]
    """Of Python, ntk-bench, its commit where known, and every framework and library that was used."""
    facts: dict[str, str] = field(default_factory=dict)
    """What else is known of machine and builds: frequency governor, BLAS, build flags, a hash of what is installed."""
