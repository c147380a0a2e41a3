"""Operations of the two frameworks that mean the same to the engines, and why one of them lacks some."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """What is done, the operations that do it, and where there are none in one half, why."""

    meaning: str
    jax: str = ""
    torch: str = ""
    why: str = ""


IN_PARTS = "JAX has no such operation: NumPy's functions of that name are made of slices, gathers or broadcasts"
SAME = "no tail goes through another dtype; JAX writes such a step for its weak types too, where the dtype stays"

ROWS: dict[str, tuple[Row, ...]] = {
    "products": (
        Row("dense: a matrix, or one for each entry of a batch", "dot_general", "mm bmm"),
        Row("convolution, with groups; a transposed one", "conv_general_dilated", "convolution"),
        Row("embedding: whole rows taken by number", "gather", "embedding index_select index"),
        Row("embedding: one row, by a start", "dynamic_slice", "", "PyTorch has no slice whose start is a tensor"),
        Row("bias: added", "add add_any sub", "add sub"),
        Row("bias: laid beside activations", "", "cat", "in JAX the gradient of such a parameter is taken directly"),
        Row("scale: multiplied", "mul div", "mul div"),
    ),
    "rearranging": (
        Row("other axes for the same numbers", "reshape squeeze expand_dims", "reshape squeeze unsqueeze"),
        Row("axes in another order", "transpose", "permute"),
        Row("a part", "slice dynamic_slice", "slice select"),
        Row("backwards", "rev", "flip"),
        Row("repeated", "broadcast_in_dim", "expand repeat"),
        Row("diagonal, windows, turned round", "", "diagonal unfold roll", IN_PARTS),
    ),
    "passing": (
        Row("a copy", "copy copy_p", "clone alias"),
        Row("another dtype", "convert_element_type", "_to_copy"),
        Row("a mark for the compiler or for memory", "name optimization_barrier", "", "PyTorch has none"),
    ),
    "taking": (
        Row("other axes for the same numbers", "reshape squeeze expand_dims", "reshape squeeze unsqueeze"),
        Row("axes in another order", "transpose", "permute"),
        Row("a part", "slice", "slice select"),
        Row("backwards", "rev", "flip"),
        Row("repeated", "broadcast_in_dim", "expand"),
        Row("a copy", "copy copy_p", "", "`impls/programs/torch/rewrites.py` drops copies"),
        Row("diagonal, turned round", "", "diagonal roll", IN_PARTS),
    ),
    "linear": (
        Row("a sum", "reduce_sum cumsum", "sum cumsum"),
        Row("a mean", "", "mean", "in JAX a sum and a quotient"),
        Row("sums of windows", "reduce_window_sum",
            "avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d"),
        Row("the sign turned", "neg", "neg"),
        Row("another dtype", "convert_element_type", "", SAME),
        Row("a mark for the compiler or for memory", "name optimization_barrier", "", "PyTorch has none"),
        Row("a number around it", "", "constant_pad_nd", "JAX's is linear in the number too, see below"),
        Row("several parts", "split unstack", "unbind split_with_sizes"),
        Row("repeated, windows", "", "repeat unfold", IN_PARTS),
    ),
    "sums": (Row("of two arrays", "add add_any sub", "add sub"),),
    "joining": (
        Row("beside each other", "concatenate", "cat"),
        Row("a number around it", "pad", "", "PyTorch's number is no operand"),
    ),
    "bilinear": (Row("products", "mul dot_general", "mul mm bmm"),),
    "linear_in_first": (Row("a quotient, a convolution", "div conv_general_dilated", "div convolution"),),
    "casts": (Row("behind which positions are alike", "convert_element_type", "", SAME),),
    "stops": (Row("no gradient flows through", "stop_gradient", "detach"),),
}
"""By the table of the rule book: each of its names is in one row."""

FUNCTIONS = {
    "concatenation": "weights laid beside each other, each with a product of its own: in PyTorch each is a bias where "
                     "it lies, whose gradient is that of the whole",
    "opened": "calls opened to see what lies behind a product: PyTorch writes none down",
    "forward_only": "loops of unknown length, which only forward mode goes through: PyTorch's are Python's own",
}
"""Functions of a rule book that one half gives, and why the other does without."""

MARKS = {
    "alone": "in JAX XLA sums the gradients of biases and scales itself, in one program with what makes them",
    "in_parts": "spares XLA a copy of the patches; PyTorch's convolution has `gradients`",
    "gradients": "PyTorch has an operation for a convolution's; XLA makes them of patches",
    "overlapping": "",
}
"""Of a `Use`, what is not needed for every product; and why one half does without."""
