"""The environment of a commit, for airspeed velocity: ``environment.py PROJECT ENVIRONMENT``, run by its Python.

The packages are installed once for all commits with the same pins; of the project itself the environment holds the
path alone, under which airspeed velocity checks each commit out. What asv.conf.json's matrix pins takes the place of
constraints.txt's.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable
from pathlib import Path

NAME = "ntk-bench"
_STAMP = "ntk-bench-pins.txt"


def wanted(project: Path, pinned: dict[str, str]) -> tuple[list[str], list[str]]:
    """The constraints of a commit under these pins, and the packages that it needs, its extras spelled out."""
    lines = _lines(project / "constraints.txt")
    constraints = [line for line in lines if line.partition("==")[0] not in pinned]
    constraints += [f"{name}=={version}" for name, version in pinned.items() if version]
    declared = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    extras = declared.get("optional-dependencies", {}).values()
    needed = {need for group in (declared["dependencies"], *extras) for need in group
              if not need.startswith(f"{NAME}[")}
    return constraints, sorted(needed)


def install(project: Path, environment: Path, run: Callable[..., object] = subprocess.run) -> bool:
    """Bring the environment to what the commit under `project` pins; whether anything had to be installed."""
    information = environment / "asv-env-info.json"
    pinned = json.loads(information.read_text())["requirements"] if information.exists() else {}
    constraints, needed = wanted(project, {name.removeprefix("pip+"): version for name, version in pinned.items()})
    alone = _lines(project / "requirements-nodeps.txt")
    (Path(sysconfig.get_path("purelib")) / f"{NAME}.pth").write_text(f"{project}\n")
    text = json.dumps([constraints, needed, alone])
    digest = hashlib.sha256(text.encode()).hexdigest()
    stamp = environment / _STAMP
    if stamp.exists() and stamp.read_text() == digest:
        return False
    stamp.unlink(missing_ok=True)
    file = environment / "constraints.txt"
    file.write_text("\n".join(constraints) + "\n")
    pip = [sys.executable, "-m", "pip", "install"]
    run([*pip, "-c", str(file), *needed], check=True)
    run([*pip, "--no-deps", *alone], check=True)
    stamp.write_text(digest)
    return True


def _lines(path: Path) -> list[str]:
    """Without comments; of a file that a commit does not have, none."""
    if not path.exists():
        return []
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


if __name__ == "__main__":
    install(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
