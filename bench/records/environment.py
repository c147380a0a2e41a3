"""The machine and the versions that rows are measured with. No names of hosts, users or folders."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.machine import memory
from bench.machine.threads import cores
from bench.records.facts import SETTINGS, UNKNOWN, facts
from bench.records.record import Environment

# Of scikit-learn only the digits are taken, and a case's digest tells its inputs apart.
PACKAGES = ("ntk-bench", "numpy", "scipy", "jax", "jaxlib", "opt-einsum", "equinox", "flax", "neural-tangents", "torch",
            "nngeometry", "backpack-for-pytorch", "curvlinops-for-pytorch", "traker",
            # What runs on CUDA, by the names for either version of it; PyTorch's own stands in its version.
            "jax-cuda12-plugin", "jax-cuda12-pjrt", "nvidia-cudnn-cu12", "nvidia-cublas-cu12",
            "jax-cuda13-plugin", "jax-cuda13-pjrt", "nvidia-cudnn-cu13", "nvidia-cublas")
VARIABLES = ("XLA_FLAGS", "JAX_PLATFORMS", "CUDA_VISIBLE_DEVICES", "LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_ARENA_MAX",
            "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_TRIM_THRESHOLD_", "NVIDIA_TF32_OVERRIDE",
            "CUBLAS_WORKSPACE_CONFIG", "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF",
            "XLA_PYTHON_CLIENT_ALLOCATOR", "XLA_PYTHON_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_PREALLOCATE")
"""Variables that move figures; written down where they are set. (Those of the C library's allocator decide whether
the pages of an array are fetched anew in each call: seen, up to twice the time of convolutions; those of PyTorch and of
XLA what peak memory on a GPU means.)"""

_ROOT = Path(__file__).resolve().parents[2]
# What measures, and what is measured; not the report.
_MEASURED_WITH = ("reference/**/*.py", "impls/**/*.py", "bench/truth/*.py", *(f"bench/{name}.py" for name in (
    "cells/bound*", "cells/products", "machine/*", "running/anew", "running/conduct", "running/floor",
    "running/held", "running/measure", "running/peak", "running/pool", "running/state",
    "running/worker")))
_NO_FIGURE_MOVES = {"commit"}
_GIB = 2**30


def describe_environment() -> Environment:
    """This machine now; the key is a digest of all that may move a figure: the source text, not the commit's name."""
    system = f"{platform.system()} {platform.release()}"
    place = {"machine": _machine(), "accelerator": _accelerator(), "system": system}
    versions, known = _versions(), facts()
    moving = {name: value for name, value in versions.items() if name not in _NO_FIGURE_MOVES}
    moving |= {name: known[name] for name in SETTINGS if known[name] != UNKNOWN}
    digest = hashlib.sha256(json.dumps([place, moving], sort_keys=True).encode())
    return Environment(digest.hexdigest()[:12], place["machine"], place["accelerator"], system, versions, known)


def telling(versions: Mapping[str, str]) -> dict[str, str]:
    """Of an environment's versions those of Python, packages and source, which all nodes of a cluster share; settings
    are each machine's own."""
    return {name: value for name, value in versions.items() if name not in _NO_FIGURE_MOVES and name not in VARIABLES}


def _machine() -> str:
    return f"{_processor()}, {len(cores())} cores, {memory.total() / _GIB:.0f} GiB"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _accelerator() -> str:
    """Model, memory and driver of the graphics processors, "" where there are none."""
    if shutil.which("nvidia-smi") is None:
        return ""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    return "; ".join(sorted(set(answer.stdout.split("\n")) - {""})) if answer.returncode == 0 else ""


def _versions() -> dict[str, str]:
    installed = {name: found for name in PACKAGES if (found := _version(name)) is not None}
    settings = {name: _without_folders(os.environ[name]) for name in VARIABLES if os.environ.get(name)}
    return {"python": platform.python_version(), **installed, "source": _source_digest(), **_commit(), **settings}


def _without_folders(setting: str) -> str:
    return re.sub(r"[^\s:,=]*/", "", setting)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _source_digest() -> str:
    """An edit to the harness, a method or the reference is another environment, committed or not."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _MEASURED_WITH for path in _ROOT.glob(pattern)):
        digest.update(f"{path.relative_to(_ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _commit() -> dict[str, str]:
    """The commit's hash, with "+" where tracked files differ from it; nothing outside a git checkout."""
    def git(*arguments: str) -> str | None:
        command = ["git", "-C", str(_ROOT), *arguments]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        return answer.stdout.strip() if answer.returncode == 0 else None

    if shutil.which("git") is None or not (_ROOT / ".git").exists():
        return {}
    head = git("rev-parse", "--short=12", "HEAD")
    if head is None:
        return {}
    changed = git("status", "--porcelain", "--untracked-files=no")
    return {"commit": head + ("+" if changed else "")}
