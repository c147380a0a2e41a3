"""Mistakes in PyTorch's methods themselves: what they differentiate by, and what they make of the derivatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from impls import Method
from impls.frameworks.torch import blocks as torch_blocks
from impls.frameworks.torch import checks as torch_checks
from impls.frameworks.torch import support as torch_support
from impls.frameworks.torch.support import DTYPES, Forward, Params
from impls.methods import torch_autograd, torch_func
from impls.networks import torch_native
from reference import Case, Request
from reference.case import Outputs
from tests.mutants import mistakes
from tests.mutants.mutant import Mutant, Patch, after, attribute, from_full, patched, together, wrapped
from tests.mutants.torch_layer_mutants import CONTRACTION, ENGINE, LOOP

PRODUCTS = "torch_func.ntk_vector_products"

# --- what counts as a parameter ---


def _parameters(keep: Callable[[nn.Module, str], bool], buffers: bool = False) -> Patch:
    """The function's parameters are those that `keep` takes of the module; the others are constants of it."""
    right = torch_native.module_function

    def module_function(module: nn.Module) -> tuple[Forward, Params]:
        f, _ = right(module)
        named = dict(module.named_parameters()) | (dict(module.named_buffers()) if buffers else {})
        return f, {name: p.detach() for name, p in named.items() if p.is_floating_point() and keep(module, name)}

    def no_check(*_: Any) -> None:
        """A parameter that is left out is no mistake of the user's here."""

    return lambda: together((attribute(torch_native, "module_function", module_function),
                             attribute(torch_checks, "_check_reached", no_check)))


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


torch_autograd_jacobian = torch_autograd.jacobian


# --- blocks ---


def _not_mirrored(block: Tensor) -> Tensor:
    """K[m, n] = K[n, m], the outputs not transposed."""
    return block.transpose(0, 1)


def _spoilt(kernel: Tensor, case: Case, request: Request) -> Tensor:
    kernel = kernel.clone()
    kernel[(-1,) * kernel.ndim] = torch.nan
    return kernel


def _computed_in_float32(base: Method, case: Case, request: Request) -> Callable[[], Tensor]:
    compute = base.prepare(case, replace(request, dtype="float32"))
    return lambda: compute().to(DTYPES[request.dtype])


def _first_piece(left: Tensor, right: Tensor) -> Tensor:
    return left[..., :torch_blocks.PIECE] @ right[..., :torch_blocks.PIECE].transpose(1, 2)


def _mutant(name: str, item: str, architecture: str, what: str, make: Callable[[Method], Method], case: str | None,
            base: str = CONTRACTION, **options: Any) -> Mutant:
    return Mutant(f"torch.{name}", item, architecture, what, base, make, case, **options)


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
    _mutant("buffers_counted_fourier", "4", "coordinate network", "the fixed frequencies are parameters",
            patched(_parameters(_everything, buffers=True)), "fourier_siren", ENGINE),
    _mutant("jtj", "5", "MLP", "JᵀJ for J Jᵀ once there are more rows than parameters",
            patched(_contraction(_jtj, torch_autograd)), "mlp_few_parameters", LOOP),
    _mutant("output_0", "6", "MLP", "only output 0 is kept",
            patched(attribute(torch_func, "one_example", lambda f: lambda params, x:
                              torch_support.one_example(f)(params, x)[:1])), "mlp_relu"),
    _mutant("output_0_diagonal", "6", "MLP", "output 0 is taken for each of them",
            after(mistakes.output_0_for_each), "mlp_relu", outputs="diagonal"),
    _mutant("ones_cotangent", "7", "MLP", "one backward pass with a cotangent of ones for the trace",
            patched(attribute(torch_autograd, "_gradients", _summed_outputs)), "mlp_relu", LOOP, outputs="trace"),
    _mutant("ones_cotangent_transformer", "7", "transformer",
            "one backward pass with a cotangent of ones for the trace",
            patched(attribute(torch_autograd, "_gradients", _summed_outputs)), "transformer", LOOP, outputs="trace",
            dtype="float32"),
    _mutant("mean", "9", "MLP", "the mean over outputs for their sum", patched(_contraction(_mean)), "mlp_relu",
            outputs="trace"),
    _mutant("trace_for_each", "10", "MLP", "each output is given the trace's kernel: dynamics O times too fast",
            patched(_contraction(_trace_for_each)), "mlp_relu", outputs="diagonal"),
    _mutant("mirrored_outputs", "16", "MLP", "blocks below the diagonal are copied with their outputs not transposed",
            patched(attribute(torch_blocks, "_mirrored", _not_mirrored)), "mlp_tanh_ntk", check="test_batch_size"),
    _mutant("later_parameters_dropped", "12", "MLP", "of the pieces in which parameters are added up, the first one",
            patched(attribute(torch_blocks, "_product", _first_piece)), None,
            check="test_more_parameters_and_outputs"),
    _mutant("cosine", "15", "MLP", "each parameter's gradient is normalised first", patched(_contraction(_normalised)),
            "mlp_tanh_ntk"),
    _mutant("cosine_of_all", "15", "ConvNet", "each gradient is normalised first",
            patched(_contraction(_normalised, torch_autograd)), "conv_stride", LOOP),
    _mutant("cosine_at_one_output", "15", "MLP with one output", "each gradient is normalised first",
            patched(_contraction(_normalised, torch_autograd)), "mlp_one_output", LOOP),
    _mutant("outputs_transposed", "16", "MLP", "output axes are transposed", patched(_contraction(_outputs_transposed)),
            "mlp_gelu"),
    _mutant("layout", "16", "MLP", "(N1, O, N2, O) for (N1, N2, O, O)", from_full(mistakes.outputs_before_x2),
            "mlp_relu"),
    _mutant("inputs_swapped", "16", "MLP", "x1 and x2 are swapped", wrapped(mistakes.swapped), "mlp_relu"),
    _mutant("taken_for_symmetric", "16", "MLP", "x2 of the shape of x1 is taken for x1",
            wrapped(mistakes.symmetric_by_shape),
            None, check="test_as_many_examples_in_x2"),
    _mutant("bfloat16", "18", "MLP", "products in bfloat16", patched(_contraction(_in(torch.bfloat16))), "mlp_wide",
            dtype="float32"),
    _mutant("tf32", "18", "ConvNet", "products of numbers rounded to TF32's 10 bits", patched(_contraction(_tf32)),
            "conv_stride", dtype="float32"),
    _mutant("float16_sums", "18", "MLP", "sums in float16", patched(_contraction(_float16_sums)), "mlp_relu",
            dtype="float32"),
    _mutant("float32_products", "18", "MLP", "products in float32 where float64 was asked for",
            patched(_contraction(_in(torch.float32))), "mlp_relu"),
    _mutant("float32_inside", "18", "transformer", "all in float32, converted to float64 at the end",
            wrapped(_computed_in_float32),
            "transformer", ENGINE),
    _mutant("float32_given", "18", "MLP", "float32 where float64 was asked for", wrapped(mistakes.in_float32),
            "mlp_relu"),
    _mutant("stale_parameters", "20", "MLP", "the parameters of the first call are baked in",
            wrapped(mistakes.first_parameters), "mlp_relu", check="test_other_parameters"),
    _mutant("stale_statistics", "20", "residual ConvNet", "the running statistics of the first call are baked in",
            wrapped(mistakes.first_constants), "residual_batch_norm", ENGINE, check="test_other_parameters"),
    _mutant("added_up", "20", "MLP", "each call adds to the buffer of the one before", wrapped(mistakes.added_up),
            "mlp_relu"),
    _mutant("computed_once", "20", "MLP", "the first call's kernel is kept and given again: nothing is computed",
            wrapped(mistakes.computed_once), "mlp_relu"),
    _mutant("not_finite", "21", "MLP", "an entry that is not finite is passed on", after(_spoilt), "mlp_relu"),
    _mutant("squeezed", "", "MLP with one output", "axes of length 1 are dropped", after(mistakes.squeezed),
            "mlp_one_output"),
    _mutant("one_example_squeezed", "", "MLP with one example", "axes of length 1 are dropped",
            after(mistakes.squeezed),
            "mlp_sin_no_bias", PRODUCTS),
    _mutant("gradients_accumulated", "", "MLP", "gradients are not set to zero between backward passes",
            patched(attribute(torch_autograd, "jacobian", _accumulated)), "mlp_relu", LOOP),
    _mutant("unused_refused", "", "unused parameter", "a parameter that is not used has no gradient, not zeros",
            patched(attribute(torch_autograd, "_gradients", _only_used)), "unused_parameter", LOOP,
            raises=RuntimeError),
    _mutant("inputs_overwritten", "", "MLP", "the caller's inputs are centred in place",
            wrapped(mistakes.inputs_overwritten),
            "mlp_relu"),
    _mutant("diagonal_of_full", "16", "MLP", "the diagonal is taken over the example axes",
            from_full(mistakes.diagonal_of_examples), "mlp_relu", outputs="diagonal"),
)
