"""Why a mutant survives. A survivor without an explanation fails the mutation run."""

from __future__ import annotations

EQUAL_TABLE = "equal: the table has one and the same value for every kind of tolerance at each dtype"
SQUARE = "equal: a kernel with x2 = x1 is square in its examples and in its outputs"
MEASURE_ZERO = "equal but where two floating-point numbers agree to the last bit"
MESSAGE = "in the wording of a failure only"
SLACK = "in how near a wrong kernel must be to a known mistake to be called by its name; the verdict is the same"
SEARCH = "equal to rounding: the search for the tilt ends at the same place"
ON_THE_CPU = "equal on the CPU, where these tests run; `pytest tests/gate --device cuda` needs it"
SAME_LENGTH = "equal: both have one entry for each layer, and `strict` only guards that"
TWO_ROUNDINGS = "moves a value by two roundings at most: far below a standard error at any proj_dim in use"
DEFAULT = "equal: it is the default"

# (function, what stands in the changed line, why)
EXPLAINED: tuple[tuple[str, str, str], ...] = (
    ("structure.x_matrices", "rows = kernel.shape", SQUARE),
    ("structure.x__matrix_fault", "tolerance(dtype, )", EQUAL_TABLE),
    ("statistics.x_standard_errors", "tolerance(dtype, )", EQUAL_TABLE),
    ("statistics.x_standard_errors", "truth, values + rounding, values + rounding", TWO_ROUNDINGS),
    ("statistics.x_standard_errors", "truth, values - rounding, values - rounding", TWO_ROUNDINGS),
    ("statistics.x_compare_stochastic", "kernel.astype(None)", "equal: None is float64 to NumPy"),
    ("statistics.x_compare_stochastic", "if error >= threshold", MEASURE_ZERO),
    ("statistics.x__trace_eigenvalues", "gram[:, :, 0, :, 1] = None", "equal: eigh reads the lower triangle only"),
    ("statistics.x__trace_eigenvalues", "axis=+2", "equal: of four axes, 2 is −2"),
    ("statistics.x__trace_eigenvalues", "swapaxes(-1, +2)", "equal: of four axes, 2 is −2"),
    ("statistics.x_chernoff_rate", "unit = np.where", "equal to rounding: the scaling is for the search's sake"),
    ("statistics.x_chernoff_rate", ".sum(-1) <= k", MEASURE_ZERO),
    ("statistics.x__range_of_tilts", "half = 0.5", SEARCH),
    ("statistics.x__reason", "(z >= threshold).sum()", MEASURE_ZERO),
    ("mistakes.x_recognise", "else 1.0", "equal: of a kernel of zeros every multiple is the same"),
    ("mistakes.x_recognise", "factor != 1", SLACK),
    ("mistakes.x__alike", "10 * limit", SLACK),
    ("mistakes.x__alike", "11 * limit", SLACK),
    ("explicit_mlp.xǁExplicitMLPǁunsupported", "reference.mlp", MESSAGE),
    ("explicit_mlp.x__problem", "device=None", ON_THE_CPU),
    ("explicit_mlp.x__problem", "dtype=dtype, )", ON_THE_CPU),
    ("explicit_mlp.x__flows", "device=None", ON_THE_CPU),
    ("explicit_mlp.x__flows", "dtype=x.dtype, )", ON_THE_CPU),
    ("explicit_mlp.x__flows", ".expand(-1, -1)", "equal: the axis of the examples is broadcast"),
    ("explicit_mlp.x__flows", "strict=None", SAME_LENGTH),
    ("explicit_mlp.x__flows", "strict=False", SAME_LENGTH),
    ("explicit_mlp.x__flows", "reversed(slopes), )", SAME_LENGTH),
    ("explicit_mlp.x__flows", "reversed(deltas), )", SAME_LENGTH),
    ("explicit_mlp.x__relu", ".to(None)", "equal: a product with a boolean is one with 0 or 1"),
    ("test_requests.x_test_x2_changed_in_place", "/= -1", "equal: −1 is its own inverse"),
    ("checks.x_copied", 'order="k"', "equal: NumPy takes the letter in either case"),
    ("checks.x_uneven_batch_size", "n >= size", "equal: a length is a multiple of itself"),
    ("test_independence.x_plain_request", "Request(dtype", DEFAULT),
    ("test_spread.x_test_spread", "ratio < LARGEST_SPREAD", MEASURE_ZERO),
    ("test_spread.x_as_matrix", "rows = kernel.shape", SQUARE),
    ("test_requests.x_fault", "kernel.astype(None)", "equal: None is float64 to NumPy"),
    ("test_requests.x_fault", "error >= limit", MEASURE_ZERO),
    ("test_requests.x_test_repeated_examples", "None if (exact) and False else due",
     "equal to rounding: an exact method's kernel of x1 alone, what is due, has been held against the truth before"),
    ("test_requests.x_with_units_at_0", "MLP((3, 5, 3), )", DEFAULT),
)


def reason_for(name: str, removed: str, added: str) -> str | None:
    """The explanation of the mutant `name`, as in ``reference.compare.x__deviation__mutmut_11``."""
    function = name.rpartition("__mutmut_")[0]
    return next((why for where, what, why in EXPLAINED if function.endswith(where) and what in added), None)
