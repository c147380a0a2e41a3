"""neural-tangents 0.6.5 on JAX 0.8 to 0.11, without TensorFlow, and without changing JAX for anyone else.

The last release of neural-tangents reads names that JAX has removed since (github.com/google/neural-tangents, issue
209), and imports TensorFlow for a part that nobody needs here. So `load`

1. restores these names while neural-tangents is being imported, and takes them away again;
2. lets its `experimental` package (the TensorFlow part) pass for imported meanwhile;
3. gives its own modules what they read later. JAX itself stays as it was: the tests compare every attribute.

Its installed files are not touched.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import operator
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import jax
import jax.core
import jax.interpreters.ad
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax.extend import core as extend_core
from jax.extend import linear_util

from impls.frameworks.imports import invalid_escapes
from impls.frameworks.jax.support import bind
from impls.protocol import MethodNotInstalled
from impls.registry import REMEDIES

JAX_SUPPORTED = ((0, 8), (0, 11))
"""The first and the last (major, minor): what is restored below depends on what a release of JAX lacks."""
NEURAL_TANGENTS_SUPPORTED = "0.6.5"

ad = jax.interpreters.ad


@functools.cache
def load() -> ModuleType:
    """The module `neural_tangents`, ready to use; its `stax` and `predict` come with it.

    Raises `MethodNotInstalled` where JAX or neural-tangents is a release that this module does not know, and
    `ModuleNotFoundError` where neural-tangents is missing.
    """
    _check_versions()
    with _removed_names(), _without_tensorflow(), invalid_escapes():
        neural_tangents = importlib.import_module("neural_tangents")
    vars(neural_tangents).pop("experimental", None)  # the stand-in
    _mend(importlib.import_module("neural_tangents._src.empirical"))
    vars(importlib.import_module("neural_tangents._src.predict"))["sp"] = SimpleNamespace(
        linalg=SimpleNamespace(eigvalsh=_eigvalsh))
    return neural_tangents


def _check_versions() -> None:
    first, last = JAX_SUPPORTED
    if not first <= jax.__version_info__[:2] <= last:
        known = f"{'.'.join(map(str, first))} to {'.'.join(map(str, last))}"
        raise MethodNotInstalled(f"neural-tangents runs here on JAX {known}, but JAX is {jax.__version__}: "
                                 f"{REMEDIES['neural_tangents']}")
    try:
        version = importlib.metadata.version("neural-tangents")
    except importlib.metadata.PackageNotFoundError:
        raise ModuleNotFoundError("No module named 'neural_tangents'", name="neural_tangents") from None
    if version != NEURAL_TANGENTS_SUPPORTED:
        raise MethodNotInstalled(f"neural-tangents {NEURAL_TANGENTS_SUPPORTED} runs here, but {version} is installed: "
                                 f"{REMEDIES['neural_tangents']}")


# --- while it is imported ---

ZEROS_LIKE = extend_core.Primitive("zeros_like")
"""Stands where JAX had a primitive of that name, as a key of neural-tangents' tables of rules; no trace contains it."""


def _safe_zip(*arguments: Iterable[Any]) -> list[tuple[Any, ...]]:
    return list(zip(*arguments, strict=True))


@contextmanager
def _removed_names() -> Iterator[None]:
    """Inside, the names that JAX has removed and neural-tangents imports are where they were."""
    util = ModuleType("jax.util")
    vars(util).update(safe_map=jax.api_util.safe_map, safe_zip=_safe_zip)
    moved = {name: getattr(extend_core, name) for name in ("Jaxpr", "JaxprEqn", "Literal", "Primitive", "Var")}
    with (_attributes(jax.core, moved), _attributes(ad, {"zeros_like_p": ZEROS_LIKE}),
          _modules({"jax.util": util})):
        yield


@contextmanager
def _without_tensorflow() -> Iterator[None]:
    """Inside, `neural_tangents.experimental` passes for imported: it would import tensorflow, tf2jax and jax2tf."""
    with _modules({"neural_tangents.experimental": ModuleType("neural_tangents.experimental")}):
        yield


@contextmanager
def _attributes(module: ModuleType, values: dict[str, Any]) -> Iterator[None]:
    missing = {name: value for name, value in values.items() if name not in vars(module)}
    with ExitStack() as stack:
        for name, value in missing.items():
            setattr(module, name, value)
            stack.callback(delattr, module, name)
        yield


@contextmanager
def _modules(modules: dict[str, ModuleType]) -> Iterator[None]:
    missing = {name: module for name, module in modules.items() if name not in sys.modules}
    with ExitStack() as stack:
        for name, module in missing.items():
            sys.modules[name] = module
            stack.callback(sys.modules.pop, name)
        yield


# --- what its modules read later ---


def _mend(empirical: Any) -> None:
    """Give the module of the finite-width kernels its own view of JAX; the rest of neural-tangents needs none."""
    vars(empirical).update(
        ad=SimpleNamespace(
            **{name: getattr(ad, name) for name in ("UndefinedPrimal", "Zero", "add_tangents", "is_undefined_primal",
                                                    "primitive_jvps")},
            config=SimpleNamespace(jax_enable_checks=False),  # its checks join types in a way that is gone
            linearize=_linearize,
            source_info_util=SimpleNamespace(transform_name_stack=jax.named_scope),
        ),
        core=SimpleNamespace(ShapedArray=jax.core.ShapedArray, Var=extend_core.Var, DShapedArray=_DynamicallyShaped),
        jnp=SimpleNamespace(**{**vars(jnp), **_NUMPY}),
        lu=SimpleNamespace(wrap_init=_wrap_init),
        _eqn_vjp_fn=_equation_vjp,
        _get_flops=_flops,
        print=_say_nothing,  # AUTO writes its choice to standard output
        warnings=SimpleNamespace(warn=_say_nothing),  # only that a rule is missing, so that the general way is taken
    )


def _wrap_init(f: Callable[..., Any]) -> Any:
    return linear_util.wrap_init(f, debug_info=jax.api_util.debug_info("neural_tangents", f, (), {}))


_NUMPY = {"size": np.size, "shape": np.shape, "dtype": operator.attrgetter("dtype")}
"""Asked of shapes without values, and the last of arrays: JAX deprecates both."""


class _DynamicallyShaped:
    """A type that no array has; JAX gave dynamic shapes up."""


class _Tangent(SimpleNamespace):
    """What is known of an output's tangent: only whether it is identically zero."""

    zero: bool

    def is_known(self) -> bool:
        return self.zero


def _linearize(traceable: Any, *primals: Any, has_aux: bool) -> tuple[Any, list[_Tangent], Any, Sequence[Any]]:
    """The form that `jax.interpreters.ad.linearize` had: outputs, tangents, the linear jaxpr, and its constants.

    The jaxpr gives the outputs whose tangent is not known to be zero, and holds linear equations alone: those that
    depend on no input have been evaluated.
    """
    assert not has_aux
    outputs, tangent_map = jax.linearize(traceable.call_wrapped, *primals)
    closed = _unstacked(jax.make_jaxpr(tangent_map)(*primals), primals)
    linear = _depend_on_inputs(closed.jaxpr)
    tangents = [_Tangent(zero=not _is_in(v, linear)) for v in closed.jaxpr.outvars]
    rest = _without_constant_equations(closed, linear)
    jaxpr = rest.jaxpr.replace(outvars=[v for v in rest.jaxpr.outvars if _is_in(v, linear)])
    return outputs, tangents, jaxpr, rest.consts


def _unstacked(closed: Any, inputs: Sequence[Any]) -> Any:
    """The closed jaxpr with slices in place of `unstack`.

    JAX has it since 0.11, for ``q, k, v = x`` say; neural-tangents takes no primitive of several outputs.
    """
    if all(eqn.primitive.name != "unstack" for eqn in closed.jaxpr.eqns):
        return closed

    def function(*values: Any) -> list[Any]:
        env = dict(zip([*closed.jaxpr.constvars, *closed.jaxpr.invars], [*closed.consts, *values], strict=True))
        for eqn in closed.jaxpr.eqns:
            given = [env[v] if isinstance(v, extend_core.Var) else v.val for v in eqn.invars]
            if eqn.primitive.name == "unstack":
                (x,), axis = given, eqn.params["axis"]
                results = [jax.lax.index_in_dim(x, i, axis, keepdims=False) for i in range(x.shape[axis])]
            else:
                result = bind(eqn.primitive, eqn.params, given)
                results = result if eqn.primitive.multiple_results else [result]
            env.update(zip(eqn.outvars, results, strict=True))
        return [env[v] if isinstance(v, extend_core.Var) else v.val for v in closed.jaxpr.outvars]

    return jax.make_jaxpr(function)(*inputs)


def _depend_on_inputs(jaxpr: Any) -> set[Any]:
    """The variables whose value depends on the jaxpr's inputs."""
    depend = set(jaxpr.invars)
    for eqn in jaxpr.eqns:
        if any(_is_in(v, depend) for v in eqn.invars):
            depend.update(eqn.outvars)
    return depend


def _without_constant_equations(closed: Any, linear: set[Any]) -> Any:
    """The closed jaxpr without the equations that give none of `linear`; their values join its constants."""
    jaxpr = closed.jaxpr
    constant = [eqn for eqn in jaxpr.eqns if linear.isdisjoint(eqn.outvars)]
    names = [v for eqn in constant for v in eqn.outvars]
    values = jax.core.eval_jaxpr(jaxpr.replace(invars=[], eqns=constant, outvars=names), closed.consts)
    rest = [eqn for eqn in jaxpr.eqns if not linear.isdisjoint(eqn.outvars)]
    # Since JAX 0.11 a jaxpr holds its constants itself, and what is a constant is told by their number.
    return extend_core.ClosedJaxpr(jaxpr.replace(constvars=[*jaxpr.constvars, *names], eqns=rest),
                                   [*closed.consts, *values])


def _is_in(atom: Any, variables: set[Any]) -> bool:
    return isinstance(atom, extend_core.Var) and atom in variables  # a literal has no hash


def _equation_vjp(eqn: Any, cotangent: Any, *invals: Any) -> Sequence[Any]:
    """Cotangents of the equation's undefined inputs, None for the others; `eqn` None is the identity.

    neural-tangents reads `Primitive.map_primitive` and `ad.reducing_transposes`, which are gone, and asks the table of
    transposition rules, which no longer holds all of them; `jax.linear_transpose` knows all.
    """
    if eqn is None:
        return (cotangent,)
    undefined = [isinstance(x, ad.UndefinedPrimal) for x in invals]
    avals = [x.aval for x, is_undefined in zip(invals, undefined, strict=True) if is_undefined]
    if isinstance(cotangent, ad.Zero):
        cotangents = iter([ad.Zero(aval) for aval in avals])
    else:
        cotangents = iter(jax.linear_transpose(_equation_function(eqn, invals), *avals)(cotangent))
    return [next(cotangents) if is_undefined else None for is_undefined in undefined]


def _equation_function(eqn: Any, invals: Sequence[Any]) -> Callable[..., Any]:
    """The equation as a function of its undefined inputs."""
    def function(*undefined: Any) -> Any:
        given = iter(undefined)
        arguments = [next(given) if isinstance(x, ad.UndefinedPrimal) else x for x in invals]
        result = bind(eqn.primitive, eqn.params, arguments)
        return result[0] if eqn.primitive.multiple_results else result

    return function


def _flops(f: Callable[..., Any], optimize: bool, *args: Any, **kwargs: Any) -> float:
    """XLA's estimate; `cost_analysis()` returned a list of dicts, and returns a dict."""
    lowered = jax.jit(f).lower(*args, **kwargs)
    # Where XLA is to leave a program much as it is, there is no better one to count, and compiling takes longest.
    optimize = optimize and not jax.config.values["jax_disable_most_optimizations"]
    analysis = (lowered.compile() if optimize else lowered).cost_analysis()
    assert analysis is not None
    return analysis.get("flops", 0.0)  # no entry where there is nothing to compute


def _eigvalsh(a: Any, eigvals: tuple[int, int]) -> np.ndarray:
    """SciPy's, as `predict.max_learning_rate` calls it: SciPy 1.14 removed `eigvals`."""
    return scipy.linalg.eigvalsh(a, subset_by_index=eigvals)


def _say_nothing(*_: Any) -> None:
    pass
