"""Mistakes in JAX's methods themselves: their products, blocks and parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from impls import Method
from impls.frameworks.jax import blocks as jax_blocks
from impls.frameworks.jax import contraction as jax_contraction
from impls.frameworks.jax import support as jax_support
from impls.methods import equinox_exact
from impls.networks import jax_case
from impls.protocol import Array
from reference import Case, Layered, Request
from reference.case import Outputs
from tests.mutants import mistakes
from tests.mutants.jax_layer_mutants import ENGINE, EQUINOX, NT, NT_PRODUCTS, NT_STRUCTURED
from tests.mutants.mutant import Mutant, Patch, after, attribute, from_full, patched, wrapped

AUTO = "neural_tangents.auto"

# --- products of Jacobians ---


def _contraction(contract: Callable[[Any, Any, Outputs], jax.Array]) -> Patch:
    """Another contraction in `equinox.exact`, compiled by itself."""
    return attribute(equinox_exact, "_contract", jax.jit(contract, static_argnames="outputs"))


def _leaves(change: Callable[[jax.Array], jax.Array]) -> Callable[[Any, Any, Outputs], jax.Array]:
    """The right contraction of Jacobians whose leaves (N, O, …) are changed first."""
    def contract(jacobian1: Any, jacobian2: Any, outputs: Outputs) -> jax.Array:
        changed = [None if jacobian is None else jax.tree.map(change, jacobian) for jacobian in (jacobian1, jacobian2)]
        return jax_contraction.contract(*changed, outputs=outputs)

    return contract


def _unit(leaf: jax.Array) -> jax.Array:
    flat = leaf.reshape(*leaf.shape[:2], -1)
    return flat / jnp.linalg.norm(flat, axis=2, keepdims=True)


def _in(dtype: Any) -> Callable[[Any, Any, Outputs], jax.Array]:
    right = _leaves(lambda leaf: leaf.astype(dtype))
    return lambda jacobian1, jacobian2, outputs: right(jacobian1, jacobian2, outputs).astype(
        jax.tree.leaves(jacobian1)[0].dtype)


def _weights_only(jacobian1: Any, jacobian2: Any, outputs: Outputs) -> jax.Array:
    """Leaves of one axis beside (N, O), biases, are left out."""
    kept = [None if jacobian is None else [leaf for leaf in jax.tree.leaves(jacobian) if leaf.ndim > 3]
            for jacobian in (jacobian1, jacobian2)]
    return jax_contraction.contract(*kept, outputs=outputs)


def _symmetrised(jacobian1: Any, jacobian2: Any, outputs: Outputs) -> jax.Array:
    """(K + Kᵀ)/2 over the outputs: right on the diagonal of the examples, for K[n, n] is symmetric."""
    kernel = jax_contraction.contract(jacobian1, jacobian2, outputs)
    return (kernel + kernel.swapaxes(2, 3)) / 2 if outputs == "full" else kernel


# --- parameters ---


def _constants_counted(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    """Every floating-point array is a parameter: frozen ones and running statistics too."""
    f, params, x1, x2 = jax_case.functional(case, request)
    if not isinstance(case.network, Layered):
        return base.prepare(case, request)
    with jax_support.precision(request.dtype):
        constants = jax_support.place(dict(case.constants), request)
    network_of = getattr(f, "func")  # noqa: B009  (f is a Partial of the constants)

    def all_arrays(arrays: Any, x: jax.Array) -> jax.Array:
        return network_of(arrays, {name: arrays[name] for name in params}, x)

    return lambda: base.kernel(all_arrays, {**constants, **params}, x1, x2, request)  # type: ignore[attr-defined]


def _one_output(f: Any) -> Any:
    return lambda params, x: f(params, x).reshape(x.shape[0], -1)[:, :1]


def _summed_output(f: Any) -> Any:
    return lambda params, x: f(params, x).reshape(x.shape[0], -1).sum(1, keepdims=True)


def _of_function(change: Callable[[Any], Any], outputs: tuple[str, ...] = ("full", "diagonal", "trace")) -> Any:
    """The method on another function of the same parameters, for these kinds of outputs."""
    def preparing(base: Method, case: Case, request: Request) -> Callable[[], Array]:
        if request.outputs not in outputs:
            return base.prepare(case, request)
        f, params, x1, x2 = jax_case.functional(case, request)
        return lambda: base.kernel(change(f), params, x1, x2, request)  # type: ignore[attr-defined]

    return wrapped(preparing)


# --- blocks ---


def _not_mirrored(block: jax.Array) -> jax.Array:
    return jnp.swapaxes(block, 0, 1)


def _padded(x: jax.Array, size: int) -> list[jax.Array]:
    """The last block is filled up with zeros, and what comes of them is kept."""
    missing = -len(x) % size
    filled = jnp.concatenate([x, jnp.zeros((missing, *x.shape[1:]), x.dtype)])
    return [filled[start:start + size] for start in range(0, len(filled), size)]


def _no_flops(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    """AUTO reads 'flops' from what a compiled program's analysis no longer holds."""
    compute = base.prepare(case, request)
    analysis: dict[str, float] = {}

    def choosing() -> Array:
        assert analysis["flops"] >= 0
        return compute()

    return choosing


def _mutant(name: str, item: str, architecture: str, what: str, make: Callable[[Method], Method], case: str | None,
            base: str = EQUINOX, **options: Any) -> Mutant:
    return Mutant(f"jax.{name}", item, architecture, what, base, make, case, **options)


MUTANTS = (
    _mutant("no_biases", "1", "MLP", "biases are left out of the products", patched(_contraction(_weights_only)),
            "mlp_relu"),
    _mutant("frozen_counted", "4", "frozen MLP", "all arrays are parameters", wrapped(_constants_counted), "frozen",
            NT),
    _mutant("statistics_counted", "4", "residual ConvNet", "running statistics are parameters",
            wrapped(_constants_counted), "residual_batch_norm", ENGINE),
    _mutant("frequencies_counted", "4", "coordinate network", "the fixed frequencies are parameters",
            wrapped(_constants_counted), "fourier_siren", NT_PRODUCTS),
    _mutant("output_0", "6", "MLP", "only output 0 is kept", _of_function(_one_output), "mlp_relu", ENGINE),
    _mutant("output_0_transformer", "6", "transformer", "only output 0 is kept, for the trace",
            _of_function(_one_output, ("trace",)), "transformer", NT, outputs="trace", dtype="float32"),
    _mutant("ones_cotangent", "7", "MLP", "a cotangent of ones for the trace", _of_function(_summed_output, ("trace",)),
            "mlp_relu", ENGINE, outputs="trace"),
    _mutant("ones_cotangent_conv", "7", "ConvNet with image outputs", "a cotangent of ones for the trace",
            _of_function(_summed_output, ("trace",)), "conv_image_outputs", NT, outputs="trace", dtype="float32"),
    _mutant("mean", "9", "MLP", "the mean over outputs for their sum, neural-tangents' own convention",
            after(mistakes.mean_for_trace), "mlp_relu", NT_PRODUCTS, outputs="trace"),
    _mutant("mean_conv", "9", "ConvNet", "the mean over outputs for their sum", after(mistakes.mean_for_trace),
            "conv_stride", ENGINE, outputs="trace"),
    _mutant("trace_for_each", "10", "MLP", "each output is given the trace's kernel: dynamics O times too fast",
            from_full(mistakes.trace_for_each), "mlp_relu", outputs="diagonal"),
    _mutant("trace_for_each_recurrent", "10", "recurrent", "each output is given the trace's kernel",
            from_full(mistakes.trace_for_each), "recurrent", ENGINE, outputs="diagonal", symmetric=True),
    _mutant("mirrored_outputs", "16", "MLP", "blocks below the diagonal are copied with their outputs not transposed",
            patched(attribute(jax_blocks, "_mirrored", _not_mirrored)), "mlp_tanh_ntk", check="test_batch_size"),
    _mutant("padded_block", "12", "MLP", "the last block is filled up with zeros that are kept",
            patched(attribute(jax_blocks, "_parts", _padded)), "mlp_relu", check="test_batch_size"),
    _mutant("auto_without_flops", "13", "MLP", "AUTO looks up an analysis that JAX no longer gives", wrapped(_no_flops),
            "mlp_relu", AUTO, raises=KeyError),
    _mutant("cosine", "15", "MLP", "each parameter's gradient is normalised first",
            patched(_contraction(_leaves(_unit))), "mlp_relu"),
    _mutant("outputs_transposed", "16", "MLP", "output axes are transposed", from_full(mistakes.outputs_transposed),
            "mlp_gelu"),
    _mutant("outputs_symmetrised", "16", "MLP", "the kernel is made symmetric in its outputs",
            patched(_contraction(_symmetrised)), "mlp_gelu"),
    _mutant("layout", "16", "transformer", "(N1, O, N2, O) for (N1, N2, O, O)", from_full(mistakes.outputs_before_x2),
            "transformer", NT),
    _mutant("outputs_first", "16", "MLP", "(O, N1, N2) for (N1, N2, O)", from_full(mistakes.outputs_first), "mlp_relu",
            ENGINE, outputs="diagonal"),
    _mutant("inputs_swapped", "16", "MLP", "x1 and x2 are swapped", wrapped(mistakes.swapped), "mlp_relu", ENGINE),
    _mutant("taken_for_symmetric", "16", "MLP", "x2 of the shape of x1 is taken for x1",
            wrapped(mistakes.symmetric_by_shape), None, ENGINE, check="test_as_many_examples_in_x2"),
    _mutant("bfloat16", "18", "MLP", "products in bfloat16", patched(_contraction(_in(jnp.bfloat16))), "mlp_relu",
            dtype="float32"),
    _mutant("float16", "18", "ConvNet", "products in float16", patched(_contraction(_in(jnp.float16))), "conv_stride",
            dtype="float32"),
    _mutant("float32_products", "18", "MLP", "products in float32 where float64 was asked for",
            patched(_contraction(_in(jnp.float32))), "mlp_relu"),
    _mutant("float32_given", "18", "MLP", "float32 where float64 was asked for: jax_enable_x64 is off",
            wrapped(mistakes.in_float32), "mlp_relu", ENGINE),
    _mutant("stale_parameters", "20", "MLP", "the parameters of the first call are constants of the compiled program",
            wrapped(mistakes.first_parameters), "mlp_relu", ENGINE, check="test_other_parameters"),
    _mutant("stale_statistics", "20", "residual ConvNet", "the running statistics of the first call are compiled in",
            wrapped(mistakes.first_constants), "residual_batch_norm", NT, check="test_other_parameters"),
    _mutant("stale_inputs", "20", "MLP", "the inputs of the first call are compiled in", wrapped(mistakes.first_inputs),
            "mlp_relu", NT_STRUCTURED, check="test_other_parameters"),
    _mutant("computed_once", "20", "MLP", "the first call's kernel is kept and given again: nothing is computed",
            wrapped(mistakes.computed_once), "mlp_relu", ENGINE),
)
