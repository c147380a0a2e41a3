"""The public functions of `jax.lax`, `jax.nn`, `jax.numpy.linalg` and `jax.numpy.fft` as operations on one array.

`NOT_TRIED` says of other functions why they are none.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from tests.coverage.jax_lax import LAX, Operation, and_itself, integers, names, positive_definite, signed, square

NN: dict[str, Operation] = {
    **{
        name: signed(getattr(jax.nn, name))
        for name in names(
            "celu elu gelu glu hard_sigmoid hard_silu hard_swish hard_tanh identity leaky_relu log_sigmoid log_softmax "
            "logmeanexp logsumexp mish relu relu6 selu sigmoid silu soft_sign softmax softplus sparse_plus "
            "sparse_sigmoid squareplus standardize swish tanh"
        )
    },
    "log1mexp": jax.nn.log1mexp,
    "one_hot": and_itself(lambda h: jax.nn.one_hot(integers(h)[0], 4)),
}

LINALG: dict[str, Operation] = {
    "cholesky": lambda h: jnp.linalg.cholesky(positive_definite(h)),
    "cond": lambda h: jnp.linalg.cond(square(h)),
    "cross": lambda h: jnp.linalg.cross(h[:, :3], h[:, 3:]),
    "det": lambda h: jnp.linalg.det(square(h)),
    "diagonal": jnp.linalg.diagonal,
    "eig": lambda h: jnp.linalg.eig(square(h))[0],
    "eigh": lambda h: (lambda r: (r[0], r[1] ** 2))(jnp.linalg.eigh(positive_definite(h) + jnp.diag(jnp.arange(4.0)))),
    "eigvals": lambda h: jnp.linalg.eigvals(square(h)),
    "eigvalsh": lambda h: jnp.linalg.eigvalsh(positive_definite(h)),
    "inv": lambda h: jnp.linalg.inv(square(h)),
    "lstsq": lambda h: jnp.linalg.lstsq(h[:, :2] + jnp.eye(4, 2), h[:, 2:])[0],
    "matmul": lambda h: jnp.linalg.matmul(h, h.T),
    "matrix_norm": jnp.linalg.matrix_norm,
    "matrix_power": lambda h: jnp.linalg.matrix_power(square(h), 3),
    "matrix_rank": and_itself(jnp.linalg.matrix_rank),
    "matrix_transpose": jnp.linalg.matrix_transpose,
    "multi_dot": lambda h: jnp.linalg.multi_dot([h, h.T, h]),
    "norm": lambda h: jnp.linalg.norm(h, axis=1),
    "outer": lambda h: jnp.linalg.outer(h[0], h[1]),
    "pinv": lambda h: jnp.linalg.pinv(h[:, :3] + jnp.eye(4, 3)),
    "qr": lambda h: jnp.linalg.qr(square(h)),
    "slogdet": lambda h: jnp.linalg.slogdet(square(h)),
    "solve": lambda h: jnp.linalg.solve(square(h), h[:, 4:]),
    "svd": lambda h: jnp.linalg.svd(h[:3, :4] + jnp.eye(3, 4), full_matrices=False)[1],
    "svdvals": lambda h: jnp.linalg.svdvals(square(h)),
    "tensordot": lambda h: jnp.linalg.tensordot(h, h, axes=((0,), (0,))),
    "tensorinv": lambda h: jnp.linalg.tensorinv(square(h).reshape(4, 2, 2), ind=1),
    "tensorsolve": lambda h: jnp.linalg.tensorsolve(square(h), h[:, 4]),
    "trace": lambda h: jnp.linalg.trace(h[None, :4, :4] ** 2),
    "vecdot": lambda h: jnp.linalg.vecdot(h, h),
    "vector_norm": lambda h: jnp.linalg.vector_norm(h, axis=0),
}

FFT: dict[str, Operation] = {
    **{
        name: getattr(jnp.fft, name)
        for name in names(
            "fft fft2 fftn fftshift hfft ifft ifft2 ifftn ifftshift ihfft irfft irfft2 irfftn rfft rfft2 rfftn"
        )
    },
}

OPERATIONS: dict[str, Operation] = {
    f"{space}.{name}": operation
    for space, some in (("jax.lax", LAX), ("jax.nn", NN), ("jax.numpy.linalg", LINALG), ("jax.numpy.fft", FFT))
    for name, operation in some.items()
}

_COLLECTIVE = "it is of several devices, or of an axis that has a name"
_SHAPES = "it is of shapes or dtypes, or makes constants"

NOT_TRIED: dict[str, str] = {
    **{
        f"jax.lax.{name}": _COLLECTIVE
        for name in names(
            "all_gather all_to_all axis_index axis_size pbroadcast pcast pmax pmean pmin ppermute precv psend "
            "pshuffle psum psum_scatter pswapaxes ragged_all_to_all with_sharding_constraint"
        )
    },
    **{
        f"jax.lax.{name}": _SHAPES
        for name in names(
            "ConvGeneralDilatedDimensionNumbers DotDimensionNumbers PrecisionLike after_all broadcast_shapes "
            "create_token empty conv_dimension_numbers conv_general_permutations conv_general_shape_tuple "
            "conv_shape_tuple dtype conv_transpose_shape_tuple padtype_to_pads reduce_window_shape_tuple "
            "shape_as_value stage"
        )
    },
    "jax.nn.get_scaled_dot_general_config": _SHAPES,
    "jax.numpy.fft.fftfreq": _SHAPES,
    "jax.numpy.fft.rfftfreq": _SHAPES,
    "jax.nn.dot_product_attention": "its softmax is float32 inside float64, so that there is no float64 value",
    "jax.nn.scaled_matmul": "JAX has neither a derivative of it nor, on a CPU, the operation itself",
    "jax.nn.scaled_dot_general": "it computes in float8 inside float64, so that there is no float64 value",
}
