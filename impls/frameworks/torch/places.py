"""The places of a module's tensors: exchanged for the time of one call, and whatever the call changes is put back.

A place is an attribute of a part, or an entry of a list, dict or tuple in one, to some depth. One walk finds all places
and keeps what each container holds; there is one for every call, so it has to be quick.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from operator import is_
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

KINDS = (OrderedDict, dict, list, set, deque)

_DEPTH = 3
"""How deep containers within attributes are put back, and searched for parameters."""

_Role = Literal["tensor", "tuple", "container", "object", "nothing"]


class _Kept(NamedTuple):
    """A container and its contents. By the methods of the built-in classes: those of the user's may refuse (a frozen
    dict) or do more."""

    container: Any
    kind: Any
    contents: Any

    def values(self) -> Iterable[Any]:
        return self.contents.values() if isinstance(self.contents, dict) else self.contents

    def put_back(self) -> None:
        if self._changed():
            self.kind.clear(self.container)
            put = self.kind.extend if self.kind in (list, deque) else self.kind.update
            put(self.container, self.contents)

    def _changed(self) -> bool:
        now, then = self.container, self.contents
        if len(now) != len(then) or self.kind is set:
            return now != then
        if not then:
            return False
        if isinstance(then, dict):
            return not all(map(is_, now.values(), then.values())) or list(now) != list(then)
        return not all(map(is_, now, then))


class Places:
    """Of all tensors and containers in the attributes of some modules, as they are now."""

    def __init__(self, parts: Iterable[nn.Module]) -> None:
        self._all: list[_Kept] = []
        self._of_tensors: list[_Kept] = []
        self._roles: dict[type, _Role] = {}
        self._depths: dict[int, int] = {}
        for part in parts:
            self._walk(part.__dict__, _DEPTH)

    def exchange(self, taken: Callable[[Tensor], Tensor]) -> None:
        """`taken` in the place of each tensor."""
        for kept in self._of_tensors:
            container, contents = kept.container, kept.contents
            items: Any = contents.items() if isinstance(contents, dict) else enumerate(contents)
            for key, value in items:
                role = self._roles[value.__class__]
                if role == "tensor" and (other := taken(value)) is not value:
                    container[key] = other
                elif role == "tuple" and any(isinstance(part, Tensor) for part in value):
                    parts = [taken(part) if isinstance(part, Tensor) else part for part in value]
                    container[key] = type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)

    def put_back(self) -> None:
        for kept in self._all:
            if kept.contents or kept.container:
                kept.put_back()

    def _walk(self, container: Any, depth: int) -> None:
        """Once for each container, however many places it has, a configuration that all parts share, say."""
        known = self._depths.get(id(container), -1)
        if known >= depth:
            return
        self._depths[id(container)] = depth
        kind = _kind(container)
        contents: Any = dict(kind.items(container)) if kind in (dict, OrderedDict) else kind(container)
        kept = _Kept(container, kind, contents)
        if known < 0:
            self._all.append(kept)
        if contents and self._walk_values(kept, depth) and known < 0 and kind not in (set, deque):
            self._of_tensors.append(kept)

    def _walk_values(self, kept: _Kept, depth: int) -> bool:
        """Whether there are tensors, or tuples in which they may be."""
        found, roles = False, self._roles
        for value in kept.values():
            role = roles.get(value.__class__)
            if role is None:
                role = roles[value.__class__] = _role(value)
            if role == "nothing":
                continue
            if role in ("tensor", "tuple"):
                found = True
            elif depth:
                self._walk(value if role == "container" else value.__dict__, depth - 1)
        return found


def _kind(container: Any) -> Any:
    """The built-in class that it is of, or derived from."""
    cls: type = container.__class__
    return cls if cls in KINDS else next(kind for kind in KINDS if issubclass(cls, kind))


def _role(value: Any) -> _Role:
    """What it is by its class: an object of a class of the user's has a container, that of its own attributes."""
    if isinstance(value, Tensor):
        return "tensor"
    if isinstance(value, tuple):
        return "tuple"
    if isinstance(value, nn.Module | type) or callable(value):
        return "nothing"
    if isinstance(value, KINDS):
        return "container"
    attributes = getattr(value, "__dict__", None)
    return "object" if isinstance(attributes, dict) and not type(value).__module__.startswith("torch") else "nothing"
