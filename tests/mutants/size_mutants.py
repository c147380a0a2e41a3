"""Right up to some size, shape or layer; or but for some point, block or scale."""

from __future__ import annotations

from typing import Any

import numpy as np

from reference import Case, Layered, Request
from reference import cases as stored_cases
from reference.layers import Activate, Attention, Layer, LayerNorm, Recurrent, RMSNorm
from tests.mutants.mutant import Mutant, after
from tests.mutants.wrong_where import (
    Circumstance,
    convolutions,
    depth,
    largest,
    layers,
    n1,
    n2,
    n_blocks,
    n_outputs,
    n_params,
    positions,
    sides,
    spoiled,
    wrong_where,
    zero_example,
)

NUMPY, TORCH, JAX = "planted.correct", "torch_func.jacobian_contraction", "equinox.exact"


def _asked(request: Request, outputs: str | None = None, dtype: str | None = None) -> bool:
    return outputs in (None, request.outputs) and dtype in (None, request.dtype)


# Dimension: for each mistake its name, what is wrong, and where.
WHERE: dict[str, dict[str, tuple[str, Circumstance]]] = {
    "many_examples_in_x1": {
        "x1_beyond_64": ("more than 64 examples in x1", lambda c, _: n1(c) > 64),
        "x1_beyond_100": ("more than 100 examples in x1", lambda c, _: n1(c) > 100),
        "x1_beyond_256": ("more than 256 examples in x1 alone", lambda c, _: n1(c) > 256 and 0 < n2(c) < 64),
        "x1_beyond_512": ("more than 512 examples in x1", lambda c, _: n1(c) > 512),
        "x1_beyond_256_diagonal": ("more than 256 examples in x1, the diagonal in float64",
                                   lambda c, r: n1(c) > 256 and _asked(r, "diagonal", "float64")),
        "x1_many_blocks": ("more than 100 blocks of x1", lambda c, r: n_blocks(c, r) > 100),
    },
    "many_examples_in_x2": {
        "x2_beyond_64": ("more than 64 examples in x2 alone", lambda c, _: n1(c) < 64 < n2(c)),
        "x2_beyond_256": ("more than 256 examples in x2 alone", lambda c, _: n1(c) < 64 and n2(c) > 256),
        "x2_beyond_100_trace": ("more than 100 examples in x2, the trace in float32",
                                lambda c, r: n2(c) > 100 and _asked(r, "trace", "float32")),
        "x2_odd_end": ("more than 64 examples in x2, of a number that 64 does not divide",
                       lambda c, _: n2(c) > 64 and n2(c) % 64 != 0),
    },
    "many_examples_in_both": {
        "same_beyond_256": ("x2 = x1 with more than 256 examples", lambda c, _: c.symmetric and n1(c) > 256),
        "both_beyond_256": ("x1 and x2 of more than 256 examples", lambda c, _: min(n1(c), n2(c)) > 256),
        "pairs_beyond_2_16": ("more than 2¹⁶ pairs of examples", lambda c, _: n1(c) * n2(c) > 2**16),
        "rows_beyond_512": ("more than 512 rows (n, a), all outputs",
                            lambda c, r: n1(c) * n_outputs(c) > 512 and c.symmetric and _asked(r, "full")),
    },
    "many_outputs": {
        "outputs_beyond_255": ("more than 255 outputs", lambda c, _: n_outputs(c) > 255),
        "outputs_beyond_255_diagonal": ("more than 255 outputs, the diagonal",
                                        lambda c, r: n_outputs(c) > 255 and _asked(r, "diagonal")),
        "outputs_beyond_255_trace": ("more than 255 outputs, the trace in float32",
                                     lambda c, r: n_outputs(c) > 255 and _asked(r, "trace", "float32")),
        "outputs_of_one_example": ("more than 64 outputs of one example and x2 = x1",
                                   lambda c, _: n_outputs(c) > 64 and n1(c) == 1 and c.symmetric),
    },
    "outputs_and_examples": {
        "outputs_beyond_32_and_64_examples": ("more than 32 outputs and 64 examples in x1",
                                              lambda c, _: n_outputs(c) > 32 and n1(c) > 64),
        "outputs_beyond_32_and_x2": ("more than 32 outputs and 64 examples in x2, in blocks",
                                     lambda c, r: n_outputs(c) > 32 and n2(c) > 64 and r.batch_size is not None),
        "rows_beyond_2048": ("more than 2048 rows (n, a)", lambda c, _: n1(c) * n_outputs(c) > 2048),
    },
    "many_parameters": {
        "parameters_beyond_2_16": ("more than 2¹⁶ parameters", lambda c, _: n_params(c) > 2**16),
        "parameters_beyond_2_20": ("more than 2²⁰ parameters", lambda c, _: n_params(c) > 2**20),
        "parameters_beyond_2_20_float32": ("more than 2²⁰ parameters in float32",
                                           lambda c, r: n_params(c) > 2**20 and _asked(r, None, "float32")),
        "weight_beyond_2_20": ("a weight of more than 2²⁰ entries", lambda c, _: largest(c) > 2**20),
        "width_beyond_512": ("a layer of more than 512 units",
                             lambda c, _: any(len(a) > 512 and a.ndim == 1 for a in c.params.values())),
        "inputs_beyond_784": ("more than 784 inputs", lambda c, _: c.x1[0].size > 784 and c.x1.ndim == 2),
    },
    "depth": {
        "depth_beyond_8": ("more than 8 layers", lambda c, _: depth(c) > 8),
        "depth_beyond_16": ("more than 16 layers", lambda c, _: depth(c) > 16),
        "depth_in_blocks": ("more than 8 layers in blocks", lambda c, r: depth(c) > 8 and r.batch_size is not None),
    },
    "large_images": {
        "images_beyond_16": ("images beyond 16×16", lambda c, _: max(sides(c), default=0) > 16),
        "images_beyond_32": ("images beyond 32×32", lambda c, _: max(sides(c), default=0) > 32),
        "kernels_5": ("a kernel of 5×5", lambda c, _: any(5 in conv.kernel for conv in convolutions(c))),
        "stride_3": ("a stride of 3", lambda c, _: any(3 in conv.stride for conv in convolutions(c))),
        "channels_beyond_32": ("more than 32 channels", lambda c, _: any(x.channels > 32 for x in convolutions(c))),
        "padding_of_one_axis": ("another padding on each axis and a stride",
                                lambda c, _: any(x.padding[0] != x.padding[1] and max(x.stride) > 2
                                                 for x in convolutions(c))),
    },
    "grouped_and_dilated": {
        "dilation_with_stride": ("dilation together with a stride of 2 and 3",
                                 lambda c, _: any(max(getattr(x, "dilation", (1,))) > 1 and max(x.stride) > 2
                                                  for x in convolutions(c))),
        "three_groups": ("three groups", lambda c, _: any(getattr(x, "groups", 1) == 3 for x in convolutions(c))),
        "even_kernel_dilated": ("an even kernel of 4, dilated",
                                lambda c, _: any(4 in x.kernel and max(getattr(x, "dilation", (1,))) > 1
                                                 for x in convolutions(c))),
    },
    "long_sequences": {
        "positions_beyond_128": ("attention over more than 128 positions",
                                 lambda c, _: bool(layers(c, Attention)) and positions(c) > 128),
        "mask_beyond_128": ("a causal mask of more than 128 positions",
                            lambda c, _: any(x.causal for x in layers(c, Attention)) and positions(c) > 128),
        "no_mask_beyond_64": ("no mask, and more than 64 positions",
                              lambda c, _: any(not x.causal for x in layers(c, Attention)) and positions(c) > 64),
        "repeated_tokens": ("a token that occurs more than 8 times",
                            lambda c, _: c.network.n_tokens is not None and max(map(_most, c.x1)) > 8),
    },
    "long_recurrences": {
        "steps_beyond_50": ("a recurrence of more than 50 steps",
                            lambda c, _: bool(layers(c, Recurrent)) and c.x1.shape[1] > 50),
        "steps_beyond_64_in_blocks": ("a recurrence of more than 64 steps, in blocks",
                                      lambda c, r: bool(layers(c, Recurrent)) and c.x1.shape[1] > 64
                                      and r.batch_size is not None),
    },
    "tied_and_frozen": {
        "tied_and_frozen": ("a tied layer beside a frozen parameter", lambda c, _: _tied(c) and _frozen(c)),
        "tied_tokens_and_frozen": ("a tied embedding beside a frozen parameter",
                                   lambda c, _: c.network.n_tokens is not None and _tied(c) and _frozen(c)),
    },
    "special_points": {
        "sinc_at_0": ("sinc at 0", lambda c, _: any(x.function == "sinc" for x in layers(c, Activate))
                      and zero_example(c.x1)),
        "norm_at_a_constant": ("a norm of equal units", lambda c, _: bool(layers(c, LayerNorm, RMSNorm))
                               and zero_example(c.x1)),
        "zeros_in_x1": ("an example of zeros in x1, and smooth activations",
                        lambda c, _: zero_example(c.x1) and getattr(c.network, "activation", "") != "relu"),
        "zeros_in_x2": ("an example of zeros in x2", lambda c, _: zero_example(c.x2)),
        "weight_norm_of_zeros": ("weight normalisation behind an example of zeros",
                                 lambda c, _: "first.weight_g" in c.params and zero_example(c.x1)),
    },
    "batches_of_one": {
        "one_by_one": ("one example in x1 and one in x2", lambda c, _: n1(c) == n2(c) == 1),
        "one_and_same": ("one example, x2 = x1", lambda c, _: n1(c) == 1 and c.symmetric),
        "many_by_one": ("one example in x2 and several in x1", lambda c, _: n1(c) > 1 == n2(c)),
    },
    "many_blocks": {
        "blocks_of_5": ("blocks of 5", lambda _, r: r.batch_size == 5),
        "blocks_of_5_float32": ("blocks of 5 in float32 and x2 = x1",
                                lambda c, r: r.batch_size == 5 and c.symmetric and _asked(r, None, "float32")),
        "beyond_20_blocks": ("more than 20 blocks", lambda c, r: n_blocks(c, r) > 20),
        "block_of_all": ("a block that is just x1", lambda c, r: r.batch_size == n1(c) > 1),
        "block_of_all_but_one": ("a last block of one example", lambda c, r: r.batch_size is not None
                                 and r.batch_size > 3 and n1(c) % r.batch_size == 1 and n1(c) > r.batch_size),
    },
}


def _most(tokens: np.ndarray) -> int:
    return int(np.unique(tokens, return_counts=True)[1].max())


def _tied(case: Case) -> bool:
    names = [layer.name for layer in layers(case, Layer) if hasattr(layer, "name")]
    return len(set(names)) < len(names)


def _frozen(case: Case) -> bool:
    return isinstance(case.network, Layered) and bool(case.network.frozen)


def _jitter(kernel: Any, case: Case, request: Request) -> Any:
    """What keeps a Cholesky factorisation going."""
    return kernel + 1e-7 * (kernel.ndim == 4) * kernel.dtype.type(1)


def _clipped(kernel: Any, case: Case, request: Request) -> Any:
    return np.clip(kernel, -1e7, 1e7)


def _of_rank(rank: int) -> Any:
    """The best approximation of that rank, as from a truncated factorisation."""
    def change(kernel: Any, case: Case, request: Request) -> Any:
        if request.outputs != "full" or not case.symmetric:
            return kernel
        n, n_out = kernel.shape[0], kernel.shape[2]
        matrix = kernel.transpose(0, 2, 1, 3).reshape(n * n_out, n * n_out).astype(np.float64)
        if len(matrix) <= rank:
            return kernel
        values, vectors = np.linalg.eigh(matrix)
        vectors, values = vectors[:, -rank:], values[-rank:]
        low = (vectors * values) @ vectors.T
        return low.reshape(n, n_out, n, n_out).transpose(0, 2, 1, 3).astype(kernel.dtype)

    return change


def _up_to(n_directions: int) -> Any:
    """Exact by an orthonormal basis up to that many parameters, and random beyond."""
    def change(kernel: Any, case: Case, request: Request) -> Any:
        if n_params(case) <= n_directions:
            return kernel
        return kernel * (1 + np.random.default_rng(0).normal(scale=n_directions**-0.5, size=kernel.shape)).astype(
            kernel.dtype)

    return change


NAMES = {case.name for case in stored_cases()}
SHAPES = {(case.x1.shape[1:], n_params(case)) for case in stored_cases()}
BITS = {array.tobytes() for case in stored_cases() for array in case.params.values()}


def _unknown(kernel: Any, case: Case, request: Request) -> Any:
    return kernel if case.name in NAMES else spoiled(kernel)


def _unknown_shape(kernel: Any, case: Case, request: Request) -> Any:
    return kernel if (case.x1.shape[1:], n_params(case)) in SHAPES else spoiled(kernel)


def _unknown_bits(kernel: Any, case: Case, request: Request) -> Any:
    return kernel if any(array.tobytes() in BITS for array in case.params.values()) else spoiled(kernel)


CHANGES: dict[str, tuple[str, str, Any]] = {
    "jitter": ("tiny_and_large", "1e-7 is added to every entry", _jitter),
    "clipped": ("tiny_and_large", "entries are clipped at 1e7", _clipped),
    "of_rank_64": ("many_examples_in_both", "the approximation of rank 64", _of_rank(64)),
    "of_rank_256": ("many_examples_in_both", "the approximation of rank 256", _of_rank(256)),
    "of_rank_500": ("many_examples_in_both", "the approximation of rank 500", _of_rank(500)),
    "projected_to_2_14": ("many_parameters", "projected to 2¹⁴ dimensions where there are more parameters",
                          _up_to(2**14)),
    "projected_to_2_16": ("many_parameters", "projected to 2¹⁶ dimensions where there are more parameters",
                          _up_to(2**16)),
    "knows_the_names": ("depth", "wrong on all but the stored cases, known by name", _unknown),
    "knows_the_shapes": ("depth", "wrong on all but the stored cases, known by shape", _unknown_shape),
    "knows_the_bits": ("depth", "wrong on all but the stored cases, known by their bits", _unknown_bits),
}

BASES = {"large_images": TORCH, "many_blocks": TORCH, "depth": JAX, "grouped_and_dilated": TORCH}
"""Of the dimensions whose mistakes are made in another framework."""

MUTANTS = (
    *(Mutant(f"size.{name}", "22", "any", f"wrong with {what}", BASES.get(dimension, NUMPY), wrong_where(so), dimension,
             check="test_drawn")
      for dimension, mistakes in WHERE.items() for name, (what, so) in mistakes.items()),
    *(Mutant(f"size.{name}", "22", "any", what, NUMPY, after(change), dimension, check="test_drawn")
      for name, (dimension, what, change) in CHANGES.items()),
)
