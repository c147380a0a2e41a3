"""Which cells the suites measure, and what one of them is once it is set up: the one definition for both suites.

Asked of a commit are the names that `impls` and `reference` have had from the start, and nothing of `bench`: what an
older commit does not offer is a reason to skip, and so is what a method says that it does not support.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .clock import charged

if TYPE_CHECKING:
    from reference.case import Device, DType, Outputs

VARIABLE = "NTK_BENCH_SUITES"
"""Of the environment: "all" asks for the whole."""

# A literal, as an index into the parameters is what airspeed velocity keeps: taken from the registry of the commit that
# is measured, it would mean one method in one commit and its neighbour in another.
METHODS = (
    "neural_tangents.jacobian_contraction", "neural_tangents.ntk_vector_products",
    "neural_tangents.structured_derivatives", "neural_tangents.auto", "neural_tangents.infinite",
    "torch_func.jacobian_contraction", "torch_func.ntk_vector_products", "torch_autograd.per_example", "explicit_mlp",
    "structured_jax", "structured_torch", "structured_jax.monte_carlo", "structured_torch.monte_carlo",
    "equinox.exact", "equinox.monte_carlo", "nngeometry.gram", "nngeometry.jacobian", "backpack.batch_grad",
    "curvlinops.jacobian_products", "traker.random_projection",
)
ENGINES = ("structured_jax", "structured_torch")
N_INPUTS, N_OUTPUTS = 64, 10
STEADY_S, FEWEST = 0.2, 5
"""The steady state is called until it was charged so many seconds, and so often. Of 20 ms beside other loads all calls
were slow in every fourth process."""
PROJ_DIM = 128
ROUNDING = 0.1
"""An error below this part of the tolerance is rounding, which differs between two runs of one commit."""


class Skip(NotImplementedError):
    """Why a cell is not measured."""


@dataclass(frozen=True)
class Axes:
    """What is measured is their product."""

    methods: tuple[str, ...]
    widths: tuple[int, ...]
    """Of both hidden layers of an MLP."""
    batch: tuple[int, ...]
    """Numbers of examples; x2 = x1."""
    outputs: tuple[Outputs, ...]
    dtypes: tuple[DType, ...]
    devices: tuple[Device, ...]

    def values(self) -> tuple[tuple[Any, ...], ...]:
        return self.methods, self.widths, self.batch, self.outputs, self.dtypes, self.devices

    def cells(self) -> list[Cell]:
        return [Cell(*values) for values in product(*self.values())]


NAMES = ("method", "width", "batch", "outputs", "dtype", "device")
DEFAULT = Axes(METHODS, (128,), (8,), ("full",), ("float32",), ("cpu",))
ALL = Axes(METHODS, (64, 256, 1024), (8, 64), ("full", "diagonal", "trace"), ("float32", "float64"), ("cpu", "cuda"))
SPAN = (64, 512)
"""The widths between which an exponent is taken."""


def selected() -> Axes:
    """The default, minutes for a commit; the whole, a day, where the environment asks for it."""
    asked = os.environ.get(VARIABLE, "")
    if asked not in ("", "all"):
        raise ValueError(f'{VARIABLE}={asked!r} is not known: "all" for every cell, or unset')
    return ALL if asked else DEFAULT


@dataclass(frozen=True)
class Cell:
    """A method on a network, asked for in one way."""

    method: str
    width: int
    batch: int
    outputs: Outputs
    dtype: DType
    device: Device


@dataclass(frozen=True, eq=False)
class Prepared:
    """A cell whose first call is done."""

    cell: Cell
    method: Any
    case: Any
    compute: Callable[[], Any]

    def call(self) -> None:
        """What is timed: one kernel, up to its last entry."""
        _ready(self.compute())

    def seconds(self) -> float:
        """Of one call in the steady state: the least that any was charged (`clock`)."""
        samples: list[float] = []
        while len(samples) < FEWEST or sum(samples) < STEADY_S:
            samples.append(charged(self.call))
        return min(samples)

    @cached_property
    def error(self) -> float:
        """As the gate normalises it; what is rounding reads as the most that rounding may be.

        Raises `AssertionError` for an exact kernel that is wrong.
        """
        import reference

        kernel, cell = _to_numpy(self.compute()), self.cell
        some = tuple(sorted({0, cell.batch // 2, cell.batch - 1}))
        expected = reference.float64_expected(self.case, some, some)
        deviation = kernel[np.ix_(some, some)].astype(np.float64) - expected.outputs(cell.outputs)
        error = float(reference.normalised(deviation, expected.scale(cell.outputs)).max())
        tolerance = reference.tolerance(cell.dtype)
        if self.method.kind == "exact" and not error <= tolerance:
            raise AssertionError(f"{cell.method} is wrong: its error is {error:.2g}, and {tolerance:g} is allowed")
        if not math.isfinite(error):
            raise AssertionError(f"{cell.method} is not finite")
        return max(error, ROUNDING * tolerance)


def prepare(cell: Cell) -> Prepared:
    """Set the cell up and call it once, so that what is timed later is the steady state.

    Raises `Skip`, with a reason, for a cell that is not to be measured, in this commit or at all.
    """
    method, case, request = asked(cell)
    pin()
    prepared = Prepared(cell, method, case, method.prepare(case, request))
    prepared.call()
    return prepared


def asked(cell: Cell) -> tuple[Any, Any, Any]:
    """The method, the case and the request of a cell; raises `Skip`."""
    with _offered():
        import impls
        import reference

        method, unsupported = impls.load(cell.method), impls.unsupported
        network = reference.MLP((N_INPUTS, cell.width, cell.width, N_OUTPUTS), parameterization="ntk", W_std=2.0**0.5,
                                b_std=0.1)
        case = reference.random_case(f"suites-mlp-w{cell.width}-n{cell.batch}", network, cell.batch, None)
        own = {"proj_dim": PROJ_DIM} if method.kind == "stochastic" else {}
        request = reference.Request(outputs=cell.outputs, dtype=cell.dtype, device=cell.device, options=own)
    if reason := unsupported(method, case, request) or _no_device(cell.device, method.framework):
        raise Skip(reason)
    return method, case, request


def preload() -> None:
    """Import what the methods need, once for all the processes that are forked from this one; nothing is computed."""
    with suppress(ImportError):
        import impls

        for name in METHODS:
            with suppress(Exception):  # said where the method is loaded again, in its own cell
                impls.load(name)
    if "torch" in sys.modules:
        with suppress(ImportError):  # PyTorch imports it at the first derivative, for a second in each process
            import torch._dynamo  # noqa: F401


def pin() -> None:
    """One core and one thread for this process: XLA sizes its pool by the cores that it finds, PyTorch is told."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [_core()])
    import threadpoolctl

    threadpoolctl.threadpool_limits(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _core() -> int:
    """The core on which the system has this process now: it is less busy than the first, which all that pin take.

    Source: the field `processor` of /proc/self/stat, proc_pid_stat(5).
    """
    allowed = os.sched_getaffinity(0)
    with suppress(OSError, IndexError, ValueError):
        now = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[36])
        return now if now in allowed else min(allowed)
    return min(allowed)


@contextmanager
def _offered() -> Iterator[None]:
    """What a commit does not have is skipped there."""
    try:
        yield
    except (ImportError, AttributeError, TypeError) as error:
        raise Skip(f"this commit does not offer it: {type(error).__name__}: {error}") from error
    except Exception as error:
        if type(error).__name__ not in ("MethodNotInstalled", "RegistryError"):
            raise
        raise Skip(str(error)) from error


def _no_device(device: str, framework: str) -> str | None:
    if device != "cuda":
        return None
    if framework == "torch":
        import torch

        found = torch.cuda.is_available()
    else:
        import jax

        found = any(known.platform in ("gpu", "cuda") for known in jax.devices())
    return None if found else f"{framework} sees no CUDA device here"


def _ready(array: Any) -> Any:
    """`array`, once its device has computed it."""
    if hasattr(array, "block_until_ready"):
        return array.block_until_ready()
    if getattr(array, "is_cuda", False):
        sys.modules["torch"].cuda.synchronize(array.device)
    return array


def _to_numpy(array: Any) -> np.ndarray:
    ready = _ready(array)
    return ready.numpy(force=True) if hasattr(ready, "detach") else np.asarray(ready)
