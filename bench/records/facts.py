"""What else is known of a machine and of what is installed there; recorded beside each environment.

Such facts are no part of an environment's key but for the settings of the processor (`SETTINGS`): to install a package
that measures nothing makes no other environment.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import platform
import sys
from contextlib import suppress
from pathlib import Path

import psutil

_CORES = Path("/sys/devices/system/cpu")
_CPUINFO = Path("/proc/cpuinfo")
_MACHINE_ID = Path("/etc/machine-id")
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
UNKNOWN = "not readable"
_THREADS = ("OMP_NUM_THREADS", "OMP_PROC_BIND", "OMP_PLACES", "OMP_WAIT_POLICY", "KMP_AFFINITY", "KMP_BLOCKTIME",
            "GOMP_CPU_AFFINITY", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "MKL_NUM_THREADS", "MKL_DYNAMIC",
            "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS", "TORCH_NUM_THREADS")
SETTINGS = ("frequency governor", "frequency boost")
"""The facts that move figures."""


def facts() -> dict[str, str]:
    """Name → what is known: of the processor, the threads, Python and the packages. Imports nothing for that."""
    return {
        "frequency governor": governor(), "frequency boost": _boost(),
        "physical cores": str(psutil.cpu_count(logical=False) or UNKNOWN),
        "virtual machine": _virtual(), "transparent huge pages": _chosen(_read(_HUGE_PAGES)),
        "thread settings": ", ".join(f"{name}={os.environ[name]}" for name in _THREADS if os.environ.get(name))
        or "none in the environment; each cell sets its own",
        "python build": f"{platform.python_implementation()} {' '.join(platform.python_build())}, "
                        f"{platform.python_compiler()}",
        **_packages(), **_identity(),
    }


def governor() -> str:
    """Of the cores' frequencies: "performance", "powersave", …; several where they differ."""
    found = sorted({_read(path) for path in _CORES.glob("cpu[0-9]*/cpufreq/scaling_governor")} - {""})
    return ", ".join(found) or UNKNOWN


def _boost() -> str:
    no_turbo, boost = _read(_CORES / "intel_pstate/no_turbo"), _read(_CORES / "cpufreq/boost")
    if no_turbo:
        return "off" if no_turbo == "1" else "on"
    return {"0": "off", "1": "on"}.get(boost, UNKNOWN)


def _virtual() -> str:
    flags = next((line for line in _read(_CPUINFO).splitlines() if line.startswith("flags")), "")
    return ("yes" if "hypervisor" in flags.split() else "no") if flags else UNKNOWN


def _packages() -> dict[str, str]:
    """A hash of the names and versions of all that is installed, and how many there are.

    From the names of folders alone, which hold both (the specification of recorded projects,
    packaging.python.org/specifications/recording-installed-packages): to read 150 of them takes a second.
    """
    found = sorted({path.name.removesuffix(".dist-info").lower() for folder in sys.path
                    for path in Path(folder).glob("*.dist-info")})
    digest = hashlib.sha256("\n".join(found).encode()).hexdigest()[:16]
    return {"installed packages": f"{len(found)}, hash {digest}"}


def _identity() -> dict[str, str]:
    """Tells machines of one kind apart. Of the system's own id only a keyed hash leaves the machine, as machine-id(5)
    asks for; {} where there is none."""
    own = _read(_MACHINE_ID)
    return {"machine id": hmac.new(own.encode(), b"ntk-bench", hashlib.sha256).hexdigest()[:12]} if own else {}


def _chosen(text: str) -> str:
    """Of "always [madvise] never" the word in brackets."""
    return text.partition("[")[2].partition("]")[0] or UNKNOWN


def _read(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text().strip()
    return ""
