"""What a run is asked to do: the options of ``python -m bench run``, and what they come to."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

import impls
from bench.cells import bounds
from bench.cells.cases import CaseSource
from bench.cells.data import Inputs, digits, load_inputs
from bench.cells.methods import Listed
from bench.cells.profiles import PROFILES, Profile, batches, cases_of, default_cases, find_profile, select
from bench.cells.user_model import UserModel, parse_model
from bench.machine import memory
from impls.methods.options import checked_samples
from reference import InputError
from reference.case import Device, DType, Outputs, Quantity

GIB = 2**30
DEFAULT_FOLDER = Path("results")


@dataclass(frozen=True)
class Options:
    """Measure methods on cases, write the rows to DIR/results.sqlite and the report to DIR/report.html.

    A run that was stopped goes on where it was when the same command is given again. Exit codes: 0 fine, 2 usage,
    3 some method is wrong, undecided, non-finite or crashed, 4 nothing was measured.
    """

    profile: str = "quick"
    """The cases and the effort: quick (minutes), full (a day), fixtures (the small proved cases), engines (the
    structured engines beside the others and the matrix-product bound), scale (how cost grows with each size)."""
    methods: tuple[str, ...] = ()
    """Only these; patterns such as 'torch_func.*' are allowed. All, unless given."""
    cases: tuple[str, ...] = ()
    """Only these; patterns such as '*-mlp-*-n8' are allowed. All of the profile, unless given."""
    widths: tuple[int, ...] = ()
    """Hidden widths of the MLPs, in place of the profile's."""
    batch: tuple[int, ...] = ()
    """Numbers of examples (the first ones of the inputs), in place of the profile's."""
    outputs: tuple[Outputs, ...] = ()
    """Kinds of kernel, in place of the profile's."""
    dtypes: tuple[DType, ...] = ()
    """In place of the profile's."""
    quantity: Quantity = "ntk"
    """Which kernel: the NTK, the NNGP (the covariance of the outputs over initialisations), or the conjugate kernel of
    the last hidden features; of described networks. Measured are the methods that compute it."""
    device: Device = "cpu"
    """Where the methods run."""
    model: str | None = None
    """FILE.py:FUNCTION. The function takes no arguments and returns the network to measure: a torch.nn.Module, an
    Equinox module, (f, params) of JAX or, with a flat dict of tensors, of PyTorch, a Case, or an MLP or ConvNet of
    reference. It is called anew in each process, with the seeds of Python, NumPy and PyTorch set to 0 before."""
    input: Path | None = None
    """X.npy or X.npz (x1, and x2 where it differs): examples in place of the digits. Integers only with --model, for
    one that embeds tokens."""
    impl: tuple[str, ...] = ()
    """FILE.py:OBJECT, a method that is not in the registry; measured beside those that --methods names."""
    out: Path = DEFAULT_FOLDER
    """Folder of the results."""
    threads: int = 1
    """Threads, and cores, of each process."""
    block_size: int | None = None
    """Examples in a block, for methods that can be blocked (the request's batch_size)."""
    proj_dim: int = 128
    """Number of random projections of stochastic methods."""
    n_samples: int = 128
    """Number of initialisations of an NNGP's average."""
    seed: int = 0
    """Of stochastic methods."""
    replicates: int | None = None
    """Processes for each cell, in place of the profile's; in quick, for those of all methods."""
    steady: float | None = None
    """Seconds for which calls are sampled in each process, in place of the profile's."""
    time_limit: float | None = None
    """Seconds after which a cell is killed, in place of the profile's."""
    memory_limit: float | None = None
    """GiB at which a cell is killed; 90 % of what is free, unless given."""
    again: float = 0.25
    """Of the time that its cells take, what a run may spend on measuring again those that other work on the machine has
    disturbed; 0 for none. What is left is marked."""
    cluster: str | None = None
    """Measure on the workers of a Dask cluster, one a machine, one cell at a time: tcp://HOST:PORT or tls://HOST:PORT
    of a scheduler, slurm:N for N jobs, or local:N for N workers here, which disturb each other. Files that are named
    have to be there on every machine."""
    duet: bool = False
    """Measure each two of the methods at the same moment, on a core each: what disturbs the machine disturbs both. Such
    rows are compared with each other alone."""
    rerun: bool = False
    """Measure cells anew that have a row already."""

    def adjusted_profile(self) -> Profile:
        """The profile with these options in place of its own choices. Raises `InputError` for what makes no sense."""
        profile = find_profile(self.profile)
        for name, value in (("widths", min(self.widths, default=1)), ("replicates", self.replicates),
                            ("block-size", self.block_size), ("time-limit", self.time_limit), ("steady", self.steady),
                            ("memory-limit", self.memory_limit), ("proj-dim", self.proj_dim)):
            if value is not None and not value > 0:  # NaN is not, either
                raise InputError(f"--{name} must be positive, got {value}")
        if not self.again >= 0:
            raise InputError(f"--again must not be negative, got {self.again}; 0 measures nothing again")
        checked_samples(self.n_samples)
        own = profile.fixtures or profile.engines or profile.scale
        if own and (self.widths or self.batch or self.input or self.model):
            raise InputError(f"the profile {self.profile} has cases of its own: no --widths, --batch, --input or "
                             "--model")
        if self.quantity != "ntk" and (profile.engines or self.model):
            raise InputError(f"--quantity {self.quantity} is measured on the described networks of the other profiles, "
                             "not with --profile engines or --model; of your own network impls.nngp and "
                             "impls.conjugate give it")
        if (profile.engines or profile.scale) and self.outputs:
            raise InputError(f"the profile {self.profile} asks each of its cases for one kind of kernel: no --outputs")
        return replace(profile, widths=self.widths or profile.widths, batch=self.batch or profile.batch,
                       outputs=self.outputs or profile.outputs, dtypes=self.dtypes or profile.dtypes,
                       replicates=self.replicates or profile.replicates, steady_s=self.steady or profile.steady_s,
                       time_limit_s=self.time_limit or profile.time_limit_s,
                       contenders_only=profile.contenders_only and (profile.engines or self.replicates is None))

    def of_stochastic(self) -> dict[str, Any]:
        """The options of methods that draw."""
        return {"n_samples": self.n_samples} if self.quantity == "nngp" else {"proj_dim": self.proj_dim}

    def memory_bytes(self) -> int:
        """What a cell may hold."""
        return memory.default_limit() if self.memory_limit is None else int(self.memory_limit * GIB)

    def chosen(self, methods: Sequence[Listed]) -> list[Listed]:
        """Those that ``--methods`` names, and those of ``--impl``, which are what a run with it is about."""
        names = select(self.methods, [method.name for method in methods], "method")
        exact_only = find_profile(self.profile).engines
        return [method for method in methods
                if (method.name in names or method.impl) and (method.kind in ("exact", "bound") or not exact_only)]

    def as_noted(self) -> dict[str, Any]:
        """For the store: files by their names alone, since folders are nobody's business."""
        return {"profile": self.profile, "quantity": self.quantity, "methods": self.methods, "cases": self.cases,
                "device": self.device, "threads": self.threads, "again": self.again, "duet": self.duet,
                "cluster": self.cluster and self.cluster.partition(":")[0],
                "model": self.model and Path(self.model).name,
                "input": self.input and self.input.name, "impl": [Path(spec).name for spec in self.impl]}


def method_names(options: Options) -> list[str]:
    """Names of the registry that may be measured: those of methods of the kernel, and what is named in full. With
    ``--impl``, a pattern may also mean a method of that file."""
    named = [name for name in impls.names(None) if name in options.methods]
    known = list(dict.fromkeys([*impls.names(options.quantity), *named]))
    known += bounds.NAMES if find_profile(options.profile).engines else ()
    if not options.impl:
        return select(options.methods, known, "method")
    return [name for name in known if not options.methods or name in _matching(options.methods, known)]


def sources_of(options: Options, profile: Profile, console: Console) -> list[CaseSource]:
    """The chosen cases. Raises `InputError` for inputs, a model or names that cannot be used."""
    inputs = None if options.input is None else load_inputs(options.input, integers=options.model is not None)
    if inputs is not None and inputs.rounded:
        console.print(f"{inputs.name}: values were rounded to float32, so that both dtypes see the same inputs",
                      highlight=False)
    if options.model is not None:
        sources: list[CaseSource] = [*_models(options, profile, inputs)]
    elif profile.fixtures or profile.engines or profile.scale:
        sources = default_cases(profile)
    else:
        inputs = digits() if inputs is None else inputs
        sources = cases_of(profile, inputs)
    if inputs is not None:
        _say_reduced(options, inputs, console)
    known = [source.name for source in sources]
    if not (options.model or options.input or options.widths or options.batch):
        _check_profile_of(options.cases, known)
    names = select(options.cases, known, "case")
    return [source for source in sources if source.name in names]


def _say_reduced(options: Options, inputs: Inputs, console: Console) -> None:
    """Fewer examples than were asked for would go unseen."""
    if too_many := [n for n in options.batch if n > len(inputs.x1)]:
        console.print(f"--batch {' '.join(map(str, too_many))}: {inputs.name} has {len(inputs.x1)} examples; measured "
                      f"with {', '.join(map(str, batches(options.batch, inputs)))}", highlight=False)


def _check_profile_of(patterns: Sequence[str], known: Sequence[str]) -> None:
    """Raise `InputError` for a case of another profile."""
    for pattern in patterns:
        if fnmatch.filter(known, pattern):
            continue
        for name in PROFILES:
            if fnmatch.filter(_case_names(name), pattern):
                raise InputError(f"case {pattern!r} is of the profile {name}: --profile {name}")


def _case_names(profile: str) -> list[str]:
    try:
        return [source.name for source in default_cases(PROFILES[profile])]
    except InputError:  # the digits are not installed
        return []


def _models(options: Options, profile: Profile, inputs: Inputs | None) -> list[UserModel]:
    path, function = parse_model(options.model or "")
    if inputs is None:
        return [UserModel(path, function, n=n) for n in options.batch or (None,)]
    return [UserModel(path, function, inputs.first(n)) for n in batches(profile.batch, inputs)]


def _matching(patterns: Sequence[str], known: Sequence[str]) -> set[str]:
    return {name for pattern in patterns for name in known if fnmatch.fnmatchcase(name, pattern)}
