"""Any method of the registry under a second name, to see what a ranking says of two that are one.

``--impl bench/cells/twins.py:NAME`` measures "NAME.twin" beside the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import impls
from impls import Array, Method
from impls.protocol import Framework, Kind
from impls.registry import quantities
from reference import Case, Request

SUFFIX = ".twin"


@dataclass(frozen=True)
class Twin:
    """Calls the method `of` itself: nothing comes between the harness and its callable."""

    of: str

    @property
    def name(self) -> str:
        return f"{self.of}{SUFFIX}"

    @property
    def framework(self) -> Framework:
        return self._method.framework

    @property
    def kind(self) -> Kind:
        return self._method.kind

    @property
    def quantities(self) -> tuple[str, ...]:
        return quantities(self._method)

    @property
    def _method(self) -> Method:
        return impls.load(self.of)

    def unsupported(self, case: Case, request: Request) -> str | None:
        return impls.unsupported(self._method, case, request)

    def prepare(self, case: Case, request: Request) -> Callable[[], Array]:
        return self._method.prepare(case, request)


def __getattr__(name: str) -> Twin:
    if name not in impls.names(None):
        raise AttributeError(f"there is no method {name!r} that could have a twin")
    return Twin(name)
