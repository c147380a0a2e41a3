"""Which methods the gate holds to account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import pytest

from impls import Method, MethodNotInstalled, RegistryError, framework, load, load_object, names
from impls.protocol import Framework
from impls.registry import OPTIONAL, quantities
from reference import Quantity, Request
from reference.case import Device

OTHER_QUANTITIES: tuple[Quantity, ...] = tuple(each for each in get_args(Quantity) if each != "ntk")


@dataclass
class Selection:
    """The methods that were asked for. `impl`, where given, is the only one."""

    frameworks: tuple[str, ...]
    device: Device
    impl: Method | None = None
    require_all: bool = False
    """Whether methods of optional packages, too, have to be installed."""
    spec: str | None = None
    """Of `impl`, as it was given."""
    gate_seed: int = 0
    """What is drawn at each run follows from it."""
    failures: dict[str, Exception] = field(default_factory=dict)
    """Methods that were asked for and cannot be loaded; complete once `methods` has been read."""
    under_test: tuple[str, str | None] | None = None
    """The method and the case of the last test in this process."""

    @classmethod
    def from_options(cls, config: pytest.Config) -> Selection:
        """Raises `pytest.UsageError` for an unknown framework, and for an --impl that cannot be used."""
        option: Any = config.option
        frameworks = tuple(option.frameworks.split(","))
        if unknown := set(frameworks) - set(get_args(Framework)):
            raise pytest.UsageError(f"--frameworks: unknown {', '.join(sorted(unknown))}; "
                                    f"known are {', '.join(get_args(Framework))}")
        return cls(frameworks, option.device, None if option.impl is None else _load_impl(option.impl),
                   option.require_all, _from_anywhere(option.impl), option.gate_seed)

    @property
    def alone(self) -> bool:
        """Whether one method is tried alone, and is asked for all that was drawn."""
        return self.impl is not None

    def on_device(self, requests: Sequence[Request]) -> list[Request]:
        return [replace(request, device=self.device) for request in requests]

    @cached_property
    def names(self) -> list[str]:
        """Names of the methods, nothing imported for the built-in ones."""
        return [self.impl.name] if self.impl is not None else [name for name in names() if self._asked_for(name)]

    @cached_property
    def all_names(self) -> list[str]:
        """Those of every kernel."""
        return [self.impl.name] if self.impl is not None else [name for name in names(None) if self._asked_for(name)]

    @cached_property
    def methods(self) -> dict[str, Method]:
        """Those that can be loaded, which is done here."""
        if self.impl is not None:
            return {self.impl.name: self.impl} if "ntk" in quantities(self.impl) else {}
        return self._loaded(self.names)

    @cached_property
    def others(self) -> dict[Quantity, dict[str, Method]]:
        """Those of each other kernel that can be loaded."""
        of_impl = {} if self.impl is None else {self.impl.name: self.impl}
        found: dict[Quantity, dict[str, Method]] = {}
        for quantity in OTHER_QUANTITIES:
            ours = [name for name in names(quantity) if self._asked_for(name)]
            candidates = self._loaded(ours) if self.impl is None else of_impl
            found[quantity] = {name: each for name, each in candidates.items() if quantity in quantities(each)}
        return found

    def method(self, name: str) -> Method | None:
        """Of whichever kernel."""
        return next((each[name] for each in (self.methods, *self.others.values()) if name in each), None)

    def _loaded(self, wanted: Sequence[str]) -> dict[str, Method]:
        loaded = {}
        for name in wanted:
            try:
                loaded[name] = load(name)
            except Exception as error:  # whatever it is, test_installed raises it again
                self.failures[name] = error
        return loaded

    def may_be_missing(self, name: str) -> bool:
        """Whether the method is of an optional package that is not there, and was not asked for."""
        return not self.require_all and name in OPTIONAL and isinstance(self.failures.get(name), MethodNotInstalled)

    def _asked_for(self, name: str) -> bool:
        try:
            return framework(name) in self.frameworks
        except Exception:  # an entry point that cannot be loaded: asked for, so that test_installed says why
            return True


SELECTION = pytest.StashKey[Selection]()


def _from_anywhere(spec: str | None) -> str | None:
    """With the whole path of the file, where it is one."""
    if spec is None or ".py" not in spec:
        return spec
    file, colon, name = spec.rpartition(":")
    return f"{Path(file).resolve()}{colon}{name}" if colon else str(Path(spec).resolve())


def _load_impl(spec: str) -> Method:
    """The method of that file and object, or, where the text is neither, the method of that name in the registry."""
    try:
        return load_object(spec) if ":" in spec or spec.endswith(".py") else load(spec)
    except MethodNotInstalled as error:
        raise pytest.UsageError(f"--impl {spec}: {error}") from error
    except RegistryError as error:
        outside = "" if ":" in spec else "\nA method from outside the registry is given as path/to/file.py:OBJECT."
        raise pytest.UsageError(f"{error}{outside}") from error
    except (Exception, SystemExit) as error:  # SystemExit: a script without a guard for its main part
        raise pytest.UsageError(f"--impl {spec!r}: importing it raised {type(error).__name__}: {error}") from error
