"""`python -m bench` from outside, and files to name on its command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from bench.records.record import Record
from bench.records.store import Store
from tests import ROOT
from tests.bench import forked

CASE = "mlp_relu"
Done = subprocess.CompletedProcess[str]

METHODS = '''
import os, time

import numpy as np

import reference
from reference import Request


def places(now, given):
    """By the nearest one, as the harness moves them a little."""
    return [int(np.argmin([np.abs(row - each).max() for row in given])) for each in now]


class Proved:
    """The stored kernel itself, of the examples in the order in which they come: right, and quick to have."""
    framework, kind = "numpy", "exact"

    def __init__(self, name): self.name = name
    def kernel(self, case, request):
        given = reference.case(case.name)
        kernel = reference.expected(given).outputs(request.outputs).astype(request.dtype)
        return kernel[np.ix_(places(case.x1, given.x1), places(case.x2, given.x2))]
    def prepare(self, case, request): return lambda: self.kernel(case, request)


class Doubled(Proved):
    def prepare(self, case, request): return lambda: 2 * self.kernel(case, request)

class NotFinite(Proved):
    def prepare(self, case, request): return lambda: self.kernel(case, request) + np.nan

class Cached(Proved):
    def prepare(self, case, request):
        kernel = self.kernel(case, request)
        return lambda: kernel

class Unable(Proved):
    def unsupported(self, case, request): return "it is too small for me"

class Raising(Proved):
    def prepare(self, case, request): raise ZeroDivisionError("of my own making")

class Dying(Proved):
    def prepare(self, case, request): return lambda: os.abort()

class Hanging(Proved):
    def prepare(self, case, request):
        calls = iter([0, 0, 60])
        def call():
            time.sleep(next(calls))
            return self.kernel(case, request)
        return call

class Slow(Proved):
    def prepare(self, case, request):
        def call():
            time.sleep(0.1)
            return self.kernel(case, request)
        return call

class Greedy(Proved):
    def prepare(self, case, request):
        def call():
            held = np.ones((2**26,))
            return self.kernel(case, request) + 0 * held[0].astype(request.dtype)
        return call

class List(Proved):
    def prepare(self, case, request): return lambda: [[1.0]]

class Limit(Doubled):
    kind = "limit"

class Random(Doubled):
    kind = "stochastic"

class Lucky(Proved):
    kind = "stochastic"

GOOD, DOUBLED, NOT_FINITE, CACHED = Proved("good"), Doubled("doubled"), NotFinite("not_finite"), Cached("cached")
UNABLE, RAISING, DYING, HANGING = Unable("unable"), Raising("raising"), Dying("dying"), Hanging("hanging")
SLOW, GREEDY, LIST, LIMIT = Slow("slow"), Greedy("greedy"), List("list"), Limit("limit")
RANDOM, LUCKY = Random("random"), Lucky("lucky")
NOT_A_METHOD = object()
'''

MODELS = '''
import reference

def network(): return reference.MLP((3, 4, 2), parameterization="ntk")
def case(): return reference.random_case("any", network(), 3, 2)
def nothing(): return "a string"
def failing(): raise OSError("no weights here")
def needs_an_argument(x): return x
not_a_function = 3

def torch_model():
    import torch
    return torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2))

def embedding():
    import torch
    return torch.nn.Sequential(torch.nn.Embedding(12, 4), torch.nn.Flatten(), torch.nn.Linear(12, 2))

def last_step():
    import torch

    class LastStep(torch.nn.GRU):
        def forward(self, x): return super().forward(x[:, None])[0][:, -1]

    return LastStep(3, 2, batch_first=True)

def wide_torch_model():
    import torch
    return torch.nn.Linear(7, 2)

def torch_function():
    import torch
    params = {"0.weight": torch.randn(3, 5), "1.weight": torch.randn(5, 2)}
    return lambda params, x: torch.tanh(x @ params["0.weight"]) @ params["1.weight"], params

def equinox_model():
    import equinox, jax
    return equinox.nn.MLP(3, 2, 4, 1, key=jax.random.key(0))
'''


# Importing it makes this process one in which CUDA is there for one framework and missing for another.
HALF_CUDA = METHODS + '''
from types import SimpleNamespace

import bench.running.measure, bench.cells.methods

bench.cells.methods.missing_device = (
    lambda framework, name: "JAX has no such device here" if framework == "jax" else None)
bench.running.measure.face = lambda framework: SimpleNamespace(
    wake=lambda device: None, set_threads=lambda threads: None, device_memory=lambda: None)
ELSEWHERE = Proved("elsewhere")
ELSEWHERE.framework = "jax"
'''


def write_files(folder: Path) -> None:
    (folder / "methods.py").write_text(METHODS)
    (folder / "models.py").write_text(MODELS)
    (folder / "half_cuda.py").write_text(HALF_CUDA)
    (folder / "broken.py").write_text("import no_such_module_anywhere\n")
    np.save(folder / "x.npy", np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3))
    np.save(folder / "integers.npy", np.arange(12).reshape(4, 3))


def bench(*arguments: str | Path, cwd: Path = ROOT, imported: str = "") -> Done:
    """In a process of its own; on Linux forked, from one that has the framework `imported`."""
    if sys.platform.startswith("linux"):
        return forked.run([*map(str, arguments)], cwd, environment(), imported)
    return subprocess.run(command(arguments), cwd=cwd, env=environment(), capture_output=True, text=True,
                          timeout=forked.TIMEOUT_S, check=False)


def command(arguments: tuple[str | Path, ...]) -> list[str]:
    return [sys.executable, "-m", "bench", *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"}


def choosing(files: Path, *objects: str) -> list[str]:
    """The arguments for these objects of methods.py and no other method. GOOD is quick to load, where any will do."""
    return ["--impl", *(f"{files}/methods.py:{name}" for name in objects), "--methods", *map(str.lower, objects)]


def run_methods(files: Path, out: Path, *objects: str, options: tuple[str, ...] = ()) -> Done:
    """Measure these objects of methods.py, and nothing else, on one small case."""
    return bench("run", "--profile", "fixtures", "--cases", CASE, *choosing(files, *objects), "--again", "0", "--out",
                 out, *options)


def rows(out: Path) -> dict[str, Record]:
    return {record.cell.method: record for record in Store(out).records()}


def assert_usage_error(done: Done, *words: str) -> None:
    assert done.returncode == 2, done.stderr + done.stdout
    assert done.stderr.startswith("error: "), done.stderr
    assert done.stderr.count("\n") == 1, "one line, no traceback"
    for word in words:
        assert word in done.stderr
