"""Which methods a run measures, and what must be known of each before its cells are laid out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import impls
from bench.cells import bounds
from bench.records.record import Send
from bench.records.text import printable
from impls import Method, MethodNotInstalled, RegistryError
from impls.frameworks.faces import missing_device
from impls.protocol import Framework

LONGEST_NAME = 100


@dataclass(frozen=True)
class Listed:
    """A method that is to be measured, loaded or not."""

    name: str
    impl: str | None = None
    """``FILE.py:OBJECT``, for a method that is not in the registry."""
    digest: str = ""
    """Of that file."""
    framework: str = ""
    """ "" where the method cannot be loaded."""
    kind: str = "exact"
    problem: str = ""
    """Why it cannot be loaded: not installed, with the remedy, or what its import raised."""
    no_device: str = ""
    """Why its framework cannot run on the device that is asked for."""


def find_methods(send: Send, names: Sequence[str], specs: Sequence[str], device: str) -> list[Listed]:
    """Load the methods of the registry with these names and those of ``--impl``.

    Raises `RegistryError` for a file that has no such object, breaks the protocol, cannot be imported or takes a name.
    """
    registered = [_describe(Listed(name), device) for name in names]
    own = [_load_own(spec, device) for spec in specs]
    taken = [method.name for method in own]
    if len(set(taken)) < len(taken):
        raise RegistryError(f"--impl: two methods share a name among {', '.join(taken)}; give one of them another name")
    return registered + own


def load_method(name: str, impl: str | None) -> Method:
    """From the registry, from the file that ``--impl`` named, or a bound of the harness's own."""
    if name in bounds.NAMES:
        return bounds.load(name)
    return impls.load(name) if impl is None else impls.load_object(impl)


def _load_own(spec: str, device: str) -> Listed:
    try:
        method = impls.load_object(spec)
    except RegistryError:
        raise
    except Exception as error:  # whatever the user's file raises while it is imported
        raise RegistryError(f"--impl {spec!r} cannot be imported: {type(error).__name__}: {error}") from error
    if printable(method.name) != method.name:
        raise RegistryError(f"--impl {spec!r}: the method's name {method.name!r} has characters that cannot be printed")
    if len(method.name) > LONGEST_NAME:
        raise RegistryError(f"--impl {spec!r}: the method's name has {len(method.name)} characters, at most "
                            f"{LONGEST_NAME} fit in a table; give it another name")
    contents = Path(spec.rpartition(":")[0]).expanduser().read_bytes()
    return _describe(Listed(method.name, spec, hashlib.sha256(contents).hexdigest()[:16]), device)


def _describe(listed: Listed, device: str) -> Listed:
    try:
        method = load_method(listed.name, listed.impl)
    except MethodNotInstalled as error:
        return replace(listed, problem=str(error))
    except Exception as error:  # an import may fail in any way; the cells of the method fail in the same one
        return replace(listed, problem=f"{type(error).__name__}: {error}")
    return replace(listed, framework=method.framework, kind=method.kind,
                   no_device=why_no_device(method.framework, device))


def why_no_device(framework: Framework, device: str) -> str:
    """Why that framework cannot run there: it has no such device, or fails to start it. "" where it can."""
    if device == "cpu":
        return ""
    try:
        return missing_device(framework, device) or ""
    except Exception as error:  # a driver that is too old, say; the other framework may be content with it
        return f"{framework} cannot start the device {device!r}: {type(error).__name__}: {error}"
