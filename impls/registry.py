"""The registry: names to methods, without importing what is not asked for."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
import zlib
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from impls.protocol import Framework, Method, MethodNotInstalled, RegistryError
from reference import Case, InputError, Quantity, Request

ENTRY_POINT_GROUP = "ntk_bench.impls"

# (name, framework, module); the module's METHODS holds the object of that name.
METHODS: tuple[tuple[str, Framework, str], ...] = (
    ("neural_tangents.jacobian_contraction", "jax", "impls.methods.neural_tangents_finite"),
    ("neural_tangents.ntk_vector_products", "jax", "impls.methods.neural_tangents_finite"),
    ("neural_tangents.structured_derivatives", "jax", "impls.methods.neural_tangents_finite"),
    ("neural_tangents.auto", "jax", "impls.methods.neural_tangents_finite"),
    ("neural_tangents.infinite", "jax", "impls.methods.neural_tangents_infinite"),
    ("torch_func.jacobian_contraction", "torch", "impls.methods.torch_func"),
    ("torch_func.ntk_vector_products", "torch", "impls.methods.torch_func"),
    ("torch_autograd.per_example", "torch", "impls.methods.torch_autograd"),
    ("explicit_mlp", "torch", "impls.methods.explicit_mlp"),
    ("structured_jax", "jax", "impls.methods.structured_jax"),
    ("structured_torch", "torch", "impls.methods.structured_torch"),
    ("structured_jax.monte_carlo", "jax", "impls.methods.structured_monte_carlo_jax"),
    ("structured_torch.monte_carlo", "torch", "impls.methods.structured_monte_carlo_torch"),
    ("equinox.exact", "jax", "impls.methods.equinox_exact"),
    ("equinox.monte_carlo", "jax", "impls.methods.equinox_monte_carlo"),
    ("nngeometry.gram", "torch", "impls.methods.nngeometry"),
    ("nngeometry.jacobian", "torch", "impls.methods.nngeometry"),
    ("backpack.batch_grad", "torch", "impls.methods.backpack"),
    ("curvlinops.jacobian_products", "torch", "impls.methods.curvlinops"),
    ("traker.random_projection", "torch", "impls.methods.traker"),
)

# Methods of other kernels than the NTK (reference/DEFINITION.md), and what they compute.
OTHER_METHODS: tuple[tuple[str, Framework, str, tuple[Quantity, ...]], ...] = (
    ("equinox.nngp", "jax", "impls.methods.nngp_jax", ("nngp",)),
    ("flax.nngp", "jax", "impls.methods.nngp_jax", ("nngp",)),
    ("torch.nngp", "torch", "impls.methods.nngp_torch", ("nngp",)),
    ("equinox.conjugate", "jax", "impls.methods.conjugate_equinox", ("conjugate",)),
    ("torch.conjugate", "torch", "impls.methods.conjugate_torch", ("conjugate",)),
)

# What methods of the NTK compute besides.
ALSO: dict[str, tuple[Quantity, ...]] = {"neural_tangents.infinite": ("nngp",)}

# Further witnesses, of packages that nothing else here needs: where they are not installed, the gate says so and goes
# on, unless it is told to ask for all (--require-all), as `nox -s tests` does.
OPTIONAL = frozenset(name for name, _, module in METHODS
                     if module.rpartition(".")[2] in ("nngeometry", "backpack", "curvlinops", "traker"))

# Import name of a package → how to get it.
_JAX_REMEDY = 'pip install -c constraints.txt ".[jax]"'
_PEERS_REMEDY = ('pip install -c constraints.txt ".[torch,peers]" && '
                 "pip install --no-deps -r requirements-nodeps.txt")
REMEDIES = {
    "jax": _JAX_REMEDY,
    "jaxlib": _JAX_REMEDY,
    "equinox": _JAX_REMEDY,
    "torch": 'pip install -c constraints.txt ".[torch]"',
    "neural_tangents": f"{_JAX_REMEDY} && pip install --no-deps -r requirements-nodeps.txt",
    # The packages, and what they import.
    **dict.fromkeys(("nngeometry", "backpack", "curvlinops", "trak", "einops", "unfoldNd", "einconv", "linear_operator",
                     "opt_einsum", "scipy", "tqdm"), _PEERS_REMEDY),
}


def names(quantity: Quantity | None = "ntk") -> list[str]:
    """The names of the methods of that kernel, of every kernel for None: the built-in ones, then those of installed
    entry points, which say what they compute once they are loaded."""
    ours = [name for name, computed in _computed().items() if quantity is None or quantity in computed]
    return ours + sorted(_entry_points())


def framework(name: str) -> Framework:
    """The framework of that method; nothing is imported for a built-in one."""
    for known, its_framework, _ in built_in():
        if known == name:
            return its_framework
    return load(name).framework


def load(name: str) -> Method:
    """The method of that name.

    Raises `RegistryError` for an unknown name (with the nearest ones) and `MethodNotInstalled`, with the remedy, where
    a package that it needs is missing.
    """
    modules = {name: module for name, _, module in built_in()}
    if name in modules:
        module = _import(name, modules[name])
        return next(method for method in module.METHODS if method.name == name)
    if name in (points := _entry_points()):
        return check_protocol(_load_entry_point(points[name]), f"entry point {name!r}", name)
    raise RegistryError(f"unknown method {name!r}{did_you_mean(name, names(None))}")


def load_object(spec: str) -> Method:
    """The method that ``path/to/file.py:OBJECT`` names; it need not be in the registry.

    Raises `RegistryError` where the file or the object does not exist, the file raises on import, the object breaks the
    protocol, or its name is taken by another method.
    """
    path_text, colon, attribute = spec.rpartition(":")
    if not colon or not path_text.endswith(".py"):
        raise RegistryError(f"--impl takes path/to/file.py:OBJECT, got {spec!r}")
    path = Path(path_text).expanduser().resolve()
    if not path.is_file():
        raise RegistryError(f"--impl {spec!r}: there is no file {path}")
    try:
        module = import_file(path)
    except Exception as error:
        raise RegistryError(f"--impl {spec!r}: importing {path.name} raised {type(error).__name__}: {error}") from error
    if not hasattr(module, attribute):
        public = [name for name in vars(module) if not name.startswith("_")]
        raise RegistryError(f"--impl {spec!r}: {path.name} has no {attribute!r}{did_you_mean(attribute, public)}")
    method = check_protocol(getattr(module, attribute), f"--impl {spec!r}")
    if method.name in names(None):
        raise RegistryError(f"--impl {spec!r}: the name {method.name!r} is taken; give the method another name")
    return method


def import_file(path: Path) -> ModuleType:
    """Import a file as a module of its own, from anywhere; what it raises is passed on."""
    name = f"ntk_bench_file_{path.stem}_{zlib.crc32(str(path).encode()):08x}"
    module_spec = importlib.util.spec_from_file_location(name, path)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module  # dataclasses look their module up here
    try:
        module_spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def check_protocol(method: Any, source: str, name: str | None = None) -> Method:
    """`method` itself, or `RegistryError` that says which part of the protocol it lacks."""
    if isinstance(method, type):
        name = method.__name__
        raise RegistryError(f"{source} is the class {name}; name an instance of it, e.g. OBJECT = {name}()")
    for attribute in ("name", "framework", "kind", "prepare"):
        if not hasattr(method, attribute):
            raise RegistryError(f"{source} has no attribute {attribute!r}; "
                                "a method needs name, framework, kind and prepare")
    for attribute in ("prepare", "unsupported"):
        if not callable(getattr(method, attribute, id)):
            raise RegistryError(f"{source}: {attribute} must be callable, got {getattr(method, attribute)!r}")
    if not isinstance(method.name, str) or not method.name:
        raise RegistryError(f"{source}: name must be a non-empty string, got {method.name!r}")
    if method.framework not in ("jax", "torch", "numpy"):
        raise RegistryError(f"{source}: framework must be 'jax', 'torch' or 'numpy', got {method.framework!r}")
    if method.kind not in ("exact", "stochastic", "limit"):
        raise RegistryError(f"{source}: kind must be 'exact', 'stochastic' or 'limit', got {method.kind!r}")
    known = get_args(Quantity)
    if not (isinstance(quantities(method), tuple) and quantities(method) and set(quantities(method)) <= set(known)):
        raise RegistryError(f"{source}: quantities must be a tuple of {', '.join(map(repr, known))}, got "
                            f"{quantities(method)!r}")
    if name is not None and method.name != name:
        raise RegistryError(f"{source} holds a method called {method.name!r}; the two names must agree")
    return method


def quantities(method: Any) -> tuple[Quantity, ...]:
    """The kernels that the method computes; one that does not say so computes the NTK."""
    return getattr(method, "quantities", ("ntk",))


def unsupported(method: Method, case: Case, request: Request) -> str | None:
    """The method's reason, or None; a method without `unsupported` claims to support everything of its kernels.

    Raises `RegistryError` for an answer that is neither None nor a text: a refusal without a reason is none.
    """
    if (reason := other_quantity(quantities(method), request)) is not None:
        return reason
    asked = getattr(method, "unsupported", None)
    reason = None if asked is None else asked(case, request)
    if reason is not None and not (isinstance(reason, str) and reason.strip()):
        raise RegistryError(f"{method.name}: unsupported must return None or a reason in words, got {reason!r}")
    return reason


def other_quantity(computed: tuple[Quantity, ...], request: Request) -> str | None:
    """Why what computes these kernels does not compute the one that is asked for, or None."""
    if request.quantity in computed:
        return None
    others = [name for name, also in _computed().items() if request.quantity in also]
    return (f"it computes {' and '.join(map(repr, computed))}, and asked for is {request.quantity!r}, which "
            f"{', '.join(others)} compute{'s' if len(others) == 1 else ''}")


def check_quantity(method: str, computed: tuple[Quantity, ...], request: Request) -> None:
    """Raise `InputError` where another kernel is asked for, by whoever did not ask `unsupported` before."""
    if (reason := other_quantity(computed, request)) is not None:
        raise InputError(f"{method}: {reason}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean …?` with the nearest names, else the list of all."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else f"; known are {', '.join(known)}"


def _import(name: str, module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in REMEDIES:
            raise
        raise MethodNotInstalled(f"{name} needs {missing}, which is not installed: {REMEDIES[missing]}") from error


def built_in() -> list[tuple[str, Framework, str]]:
    """The built-in methods of every kernel: name, framework, module."""
    return [*METHODS, *((name, its_framework, module) for name, its_framework, module, _ in OTHER_METHODS)]


def _computed() -> dict[str, tuple[Quantity, ...]]:
    """What each built-in method computes, nothing imported."""
    ntk: dict[str, tuple[Quantity, ...]] = {name: ("ntk", *ALSO.get(name, ())) for name, _, _ in METHODS}
    return ntk | {name: computed for name, _, _, computed in OTHER_METHODS}


def _entry_points() -> dict[str, EntryPoint]:
    points: dict[str, EntryPoint] = {}
    ours = _computed()
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name in ours or point.name in points:
            other = "a built-in method" if point.name in ours else repr(points[point.name].value)
            raise RegistryError(f"entry point {point.name!r} ({point.value}) takes the name of {other}; "
                                "its package must rename it or be uninstalled")
        points[point.name] = point
    return points


def _load_entry_point(point: EntryPoint) -> Any:
    try:
        return point.load()
    except ModuleNotFoundError as error:
        raise MethodNotInstalled(f"{point.name} ({point.value}) needs {error.name}, which is not installed") from error
    except AttributeError as error:
        raise RegistryError(f"entry point {point.name!r}: there is no {point.value} ({error})") from error
