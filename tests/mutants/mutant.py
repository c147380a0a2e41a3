"""A mutant: a method of the project with one mistake in it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from impls import Method, load, unsupported
from impls.protocol import Array, Framework, Kind
from reference import Case, Request
from reference.case import DType, Outputs
from tests.planted.correct import CORRECT
from tests.planted.stochastic import RIGHT

Patch = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Mutant:
    """`make` puts the mistake into the method that `base` names.

    `check`, `case`, `outputs`, `dtype` and `symmetric` say where it is expected to show: there it is tried first.
    """

    name: str
    item: str
    """Its number in the list of known bugs (docs/mutants.md), or "" where it is none of them."""
    architecture: str
    what: str
    """The mistake, in one line."""
    base: str
    make: Callable[[Method], Method]
    case: str | None
    check: str = "test_kernel"
    outputs: Outputs = "full"
    dtype: DType = "float64"
    symmetric: bool = False
    raises: type[Exception] | None = None
    """What it dies of where the gate sees no wrong value but an exception of the method's own."""

    around: Patch = nullcontext
    """What holds while a test runs: a mistake that is made outside of the method, or what puts back what it leaves."""

    @property
    def framework(self) -> Framework:
        return base_method(self.base).framework

    def method(self) -> Method:
        """The mistaken method, under the name of the mutant; under its own where nothing in it is wrong."""
        base = base_method(self.base)
        made = self.make(base)
        return base if made is base else Renamed(made, self.name)


# Right methods that are not in the registry, by name.
OTHER_BASES: dict[str, Any] = {CORRECT.name: CORRECT, RIGHT.name: RIGHT}


def base_method(name: str) -> Method:
    return OTHER_BASES[name] if name in OTHER_BASES else load(name)


@dataclass(frozen=True)
class Around:
    """A method around another one: of its framework and kind, and it supports what that one does."""

    base: Method

    @property
    def framework(self) -> Framework:
        return self.base.framework

    @property
    def kind(self) -> Kind:
        return self.base.kind

    def unsupported(self, case: Case, request: Request) -> str | None:
        return unsupported(self.base, case, request)


OFFERED = ("kernel", "components", "kernel_of_batches")


@dataclass(frozen=True)
class Renamed(Around):
    """The gate's requests depend on the name of the method, so that a mutant needs one of its own."""

    name: str

    def prepare(self, case: Case, request: Request) -> Callable[[], Array]:
        return self.base.prepare(case, request)

    def __getattr__(self, attribute: str) -> Any:
        """What else the method offers, where it does."""
        offered = getattr(self.base, attribute, None) if attribute in OFFERED else None
        if offered is None:
            raise AttributeError(attribute)
        return offered


@dataclass(frozen=True)
class Patched(Around):
    """`base`, prepared and called while something in its modules is exchanged for something wrong."""

    patch: Patch
    name: str = "patched"

    def prepare(self, case: Case, request: Request) -> Callable[[], Array]:
        with _built_anew(), self.patch():
            compute = self.base.prepare(case, request)

        def patched() -> Array:
            with self.patch():
                return compute()

        return patched

    def kernel(self, *args: Any) -> Array:
        with _built_anew(), self.patch():
            return self.base.kernel(*args)  # type: ignore[attr-defined]


@contextmanager
def _built_anew() -> Iterator[None]:
    """The functions of JAX's networks are kept, and with them what was compiled: neither may outlive a patch."""
    kept = [getattr(sys.modules[module], name) for module, name in KEPT_BUILDS if module in sys.modules]
    for build in kept:
        build.cache_clear()
    try:
        yield
    finally:
        for build in kept:
            build.cache_clear()


KEPT_BUILDS = (("impls.networks.jax", "forward_of"), ("impls.networks.stax", "layers"))


@dataclass(frozen=True)
class Wrapped(Around):
    """A method whose `prepare` is a function of the base's, of the case and of the request."""

    preparing: Callable[[Method, Case, Request], Callable[[], Array]]
    name: str = "wrapped"

    def prepare(self, case: Case, request: Request) -> Callable[[], Array]:
        return self.preparing(self.base, case, request)


def patched(*patches: Patch) -> Callable[[Method], Method]:
    """For `Mutant.make`: all of these patches at once."""
    return lambda base: Patched(base, lambda: together(patches))


def wrapped(preparing: Callable[[Method, Case, Request], Callable[[], Array]]) -> Callable[[Method], Method]:
    """For `Mutant.make`."""
    return lambda base: Wrapped(base, preparing)


def after(change: Callable[[Any, Case, Request], Array]) -> Callable[[Method], Method]:
    """For `Mutant.make`: the kernel, in the framework's own array, is changed once it is computed."""

    def preparing(base: Method, case: Case, request: Request) -> Callable[[], Array]:
        compute = base.prepare(case, request)

        def changed() -> Array:
            with arithmetic(base.framework, request):
                return change(compute(), case, request)

        return changed

    return wrapped(preparing)


def from_full(change: Callable[[Any, Case, Request], Array]) -> Callable[[Method], Method]:
    """As `after`, but the full kernel is computed, whatever outputs were asked for."""
    return lambda base: after(change)(Wrapped(base, _full))


def _full(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    return base.prepare(case, replace(request, outputs="full"))


def arithmetic(framework: Framework, request: Request) -> AbstractContextManager[Any]:
    """Inside, JAX computes with float64 where the request asks for it."""
    if framework != "jax":
        return nullcontext()
    from impls.frameworks.jax.support import precision

    return precision(request.dtype)


@contextmanager
def together(patches: tuple[Patch, ...]) -> Iterator[None]:
    with ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch())
        yield


def attribute(owner: Any, name: str, value: Any) -> Patch:
    """Another value for ``owner.name``."""

    @contextmanager
    def patch() -> Iterator[None]:
        before = getattr(owner, name)
        setattr(owner, name, value)
        try:
            yield
        finally:
            setattr(owner, name, before)

    return patch


def entry(table: Any, key: Any, value: Any) -> Patch:
    """Another value for ``table[key]``."""

    @contextmanager
    def patch() -> Iterator[None]:
        before = table[key]
        table[key] = value
        try:
            yield
        finally:
            table[key] = before

    return patch


def layer(dispatch: Any, kind: type, build: Callable[..., Any]) -> Patch:
    """Another function for one kind of layer in a build of the networks: ``build(original, layer, *rest)``."""

    @contextmanager
    def patch() -> Iterator[None]:
        before = dispatch.registry[kind]
        dispatch.register(kind, lambda *args: build(before, *args))
        try:
            yield
        finally:
            dispatch.register(kind, before)

    return patch


def described_as(dispatch: Any, kind: type, change: Callable[[Any], Any]) -> Patch:
    """The layers of one kind built from another description."""
    return layer(dispatch, kind, lambda original, described, *rest: original(change(described), *rest))
