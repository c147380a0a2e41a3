"""What a JAX network has to be before it has a kernel of pairs of examples; and what to say of one that is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.extend.core import Jaxpr, Literal

from impls.frameworks.arrays import on_host
from impls.frameworks.jax.convolutions import ending_the_process
from impls.frameworks.jax.kept import kept
from impls.frameworks.jax.support import Batched, flat_outputs
from impls.frameworks.jax.xla import options
from reference import InputError

INSIDE = ("impls.ntk computes a kernel and cannot stand inside jax.jit, jax.grad or jax.vmap, where there are no "
          "numbers to check and to plan for; use impls.ntk_fn there, a function (params, x1, x2) that can be jitted, "
          "mapped and differentiated, or call ntk outside")


def check_outside(*trees: Any) -> None:
    """Raise `InputError` where JAX is tracing: what is given, or whatever is computed here."""
    leaves = [leaf for tree in trees if not isinstance(tree, Iterator) for leaf in jax.tree.leaves(tree)]
    if any(isinstance(leaf, Tracer) for leaf in (jnp.zeros(()), *leaves)):
        raise InputError(INSIDE)


def check_batched(f: Batched, params: Any, x1: jax.Array, x2: jax.Array | None = None) -> int:
    """The number of outputs of f; `InputError` unless it maps N examples to N outputs, each of one example alone.

    f is evaluated on two examples in both orders, and on each of them by itself: once for f and these shapes.
    """
    return kept(_Checked, f, params, _two_examples(x1, x2), x1).n_outputs


class _Checked:
    """What `check_batched` found out; it exists only where nothing is wrong."""

    def __init__(self, f: Batched, params: Any, two: jax.Array, x1: jax.Array) -> None:
        try:
            traced = jax.jit(lambda params, two: _outputs(f, params, two)).trace(params, two)
        except InputError:
            raise
        except Exception as error:  # the user's own code may raise anything
            raise InputError(failure(f, params, x1, error)) from error
        _check_convolutions(traced.jaxpr.jaxpr, params)
        _check_depends(traced.jaxpr.jaxpr, len(jax.tree.leaves(params)))
        run = traced.lower().compile(compiler_options={**options(quick=True)})
        both, alone = (np.asarray(y) for y in run(params, two))
        self.n_outputs = both.shape[-1]
        if not self.n_outputs:
            raise InputError("the model has no outputs: an axis of what it returns has length 0")
        with np.errstate(invalid="ignore"):  # what is not finite is told of by others
            for pair, expected in zip(both, (alone, alone[::-1]), strict=True):
                _check_apart(pair, expected)


def _outputs(f: Batched, params: Any, two: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Of both orders, (2, 2, O), and of each example alone, (2, O)."""
    both = jax.lax.map(lambda x: flat_outputs(f(params, x), 2), jnp.stack([two, two[::-1]]))
    return both, jax.lax.map(lambda x: flat_outputs(f(params, x), 1)[0], two[:, None])


def _two_examples(x1: Any, x2: Any) -> Any:
    """The first one and one that differs from it: of x1, of x2, or its own numbers in another order."""
    x1, x2 = on_host(x1), None if x2 is None else on_host(x2)
    numbers: Any = np if isinstance(x1, np.ndarray) else jnp
    first = x1[:1]
    for x in (x1, x1[1:2]) if x2 is None else (x1, x2, x1[1:2]):
        if len(x) and bool((x[-1:] != first).any()):
            return numbers.concatenate([first, x[-1:].astype(x1.dtype)])
    return numbers.concatenate([first, numbers.roll(first.reshape(1, -1), 1).reshape(first.shape)])


def _check_apart(y: np.ndarray, alone: np.ndarray) -> None:
    """Raise `InputError` where an example's outputs in a batch are others than when it is alone, by half the digits."""
    scale = max(np.abs(y).max(initial=0), np.abs(alone).max(initial=0))
    if np.abs(y - alone).max(initial=0) > float(jnp.finfo(y.dtype).eps) ** 0.5 * scale:
        raise InputError("the model's examples influence each other: its outputs for an example change with the others "
                         "in the batch (is there a mean over the batch, as of BatchNorm in training mode?), so that it "
                         "has no kernel of pairs of examples; or they are drawn at random, anew for each batch")


def _check_convolutions(jaxpr: Jaxpr, params: Any) -> None:
    """Raise `InputError` where XLA for the CPU would end the process; nothing can be done once it compiles."""
    if any(device.platform != "cpu" for leaf in jax.tree.leaves(params) for device in leaf.devices()):
        return
    if (found := next(ending_the_process(jaxpr), None)) is not None:
        raise InputError("XLA for the CPU ends the process when it compiles the derivative of the model's convolution "
                         f"of {found}: the outputs are the same (impls.frameworks.jax.convolutions)")


def _check_depends(jaxpr: Jaxpr, n_params: int) -> None:
    """Raise `InputError` where no output depends on any of the first inputs."""
    needed = {var for var in jaxpr.outvars if not isinstance(var, Literal)}
    for eqn in reversed(jaxpr.eqns):
        if not needed.isdisjoint(eqn.outvars):
            needed.update(var for var in eqn.invars if not isinstance(var, Literal))
    if needed.isdisjoint(jaxpr.invars[:n_params]):
        raise InputError("the model's output does not depend on its parameters: does the function use those it is "
                         "called with, f(params, x), or others of the same name?")


def failure(f: Batched, params: Any, x: jax.Array, error: Exception) -> str:
    """What to say of a network that raises an error on x1: what it says, and a remedy where one is seen to work."""
    of = f"the model fails on x1 of shape {tuple(x.shape)}, {x.dtype} ({type(error).__name__}: {_brief(error)})"
    return "; ".join([of, *_remedies(f, params, x, error)])


def _brief(error: Exception) -> str:
    """The first paragraph: JAX's errors go on for pages."""
    return str(error).strip().split("\n\n")[0]


def _remedies(f: Batched, params: Any, x: jax.Array, error: Exception) -> list[str]:
    if isinstance(error, jax.errors.ConcretizationTypeError | jax.errors.TracerArrayConversionError):
        return ["it reads numbers in Python, which jax.jit cannot follow either: use jnp.where or jax.lax.cond, and "
                "integers among the params, which stay numbers, for sizes"]
    if isinstance(error, TypeError) and "missing" in str(error) and "'state'" in str(error):
        return ["a module with state is given with it, as eqx.nn.make_with_state made them: ntk((model, state), x1)"]
    if isinstance(error, TypeError) and "missing" in str(error):
        return ["inputs of several arguments are given as a tuple, ntk(model, (x, mask)), or by name, as a dict"]
    is_float = jnp.issubdtype(x.dtype, jnp.floating)
    other = jax.ShapeDtypeStruct(x.shape, "int32" if is_float else jax.tree.leaves(params)[0].dtype)
    one = jax.ShapeDtypeStruct((1, *x.shape), x.dtype)
    tried = [(one, "it takes x1[None]: the first axis is that of the examples"),
             (other, "it takes integers of that shape (tokens)" if is_float else "it takes floating-point numbers")]
    return [remedy for stand_in, remedy in tried if _takes(f, params, stand_in)][:1]


def _takes(f: Batched, params: Any, x: jax.ShapeDtypeStruct) -> bool:
    try:
        return bool(jax.eval_shape(lambda params, x: flat_outputs(f(params, x), x.shape[0]), params, x).shape)
    except Exception:  # the user's own code may raise anything
        return False
