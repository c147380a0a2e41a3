"""The functions of `jax.lax` as operations on one array.

An operation takes h, (4, 6) with entries between 0 and 1, which is what one example has made of the parameters, and
gives an array or a pytree of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Operation = Callable[[Any], Any]

E = jnp.asarray
"""Constants are made when an operation runs, in the precision of that time."""


def names(words: str) -> list[str]:
    return words.split()


def signed(operation: Operation) -> Operation:
    """Of numbers of both signs, up to 3."""
    return lambda h: operation(6 * (h - 0.45))


def positive_definite(h: Any) -> Any:
    return h[:, :4] @ h[:, :4].T + jnp.eye(4)


def square(h: Any) -> Any:
    return h[:4, :4] + 2 * jnp.eye(4) + jnp.arange(16.0).reshape(4, 4) / 7


def integers(h: Any) -> Any:
    return (8 * h).astype(jnp.int32)


def and_itself(operation: Operation) -> Operation:
    """What has no derivative, beside h, whose derivative is to come through."""
    return lambda h: (h, operation(h))


def two(operation: Callable[[Any, Any], Any]) -> Operation:
    """Of two halves of h."""
    return lambda h: operation(h[:2], h[2:])


UNARY = names(
    "abs acos acosh asin asinh atan atanh bessel_i0e bessel_i1e cbrt cos cosh cumlogsumexp cummax cummin cumprod "
    "cumsum digamma erf erf_inv erfc exp exp2 expm1 lgamma log log1p logistic neg reciprocal rsqrt sin sinh sqrt "
    "square stop_gradient tan tanh real imag conj optimization_barrier"
)

LAX: dict[str, Operation] = {
    **{name: getattr(lax, name) for name in UNARY},
    "acosh": lambda h: lax.acosh(1 + h),
    "add": lambda h: lax.add(h, h * h),
    "sub": lambda h: lax.sub(h, h * h),
    "mul": two(lax.mul),
    "div": two(lax.div),
    "atan2": two(lax.atan2),
    "max": two(lax.max),
    "min": two(lax.min),
    "pow": two(lax.pow),
    "rem": lambda h: lax.rem(h + 3, 1 + h),
    "nextafter": and_itself(two(lax.nextafter)),
    "stop_gradient": lambda h: h * lax.stop_gradient(h),
    "abs": signed(lax.abs),
    "real": lambda h: lax.real(lax.complex(h, 2 * h) ** 2),
    "imag": lambda h: lax.imag(lax.complex(h, 2 * h) ** 2),
    "conj": lambda h: lax.conj(lax.complex(h, 2 * h)) * (1 + 2j),
    "complex": two(lax.complex),
    "sign": and_itself(lax.sign),
    "floor": and_itself(signed(lax.floor)),
    "ceil": and_itself(signed(lax.ceil)),
    "round": and_itself(signed(lax.round)),
    "is_finite": and_itself(lax.is_finite),
    "integer_pow": lambda h: lax.integer_pow(h, 3),
    "betainc": lambda h: lax.betainc(1.5 * jnp.ones(()), 2.5 * jnp.ones(()), h),
    "igamma": lambda h: lax.igamma(jnp.full_like(h, 1.5), h),
    "igammac": lambda h: lax.igammac(jnp.full_like(h, 1.5), h),
    "igamma_grad_a": and_itself(lambda h: lax.igamma_grad_a(jnp.full_like(h, 1.5), h)),
    "random_gamma_grad": and_itself(lambda h: lax.random_gamma_grad(jnp.full_like(h, 1.5), h)),  # pyright: ignore[reportCallIssue]
    "polygamma": lambda h: lax.polygamma(jnp.full_like(h, 1.0), h),
    "zeta": lambda h: lax.zeta(jnp.full_like(h, 2.5), 1 + h),
    "clamp": signed(lambda h: lax.clamp(-1.0, h, 1.0)),
    "reduce_precision": lambda h: lax.reduce_precision(h, 11, 52),
    "bitcast_convert_type": and_itself(lambda h: lax.bitcast_convert_type(h, jnp.int64)),
    "convert_element_type": lambda h: lax.convert_element_type(h, jnp.complex128) * (2 + 1j),
    **{name: and_itself(lambda h, name=name: getattr(lax, name)(h[:2], h[2:])) for name in names("eq ne ge gt le lt")},
    **{
        name: and_itself(lambda h, name=name: getattr(lax, name)(integers(h), jnp.full(h.shape, 3, jnp.int32)))
        for name in names(
            "bitwise_and bitwise_or bitwise_xor mulhi shift_left shift_right_arithmetic shift_right_logical"
        )
    },
    **{
        name: and_itself(lambda h, name=name: getattr(lax, name)(integers(h)))
        for name in names("bitwise_not clz population_count")
    },
    "argmax": and_itself(lambda h: lax.argmax(h, 0, jnp.int32)),
    "argmin": and_itself(lambda h: lax.argmin(h, 1, jnp.int32)),
    "broadcast": lambda h: lax.broadcast(h, (2,)),
    "broadcast_in_dim": lambda h: lax.broadcast_in_dim(h, (4, 2, 6), (0, 2)),
    "broadcast_to_rank": lambda h: lax.broadcast_to_rank(h, 3),
    "broadcast_like": lambda h: lax.broadcast_like(h, h),
    "collapse": lambda h: lax.collapse(h, 0, 2),
    "concatenate": lambda h: lax.concatenate([h, h * h], 1),
    "expand_dims": lambda h: lax.expand_dims(h, (1,)),
    "squeeze": lambda h: lax.squeeze(h[:1], (0,)),
    "reshape": lambda h: lax.reshape(h, (8, 3)),
    "rev": lambda h: lax.rev(h, (1,)),
    "transpose": lambda h: lax.transpose(h, (1, 0)),
    "tile": lambda h: lax.tile(h, (1, 2)),
    "pad": lambda h: lax.pad(h, 0.5 * jnp.ones(()), ((1, -1, 1), (0, 2, 0))),
    "slice": lambda h: lax.slice(h, (1, 0), (4, 6), (2, 1)),
    "slice_in_dim": lambda h: lax.slice_in_dim(h, 1, 6, 2, 1),
    "index_in_dim": lambda h: lax.index_in_dim(h, 2, 0),
    "index_take": lambda h: lax.index_take(h, (E([2, 0]),), (0,)),  # pyright: ignore[reportArgumentType]
    "split": lambda h: lax.split(h, (2, 4), 1),
    "unstack": lambda h: tuple(lax.unstack(h)),
    "stack": lambda h: lax.stack([h, h * h]),
    "dynamic_slice": lambda h: lax.dynamic_slice(h, (integers(h)[0, 0] % 3, jnp.int32(1)), (2, 3)),
    "dynamic_slice_in_dim": lambda h: lax.dynamic_slice_in_dim(h, integers(h)[0, 0] % 3, 2),
    "dynamic_index_in_dim": lambda h: lax.dynamic_index_in_dim(h, integers(h)[0, 0] % 4),
    "dynamic_update_slice": lambda h: lax.dynamic_update_slice(h, h[:2, :2] * 3, (integers(h)[0, 0] % 3, jnp.int32(1))),
    "dynamic_update_slice_in_dim": lambda h: lax.dynamic_update_slice_in_dim(h, h[:2] * 3, integers(h)[0, 0] % 3, 0),
    "dynamic_update_index_in_dim": lambda h: lax.dynamic_update_index_in_dim(h, h[0] * 3, integers(h)[0, 0] % 4, 0),
    "gather": lambda h: h[E([2, 0, 2]), E([1, 1, 5])],
    "scatter": lambda h: h.at[E([2, 0])].set(h[:2] * h[1:3]),
    "scatter_add": lambda h: h.at[E([2, 0, 2])].add(h[1:] ** 2),
    "scatter_sub": lambda h: h.at[E([2, 0, 2])].subtract(h[1:] ** 2),
    "scatter_mul": lambda h: h.at[E([2, 0])].multiply(h[1:3], unique_indices=True),
    "scatter_max": lambda h: h.at[E([2, 0])].max(h[1:3]),
    "scatter_min": lambda h: h.at[E([2, 0])].min(h[1:3]),
    "scatter_apply": lambda h: h.at[E([2, 0])].apply(jnp.sin),
    "select": lambda h: lax.select(h > 0.4, h * h, 3 * h),
    "select_n": lambda h: lax.select_n(integers(h) % 3, h, h * h, 3 * h),
    "sort": lambda h: lax.sort(h, dimension=1),
    "sort_key_val": lambda h: lax.sort_key_val(h, h * h, dimension=0),
    "top_k": lambda h: lax.top_k(h, 3),
    "approx_max_k": lambda h: lax.approx_max_k(h, 3),
    "approx_min_k": lambda h: lax.approx_min_k(h, 3),
    "reduce": lambda h: lax.reduce(h, jnp.zeros(()), lax.add, (0,)),
    "reduce_sum": lambda h: lax.reduce_sum(h, (0,)),
    "reduce_prod": lambda h: lax.reduce_prod(h, (0,)),
    "reduce_max": lambda h: lax.reduce_max(h, (0,)),
    "reduce_min": lambda h: lax.reduce_min(h, (1,)),
    **{
        name: and_itself(lambda h, name=name: getattr(lax, name)(h > 0.4, (0,)))
        for name in names("reduce_and reduce_or reduce_xor")
    },
    "reduce_window": lambda h: lax.reduce_window(h, -jnp.inf, lax.max, (2, 2), (1, 2), "SAME"),
    "conv": lambda h: lax.conv(h[None, None], h[None, None, :2, :2], (1, 1), "SAME"),
    "conv_general_dilated": lambda h: lax.conv_general_dilated(
        h[None, None], E([[[[1.0, -2.0], [0.5, 3.0]]]]), (1, 2), ((1, 0), (0, 1)), rhs_dilation=(1, 2)
    ),
    "conv_with_general_padding": lambda h: lax.conv_with_general_padding(
        h[None, None], h[None, None, :2, :2], (1, 1), ((0, 1), (1, 0)), (1, 2), (2, 1)
    ),
    "conv_transpose": lambda h: lax.conv_transpose(h[None], E([[[1.0] * 3] * 6, [[0.5, -1.0, 2.0]] * 6]), (2,), "SAME"),
    "conv_general_dilated_local": lambda h: lax.conv_general_dilated_local(
        h[None, None], jnp.arange(60.0).reshape(1, 4, 3, 5) / 30, (1, 1), "VALID", (2, 2)
    ),
    "conv_general_dilated_patches": lambda h: lax.conv_general_dilated_patches(h[None, None], (2, 2), (1, 1), "VALID"),
    "dot": lambda h: lax.dot(h, h.T),
    "dot_general": lambda h: lax.dot_general(h, h, (((0,), (0,)), ((), ()))),
    "batch_matmul": lambda h: lax.batch_matmul(h.reshape(2, 2, 6), h.reshape(2, 6, 2)),
    "ragged_dot": lambda h: lax.ragged_dot(h, jnp.arange(36.0).reshape(2, 6, 3) / 30, E([1, 3])),
    "ragged_dot_general": lambda h: lax.ragged_dot_general(
        h,
        jnp.arange(36.0).reshape(2, 6, 3) / 30,
        E([1, 3]),
        lax.RaggedDotDimensionNumbers((((1,), (1,)), ((), ())), [0], [0]),
    ),
    "scaled_dot": lambda h: lax.scaled_dot(h, h.T),
    "fft": lambda h: lax.fft(lax.complex(h, h * h), "FFT", (6,)),
    "associative_scan": lambda h: lax.associative_scan(lambda a, b: a * b + b, h),
    "cumprod": lambda h: lax.cumprod(h, 1),
    "cond": lambda h: lax.cond(h[0, 0] > 0.4, jnp.sin, jnp.cos, h),
    "switch": lambda h: lax.switch(integers(h)[0, 0] % 3, [jnp.sin, jnp.cos, jnp.tanh], h),
    "scan": lambda h: lax.scan(lambda c, row: (jnp.sin(c + row), c * row), jnp.zeros(6), h),
    "map": lambda h: lax.map(lambda row: jnp.sin(row) * row.sum(), h),
    "fori_loop": lambda h: lax.fori_loop(0, 3, lambda i, c: jnp.sin(c) * (i + 1), h),
    "while_loop": lambda h: lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, jnp.sin(c[1])), (0, h))[1],
    "custom_linear_solve": lambda h: lax.custom_linear_solve(
        lambda v: 2.0 * v + 0.5 * v[::-1],
        h[:, 0],
        lambda mv, b: jnp.linalg.solve(jax.jacobian(mv)(b), b),
        lambda mv, b: jnp.linalg.solve(jax.jacobian(mv)(b), b),
    ),
    "custom_root": lambda h: lax.custom_root(
        lambda y: y**3 + y - h, jnp.zeros_like(h), lambda f, y: _newton(f, y), lambda g, y: y / g(jnp.ones_like(y))
    ),
    "platform_dependent": lambda h: lax.platform_dependent(h, cpu=jnp.sin, default=jnp.sin),
    "composite": lambda h: lax.composite(jnp.sin, "test.sin")(h),
    "rng_uniform": and_itself(lambda h: lax.rng_uniform(0.0, 1.0, (2,)) * 0),
    "rng_bit_generator": and_itself(lambda h: lax.rng_bit_generator(jnp.zeros(4, jnp.uint32), (3,), jnp.uint32)[1]),
    "full_like": and_itself(lambda h: lax.full_like(h, 2.0)),
    "full": and_itself(lambda h: h[:2] * lax.full((2, 6), 2.0)),
    "iota": lambda h: h * lax.iota(h.dtype, 6),
    "broadcasted_iota": lambda h: h * lax.broadcasted_iota(h.dtype, (4, 6), 0),
    "dce_sink": and_itself(lambda h: (lax.dce_sink(h), h)[1]),
}


def _newton(f: Operation, y: Any) -> Any:
    for _ in range(30):
        y = y - f(y) / jax.jvp(f, (y,), (jnp.ones_like(y),))[1]
    return y
