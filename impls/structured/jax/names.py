"""Names of JAX's operations that several modules of its half go by."""

from __future__ import annotations

WITH_DERIVATIVE = ("custom_jvp_call", "custom_vjp_call")

NUMBER_BY_NUMBER = frozenset((
    "add", "sub", "mul", "div", "rem", "neg", "add_any", "max", "min", "abs", "sign", "floor", "ceil", "round",
    "exp", "exp2", "log", "log1p", "expm1", "tanh", "logistic", "sin", "cos", "tan", "asin", "acos", "atan", "atan2",
    "sinh", "cosh", "asinh", "acosh", "atanh", "erf", "erfc", "erf_inv", "lgamma", "digamma", "sqrt", "rsqrt", "cbrt",
    "square", "integer_pow", "pow", "select_n", "clamp", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not", "xor",
    "is_finite", "convert_element_type", "copy", "copy_p", "name",
))  # fmt: skip
