"""Mistakes in PyTorch's methods themselves: what they differentiate by, and what they make of the derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from impls import Method, explicit_mlp, torch_autograd, torch_blocks, torch_func, torch_support
from impls.protocol import Array
from impls.torch_support import DTYPES, Forward, Params
from reference import Case, Request
from reference.case import Outputs
from tests.mutants.mutant import Mutant, Patch, after, attribute, entry, from_full, patched, wrapped
from tests.mutants.torch_layer_mutants import CONTRACTION, ENGINE, LOOP

PRODUCTS, CLOSED_FORM = "torch_func.ntk_vector_products", "explicit_mlp"

# --- what counts as a parameter ---


def _parameters(keep: Callable[[nn.Module, str], bool], buffers: bool = False) -> Patch:
    """The function's parameters are those that `keep` takes of the module; the others are constants of it."""
    right = torch_support.module_function

    def module_function(module: nn.Module) -> tuple[Forward, Params]:
        f, _ = right(module)
        named = dict(module.named_parameters()) | (dict(module.named_buffers()) if buffers else {})
        return f, {name: p.detach() for name, p in named.items() if p.is_floating_point() and keep(module, name)}

    def no_check(*_: Any) -> None:
        """A parameter that is left out is no mistake of the user's here."""

    return lambda: together_with((torch_support, "module_function", module_function),
                                 (torch_support, "check_reached", no_check))


def together_with(*changes: tuple[Any, str, Any]) -> Any:
    from tests.mutants.mutant import together

    return together(tuple(attribute(*change) for change in changes))


def _no_bias(module: nn.Module, name: str) -> bool:
    return "bias" not in name


def _no_norm(module: nn.Module, name: str) -> bool:
    part = module.get_submodule(name.rpartition(".")[0])
    return not isinstance(part, nn.BatchNorm2d | nn.LayerNorm | nn.RMSNorm)


def _everything(module: nn.Module, name: str) -> bool:
    return True


# --- the products ---

Contract = Callable[[Tensor, Tensor, Outputs], Tensor]
_right: Contract = torch_blocks.contract


def _contraction(contract: Contract, module: Any = torch_func) -> Patch:
    """Another contraction of the Jacobians, of each parameter (torch_func) or of all of them (torch_autograd)."""
    return attribute(module, "contract", contract)


def _normalised(left: Tensor, right: Tensor, outputs: Outputs) -> Tensor:
    return _right(nn.functional.normalize(left, dim=2), nn.functional.normalize(right, dim=2), outputs)


def _in(dtype: torch.dtype) -> Contract:
    return lambda left, right, outputs: _right(left.to(dtype), right.to(dtype), outputs).to(left.dtype)


def _tf32(left: Tensor, right: Tensor, outputs: Outputs) -> Tensor:
    def rounded(x: Tensor) -> Tensor:
        mantissa, exponent = torch.frexp(x)
        return torch.ldexp(torch.round(mantissa * 2**11) / 2**11, exponent)

    return _right(rounded(left), rounded(right), outputs)


def _float16_sums(left: Tensor, right: Tensor, outputs: Outputs) -> Tensor:
    pieces = zip(left.half().split(1, 2), right.half().split(1, 2), strict=True)
    total = sum(_right(a.float(), b.float(), outputs).half() for a, b in pieces)
    assert isinstance(total, Tensor)
    return total.to(left.dtype)


def _layout_of_the_product(left: Tensor, right: Tensor, outputs: Outputs) -> Tensor:
    """The matrix product as it comes, (N1, O, N2, O)."""
    kernel = _right(left, right, outputs)
    return kernel.transpose(1, 2) if outputs == "full" else kernel


def _outputs_transposed(left: Tensor, right: Tensor, outputs: Outputs) -> Tensor:
    kernel = _right(left, right, outputs)
    return kernel.transpose(2, 3) if outputs == "full" else kernel


def _mean(left: Tensor, right: Tensor, outputs: Outputs) -> Tensor:
    return _right(left, right, outputs) / (left.shape[1] if outputs == "trace" else 1)


def _trace_for_each(left: Tensor, right: Tensor, outputs: Outputs) -> Tensor:
    if outputs != "diagonal":
        return _right(left, right, outputs)
    return _right(left, right, "trace").unsqueeze(2).expand(-1, -1, left.shape[1]).clone()


def _jtj(left: Tensor, right: Tensor, outputs: Outputs) -> Tensor:
    """JᵀJ, the smaller one, once there are more rows than parameters."""
    if outputs != "full" or left.shape[0] * left.shape[1] < left.shape[2]:
        return _right(left, right, outputs)
    gram = left.flatten(0, 1).T @ left.flatten(0, 1)
    return gram[None, None]


def _summed_outputs(f: Forward, leaves: Params, example: Tensor) -> Tensor:
    """One backward pass with a cotangent of ones."""
    tensors = tuple(leaves.values())
    with torch.enable_grad():
        y = torch_support.one_example(f)(leaves, example).sum()
    row = torch.autograd.grad(y, tensors, allow_unused=True, materialize_grads=True)
    return torch.cat([gradient.flatten() for gradient in row])[None]


def _only_used(f: Forward, leaves: Params, example: Tensor) -> Tensor:
    with torch.enable_grad():
        y = torch_support.one_example(f)(leaves, example).unbind()
    rows = [torch.autograd.grad(output, tuple(leaves.values()), retain_graph=True) for output in y]
    return torch.stack([torch.cat([gradient.flatten() for gradient in row]) for row in rows])


def _accumulated(f: Forward, leaves: Params, x: Tensor) -> Tensor:
    """`backward` without `zero_grad`: each row holds all those before it."""
    return torch_autograd_jacobian(f, leaves, x).flatten(0, 1).cumsum(0).unflatten(0, (len(x), -1))


torch_autograd_jacobian = torch_autograd._jacobian


# --- blocks ---


def _not_mirrored(block: Tensor) -> Tensor:
    """K[m, n] = K[n, m], the outputs not transposed."""
    return block.transpose(0, 1)


def _uncovered(n: int, batch_size: int | None) -> list[slice]:
    """The rows that are left over repeat the last whole block."""
    step = n if batch_size is None else min(batch_size, n)
    whole = [slice(start, start + step) for start in range(0, n - step + 1, step)]
    return whole or [slice(0, n)]


def _zeros_where_dropped(*args: Any, **options: Any) -> Tensor:
    """With memory that starts as zeros, so that a block that is dropped is seen on every machine."""
    with torch.utils.deterministic.fill_uninitialized_memory_set(True):  # type: ignore[attr-defined]
        return torch_blocks.assemble(*args, **options)


# --- what is left from before ---

_kept: dict[Any, Any] = {}


def _first_parameters(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    """Compiled with the parameters of the first call baked in."""
    from dataclasses import replace

    params = _kept.setdefault((case.name, case.network), case.params)
    return base.prepare(replace(case, params=params), request)


def _first_constants(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    """As above, with the running statistics."""
    from dataclasses import replace

    constants = _kept.setdefault((case.name, case.network, "constants"), case.constants)
    return base.prepare(replace(case, constants=constants), request)


def _added_up(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    """One buffer for all calls, to which each adds."""
    compute = base.prepare(case, request)
    buffer = torch.zeros(())

    def again() -> Tensor:
        nonlocal buffer
        buffer = buffer + compute()
        return buffer

    return again


def _computed_once(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    """The kernel of the first call, for every later one: fast, and nothing that a benchmark should time."""
    compute = base.prepare(case, request)
    done: list[Array] = []

    def again() -> Array:
        if not done:
            done.append(compute())
        return done[0]

    return again


def _second_example_first(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    """x2 of the shape of x1 is taken for x1."""
    same = case.x2 is not None and case.x2.shape == case.x1.shape
    return base.prepare(case.with_symmetry() if same else case, request)


def _swapped(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    from dataclasses import replace

    return base.prepare(case if case.x2 is None else replace(case, x1=case.x2, x2=case.x1), request)


def _lowered(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    """float64 asked for and given, everything computed in float32."""
    from dataclasses import replace

    compute = base.prepare(case, replace(request, dtype="float32"))
    return lambda: compute().to(DTYPES[request.dtype])


def _float32_inputs(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    compute = base.prepare(case, replace_dtype(request))
    return compute


def replace_dtype(request: Request) -> Request:
    from dataclasses import replace

    return replace(request, dtype="float32")


def _spoilt(kernel: Tensor, case: Case, request: Request) -> Tensor:
    kernel = kernel.clone()
    kernel[(-1,) * kernel.ndim] = torch.nan
    return kernel


def _squeezed(kernel: Tensor, case: Case, request: Request) -> Tensor:
    return kernel.squeeze()


def _overwritten(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    """The inputs are standardised in place, in the caller's array."""
    compute = base.prepare(case, request)

    def spoiling() -> Array:
        kernel = compute()
        case.x1[...] = case.x1 - case.x1.mean()
        return kernel

    return spoiling


# --- the closed form ---


def _slope(name: str, function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Patch:
    """Another derivative of an activation, from z and the right φ(z) and φ'(z)."""
    right = explicit_mlp.ACTIVATIONS[name]

    def wrong(z: Tensor) -> tuple[Tensor, Tensor]:
        a, slope = right(z)
        return a, function(z, a, slope)

    return entry(explicit_mlp.ACTIVATIONS, name, wrong)  # type: ignore[arg-type]


def _shares(change: Callable[..., Tensor]) -> Patch:
    right = explicit_mlp._share
    return attribute(explicit_mlp, "_share", lambda *args, **options: change(right, *args, **options))


def _kernel(change: Callable[..., Tensor]) -> Patch:
    right = explicit_mlp._kernel
    return attribute(explicit_mlp, "_kernel", lambda *args, **options: change(right, *args, **options))


def _mutant(name: str, item: str, architecture: str, what: str, make: Callable[[Method], Method], case: str | None,
            base: str = CONTRACTION, **options: Any) -> Mutant:
    return Mutant(f"torch.{name}", item, architecture, what, base, make, case, **options)


def _explicit(name: str, item: str, what: str, patch: Patch, case: str, **options: Any) -> Mutant:
    return Mutant(f"explicit.{name}", item, "MLP", what, CLOSED_FORM, patched(patch), case, **options)


MUTANTS = (
    _mutant("no_biases", "1", "MLP", "biases are no parameters", patched(_parameters(_no_bias)), "mlp_gelu"),
    _mutant("no_biases_conv", "1", "ConvNet", "biases are no parameters", patched(_parameters(_no_bias)),
            "conv_explicit_padding", PRODUCTS),
    _mutant("no_biases_residual", "1", "residual ConvNet", "biases are no parameters", patched(_parameters(_no_bias)),
            "residual_batch_norm", ENGINE),
    _mutant("no_biases_transformer", "1", "transformer", "biases are no parameters", patched(_parameters(_no_bias)),
            "transformer"),
    _mutant("no_biases_recurrent", "1", "recurrent", "biases are no parameters", patched(_parameters(_no_bias)),
            "recurrent", LOOP),
    _mutant("no_norms", "1", "norms", "gains and biases of normalisations are no parameters",
            patched(_parameters(_no_norm)), "norms"),
    _mutant("frozen_counted", "4", "frozen MLP", "requires_grad=False is not looked at",
            patched(_parameters(_everything)), "frozen"),
    _mutant("frozen_counted_in_loop", "4", "frozen MLP", "requires_grad=False is not looked at",
            patched(_parameters(_everything)), "frozen", LOOP),
    _mutant("buffers_counted", "4", "residual ConvNet", "running statistics are parameters",
            patched(_parameters(_everything, buffers=True)), "residual_batch_norm"),
    _mutant("buffers_counted_fourier", "4", "coordinate network", "the fixed frequencies are parameters",
            patched(_parameters(_everything, buffers=True)), "fourier_siren", ENGINE),
    _mutant("jtj", "5", "MLP", "JᵀJ for J Jᵀ once there are more rows than parameters",
            patched(_contraction(_jtj, torch_autograd)), "mlp_few_parameters", LOOP),
    _mutant("output_0", "6", "MLP", "only output 0 is kept",
            patched(attribute(torch_func, "one_example", lambda f: lambda params, x:
                              torch_support.one_example(f)(params, x)[:1])), "mlp_relu"),
    _mutant("output_0_diagonal", "6", "MLP", "output 0 is taken for each of them",
            after(lambda kernel, case, request: kernel if request.outputs != "diagonal"
                  else kernel[:, :, :1].expand_as(kernel)), "mlp_relu", outputs="diagonal"),
    _mutant("ones_cotangent", "7", "MLP", "one backward pass with a cotangent of ones for the trace",
            patched(attribute(torch_autograd, "_gradients", _summed_outputs)), "mlp_relu", LOOP, outputs="trace"),
    _mutant("ones_cotangent_transformer", "7", "transformer", "one backward pass with a cotangent of ones for the trace",
            patched(attribute(torch_autograd, "_gradients", _summed_outputs)), "transformer", LOOP, outputs="trace",
            dtype="float32"),
    _mutant("mean", "9", "MLP", "the mean over outputs for their sum", patched(_contraction(_mean)), "mlp_relu",
            outputs="trace"),
    _mutant("trace_for_each", "10", "MLP", "each output is given the trace's kernel: dynamics O times too fast",
            patched(_contraction(_trace_for_each)), "mlp_relu", outputs="diagonal"),
    _mutant("last_block_dropped", "12", "MLP", "examples that batch_size does not divide are dropped",
            patched(attribute(torch_blocks, "_slices", _uncovered), attribute(torch_func, "assemble",
                                                                              _zeros_where_dropped)),
            "mlp_gelu", check="test_batch_size"),
    _mutant("mirrored_outputs", "16", "MLP", "blocks below the diagonal are copied with their outputs not transposed",
            patched(attribute(torch_blocks, "_mirrored", _not_mirrored)), "mlp_gelu", check="test_batch_size"),
    _mutant("cosine", "15", "MLP", "each parameter's gradient is normalised first", patched(_contraction(_normalised)),
            "mlp_tanh_ntk"),
    _mutant("cosine_of_all", "15", "ConvNet", "each gradient is normalised first",
            patched(_contraction(_normalised, torch_autograd)), "conv_stride", LOOP),
    _mutant("cosine_at_one_output", "15", "MLP with one output", "each gradient is normalised first",
            patched(_contraction(_normalised, torch_autograd)), "mlp_one_output", LOOP),
    _mutant("outputs_transposed", "16", "MLP", "output axes are transposed", patched(_contraction(_outputs_transposed)),
            "mlp_gelu"),
    _mutant("layout", "16", "MLP", "(N1, O, N2, O) for (N1, N2, O, O)", patched(_contraction(_layout_of_the_product)),
            "mlp_relu"),
    _mutant("inputs_swapped", "16", "MLP", "x1 and x2 are swapped", wrapped(_swapped), "mlp_relu"),
    _mutant("taken_for_symmetric", "16", "MLP", "x2 of the shape of x1 is taken for x1", wrapped(_second_example_first),
            None, check="test_as_many_examples_in_x2"),
    _mutant("bfloat16", "18", "MLP", "products in bfloat16", patched(_contraction(_in(torch.bfloat16))), "mlp_wide",
            dtype="float32"),
    _mutant("tf32", "18", "ConvNet", "products of numbers rounded to TF32's 10 bits", patched(_contraction(_tf32)),
            "conv_stride", dtype="float32"),
    _mutant("float16_sums", "18", "MLP", "sums in float16", patched(_contraction(_float16_sums)), "mlp_relu",
            dtype="float32"),
    _mutant("float32_products", "18", "MLP", "products in float32 where float64 was asked for",
            patched(_contraction(_in(torch.float32))), "mlp_relu"),
    _mutant("float32_inside", "18", "transformer", "all in float32, converted to float64 at the end", wrapped(_lowered),
            "transformer", ENGINE),
    _mutant("float32_given", "18", "MLP", "float32 where float64 was asked for", wrapped(_float32_inputs), "mlp_relu"),
    _mutant("stale_parameters", "20", "MLP", "the parameters of the first call are baked in",
            wrapped(_first_parameters), "mlp_relu", check="test_other_parameters"),
    _mutant("stale_statistics", "20", "residual ConvNet", "the running statistics of the first call are baked in",
            wrapped(_first_constants), "residual_batch_norm", ENGINE, check="test_other_parameters"),
    _mutant("added_up", "20", "MLP", "each call adds to the buffer of the one before", wrapped(_added_up), "mlp_relu"),
    _mutant("computed_once", "20", "MLP", "the first call's kernel is kept and given again: nothing is computed",
            wrapped(_computed_once), "mlp_relu"),
    _mutant("not_finite", "21", "MLP", "an entry that is not finite is passed on", after(_spoilt), "mlp_relu"),
    _mutant("squeezed", "", "MLP with one output", "axes of length 1 are dropped", after(_squeezed), "mlp_one_output"),
    _mutant("one_example_squeezed", "", "MLP with one example", "axes of length 1 are dropped", after(_squeezed),
            "mlp_sin_no_bias", PRODUCTS),
    _mutant("gradients_accumulated", "", "MLP", "gradients are not set to zero between backward passes",
            patched(attribute(torch_autograd, "_jacobian", _accumulated)), "mlp_relu", LOOP),
    _mutant("unused_refused", "", "unused parameter", "a parameter that is not used has no gradient, not zeros",
            patched(attribute(torch_autograd, "_gradients", _only_used)), "unused_parameter", LOOP,
            raises=RuntimeError),
    _mutant("inputs_overwritten", "", "MLP", "the caller's inputs are centred in place", wrapped(_overwritten),
            "mlp_relu"),
    _mutant("diagonal_of_full", "16", "MLP", "the diagonal is taken over the example axes",
            from_full(lambda full, case, request: _wrong_diagonal(full, request)), "mlp_relu", outputs="diagonal"),
    _explicit("relu_slope", "17", "the derivative of ReLU is that of a leaky one",
              _slope("relu", lambda z, a, slope: slope.clamp(min=0.01)), "mlp_relu"),
    _explicit("tanh_slope", "17", "1 − tanh for 1 − tanh²", _slope("tanh", lambda z, a, slope: 1 - a), "mlp_tanh_ntk"),
    _explicit("erf_slope", "17", "the derivative of erf without its factor 2/√π",
              _slope("erf", lambda z, a, slope: torch.exp(-z * z)), "mlp_erf_ntk_no_bias"),
    _explicit("gelu_slope", "17", "Φ(z) for Φ(z) + z Φ'(z)",
              _slope("gelu", lambda z, a, slope: 0.5 * torch.erfc(-z / 2**0.5)), "mlp_gelu"),
    _explicit("sin_slope", "17", "the derivative of sin is sin", _slope("sin", lambda z, a, slope: a), "mlp_sin_no_bias"),
    _explicit("relu_at_0", "17", "the derivative of ReLU at 0 is 1",
              _slope("relu", lambda z, a, slope: (z >= 0).to(z.dtype)), "mlp_relu"),
    _explicit("no_biases", "1", "bias terms are never added",
              _shares(lambda right, *args, weights, biases: right(*args, weights=weights, biases=False)), "mlp_relu"),
    _explicit("first_layer_dropped", "17", "the first layer is left out of the sum",
              _kernel(lambda right, problem, request, indices, **which: right(problem, request, indices[1:], **which)),
              "mlp_relu_deep"),
    _explicit("output_layer_dropped", "17", "the last layer is left out of the sum",
              _kernel(lambda right, problem, request, indices, **which: right(problem, request, indices[:-1], **which)),
              "mlp_wide"),
    _explicit("weight_scale", "17", "the scale of the NTK parameterization enters once, not squared",
              _shares(lambda right, layer, *args, **which: right(
                  layer._replace(weight_scale=layer.weight_scale**0.5), *args, **which)), "mlp_tanh_ntk"),
)


def _wrong_diagonal(full: Tensor, request: Request) -> Tensor:
    if request.outputs == "full":
        return full
    if request.outputs == "trace":
        return torch.einsum("nmaa->nm", full)
    return full[:, :, 0, :]


class _Settings:
    """Empty: for `together_with`'s documentation."""
