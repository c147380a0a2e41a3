"""What ``python -m bench kernel`` is asked for, and the job that it comes to, in whichever process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench.cells.cases import CaseSource
from bench.cells.data import Inputs, map_inputs
from bench.cells.profiles import PROFILES, default_cases, select
from bench.cells.user_model import UserModel, parse_model, users_code
from impls.choice.halves import half
from impls.given.user_network import UserNetwork
from impls.protocol import Framework
from impls.registry import framework as framework_of
from impls.tiles.job import Asking, Job, job
from reference import Case, InputError, Request, round_to_float32
from reference.case import Device, DType, Outputs

MIB = 2**20
FEW = 2
"""Examples with which a network is built; all others stay where they are."""


@dataclass(frozen=True)
class KernelOptions:
    """Compute the kernel of a network into a folder, tile by tile, within a memory limit, whatever the number of
    examples. Stopped or killed, the same command goes on where it was; with more examples at the end of the inputs it
    adds theirs. Python reads it as `impls.tiles.open_kernel("K.zarr")`.
    """

    out: Path
    """The folder, a zarr 3 array, such as K.zarr."""
    model: str | None = None
    """FILE.py:FUNCTION, which returns a network, as for `run`."""
    case: str | None = None
    """In place of --model: the network of a case of `python -m bench list`."""
    input: Path | None = None
    """X.npy, read piece by piece, or X.npz (x1, and x2 where it differs). The case's own, unless given."""
    input2: Path | None = None
    """X2.npy: x2, where it differs from x1."""
    framework: Framework | None = None
    """Which builds the network of --case: torch or jax; PyTorch, unless given, or the framework of --method."""
    method: str = "auto"
    """Of those that work on any function; the structured engine of the framework, unless given."""
    outputs: Outputs = "full"
    """The kind of kernel."""
    dtype: DType = "float32"
    """Of the parameters, and of the kernel."""
    device: Device = "cpu"
    """Where it is computed."""
    devices: int | None = None
    """To how many devices the tiles are dealt: JAX's, or PyTorch's, which have a process each."""
    cluster: str | None = None
    """Computed by the workers of a Dask cluster, as for `run`; they send their tiles to this process, which writes."""
    tile: int | None = None
    """Examples of a tile, in each direction; as the memory limit says, unless given."""
    memory_limit: float = 1024
    """MiB that are held beside the frameworks themselves."""
    check: bool = True
    """Whether the structured engine checks itself."""

    def job(self) -> Job:
        """Raises `InputError` for options, a model or inputs that cannot be used, and for another kernel's folder."""
        if not self.memory_limit > 0:
            raise InputError(f"--memory-limit must be positive, got {self.memory_limit}")
        x1, x2 = self._inputs()
        case = self._case(x1, x2)
        asking = Asking(self.outputs, self.method, self.tile, int(self.memory_limit * MIB), devices=self.devices)
        with users_code(case):
            network = self._network(case)
            found = job(network, case.x1 if x1 is None else x1, case.x2 if x1 is None else x2, asking=asking,
                        path=self.out)
            of_one = replace(self, out=self.out.absolute(), devices=None, tile=None, method=found.chosen.method,
                             memory_limit=asking.of_each(found.own.device) / MIB)
            return replace(found, again=of_one.job)

    def _inputs(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """x1 and x2 of the files, (None, None) where none is named."""
        if self.input is None:
            if self.input2 is not None:
                raise InputError("--input2 is x2 beside an --input")
            return None, None
        x1, x2 = map_inputs(self.input)
        if self.input2 is None:
            return x1, x2
        if x2 is not None:
            raise InputError(f"{self.input.name} has an x2 already: leave --input2 away")
        return x1, map_inputs(self.input2)[0]

    def _case(self, x1: np.ndarray | None, x2: np.ndarray | None) -> Case:
        """With all of its own examples, or the first ones of those that are given."""
        if (self.model is None) == (self.case is None):
            raise InputError("kernel needs --model FILE.py:FUNCTION with --input X.npy, or --case NAME")
        few = None if x1 is None else Inputs(self._name, _few(x1), None if x2 is None else _few(x2))
        if self.model is not None:
            return UserModel(*parse_model(self.model), few).build()
        case = _source(self.case or "").build()
        return case if few is None else replace(case, x1=few.x1, x2=few.x2)

    @property
    def _name(self) -> str:
        return "" if self.input is None else self.input.name

    def _network(self, case: Case) -> UserNetwork:
        """As a function of its parameters, in the dtype that is asked for."""
        framework = self._framework(case)
        f, params, _, _ = half(framework).functional(case, Request(self.outputs, self.dtype, self.device))
        return UserNetwork("torch" if framework == "torch" else "jax", f, params)

    def _framework(self, case: Case) -> Framework:
        asked = self.framework if self.method == "auto" else framework_of(self.method)
        if asked is not None:
            return asked
        if isinstance(case.network, UserNetwork):
            return "torch" if case.network.framework == "torch" else "jax"
        return "torch"


def _few(x: np.ndarray) -> np.ndarray:
    return round_to_float32(x[:FEW]) if x.dtype.kind == "f" else np.asarray(x[:FEW])


def _source(name: str) -> CaseSource:
    """Of any profile."""
    found = {source.name: source for profile in PROFILES.values() for source in default_cases(profile)}
    return found[select([name], found, "case")[0]]
