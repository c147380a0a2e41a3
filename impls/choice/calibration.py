"""How fast this machine is, measured in about a second and kept in the user's cache: what `auto` predicts with.

A single call measures nothing, which would take longer than most kernels do: it reads what an earlier one has kept, and
else takes the figures of a machine as most are (`typical`).

The cache is one JSON file, ``calibration.json`` in the folder that the environment variable NTK_BENCH_CACHE names;
without it, in the platform's folder for caches (XDG_CACHE_HOME, ~/Library/Caches, LOCALAPPDATA). NTK_BENCH_CACHE=""
keeps nothing: the second is then spent once in each process, as it is where the folder cannot be written to. The
figures are kept by machine, number of threads, device, dtype and the versions of the framework and of this module.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from impls.choice.halves import half
from impls.choice.rates import Rates, Sizes
from impls.frameworks.faces import face
from impls.protocol import Framework
from reference.case import Device, DType

VARIABLE = "NTK_BENCH_CACHE"
FORMAT = 1
"""To be raised with every change of what is measured below."""

# Sizes that a core works on for about a millisecond: longer than it takes to start, short enough to repeat.
SIZES, REPEATS = Sizes(matrix=512, image=16, channels=32, copied=2**22), 7


def rates(framework: Framework, device: Device, dtype: DType, calls: int = 2) -> Rates:
    """Those of this machine, from the cache; or measured now, but for a single call."""
    threads = face(framework).threads()
    if calls > 1:
        return _rates(framework, device, dtype, threads, os.environ.get(VARIABLE))
    found = _kept(cache_file(os.environ.get(VARIABLE)), _key(framework, device, dtype, threads))
    return typical(framework, device, dtype, threads) if found is None else found


def typical(framework: Framework, device: Device, dtype: DType, threads: int) -> Rates:
    """Of a core of a server's processor of the 2020s, or of a data centre's GPU: within a factor of three of most."""
    single = dtype == "float32"
    dispatch = 1.5e-6 if framework == "torch" else 1.5e-5
    if device == "cuda":
        return Rates(3e13, 1e13, 1.5e12, 5 * dispatch) if single else Rates(1e13, 3e12, 1.5e12, 5 * dispatch)
    return Rates((5e10 if single else 3e10) * threads, (5e10 if single else 1e10) * threads, 2e10, dispatch)


@cache
def _rates(framework: Framework, device: Device, dtype: DType, threads: int, folder: str | None) -> Rates:
    key = _key(framework, device, dtype, threads)
    path = cache_file(folder)
    if (kept := _kept(path, key)) is not None:
        return kept
    found = measure(framework, device, dtype)
    if path is not None:
        _write(path, {**_read(path), key: asdict(found)})
    return found


def _kept(path: Path | None, key: str) -> Rates | None:
    """None where it was not measured yet, or not by this version."""
    try:
        return None if path is None else Rates(**_read(path)[key])
    except (KeyError, TypeError, ValueError):
        return None


def cache_file(folder: str | None) -> Path | None:
    """Where the figures are kept; `folder` is what NTK_BENCH_CACHE says, None where it is not set."""
    if folder is not None:
        return Path(folder).expanduser() / "calibration.json" if folder else None
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "ntk-bench" / "calibration.json"


def measure(framework: Framework, device: Device, dtype: DType) -> Rates:
    """The figures of this machine now; about a second."""
    matmul, convolution, add, tiny = half(framework).workloads(device, dtype, SIZES)
    itemsize = 4 if dtype == "float32" else 8
    side, image, channels, copied = SIZES
    return Rates(2.0 * side**3 / _seconds(matmul), 8 * 2.0 * image**2 * channels**2 * 9 / _seconds(convolution),
                 3.0 * copied * itemsize / _seconds(add), _seconds(tiny, 50))


def _seconds(run: Callable[[], Any], calls: int = 1) -> float:
    """Of one call: the least of several, which other processes disturbed least."""
    run()
    times: list[float] = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        for _ in range(calls):
            run()
        times.append((time.perf_counter() - begin) / calls)
    return max(min(times), 1e-9)


def _key(framework: Framework, device: Device, dtype: DType, threads: int) -> str:
    packages = {"jax": ("jax", "jaxlib"), "torch": ("torch",)}.get(framework, ())
    versions = [f"{package} {version(package)}" for package in packages]
    return ", ".join([f"format {FORMAT}", _machine(), f"{os.cpu_count()} processors", f"{threads} threads", device,
                      dtype, *versions])


def _machine() -> str:
    cpuinfo = Path("/proc/cpuinfo")  # Linux's platform.processor() says "x86_64" of all
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there, not readable, or cut short: measured anew
        return {}
    return content if isinstance(content, dict) else {}


def _write(path: Path, content: dict[str, Any]) -> None:
    """In one step, so that another process never reads half of it; a folder that cannot be written to is no error."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(content, indent=1), encoding="utf-8")
        part.replace(path)
    except OSError:
        return
