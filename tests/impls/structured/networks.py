"""Small networks in plain JAX, one for each way that a parameter may enter the computation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Params = dict[str, Any]


class Small(NamedTuple):
    """A network with the shapes of its parameters and of one example.

    `rules`: for some parameters, how the rule that covers them begins. `rows`: the example holds row numbers below it.
    `forward_only`: JAX cannot differentiate it in reverse mode.
    """

    f: Callable[[Params, Any], Any]
    shapes: dict[str, tuple[int, ...]]
    example: tuple[int, ...]
    rules: dict[str, str]
    rows: int | None = None
    forward_only: bool = False

    def draw(self, n1: int, n2: int, dtype: str) -> tuple[Params, Any, Any]:
        """Parameters and two batches, always the same."""
        rng = np.random.default_rng(7)
        params = {name: rng.standard_normal(shape) / np.sqrt(shape[0] if shape else 1)
                  for name, shape in self.shapes.items()}
        if self.rows is None:
            xs = [rng.standard_normal((n, *self.example)).astype(dtype) for n in (n1, n2)]
        else:
            xs = [rng.integers(0, self.rows, (n, *self.example)).astype("int32") for n in (n1, n2)]
        return {name: jnp.asarray(value, dtype) for name, value in params.items()}, *map(jnp.asarray, xs)


def mlp(p: Params, x: Any) -> Any:
    x = jax.nn.relu(0.7 * (x @ p["w0"]) + 0.3 * p["b0"])
    x = jax.nn.relu(0.7 * (x @ p["w1"].T) + 0.3 * p["b1"])
    return x @ p["w2"] - p["b2"]


def conv2d(p: Params, x: Any) -> Any:
    numbers = ("NHWC", "HWIO", "NHWC")
    x = jax.lax.conv_general_dilated(x, p["k1"], (2, 1), "SAME", rhs_dilation=(1, 2), dimension_numbers=numbers)
    x = jnp.tanh(x + p["b1"])
    x = jax.lax.conv_general_dilated(x, p["k2"], (1, 1), ((1, 0), (0, 2)), lhs_dilation=(1, 2), feature_group_count=2,
                                     dimension_numbers=numbers) + p["b2"]
    return (jnp.tanh(x) * p["s"]).mean((1, 2)) @ p["w"] + x[:, 0, 0, :3]


def conv1d(p: Params, x: Any) -> Any:
    numbers = ("NCH", "OIH", "NCH")
    return jax.lax.conv_general_dilated(x, p["k"], (2,), ((2, 1),), dimension_numbers=numbers) + p["b"][:, None]


def conv3d(p: Params, x: Any) -> Any:
    numbers = ("NCDHW", "OIDHW", "NCDHW")
    x = jnp.sin(jax.lax.conv_general_dilated(x, p["k"], (1, 2, 1), "VALID", dimension_numbers=numbers))
    return x.sum((2, 3, 4)) / p["d"]


def attention(p: Params, x: Any) -> Any:
    x = x + p["pos"]
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    q, k, v = (t.reshape(*t.shape[:2], 2, -1) for t in
               jnp.split(((x - mean) / jnp.sqrt(var + 1e-5) * p["gamma"] + p["beta"]) @ p["qkv"], 3, -1))
    weights = jax.nn.softmax(jnp.einsum("nthd,nshd->nhts", q, k) / 2.0)
    x = x + jnp.einsum("nthd,hde->nte", jnp.einsum("nhts,nshd->nthd", weights, v), p["o"])
    return (x @ p["out"])[:, :2]


def sliced_qkv(p: Params, x: Any) -> Any:
    q, k, v = (x @ w for w in jnp.split(p["qkv"], 3, axis=1))
    b_q, b_k = p["b"][:4], p["b"][4:]
    return (jax.nn.softmax((q + b_q) @ (k + b_k).swapaxes(1, 2)) @ v).sum(1)


def tied_embedding(p: Params, x: Any) -> Any:
    return jnp.tanh((2.0 * p["E"])[x] @ p["w"]) @ p["E"].T


def embedding_outside(p: Params, x: Any) -> Any:
    """Rows beyond the table are cut to the last one; one row is looked up by the example alone."""
    taken = p["E"].at[x + 1].get(mode="clip")
    return taken.sum(1) * p["F"][x[:, 0]] + jax.vmap(lambda row: p["G"][row])(x[:, 1])


def tied_autoencoder(p: Params, x: Any) -> Any:
    return jnp.tanh(x @ p["w"]) @ p["w"].T + p["b"]


def recurrent(p: Params, x: Any) -> Any:
    h = jnp.zeros((len(x), 4), x.dtype)
    for t in range(x.shape[1]):
        h = jnp.tanh(h @ p["u"] + x[:, t] @ p["w"] + p["b"])
    return h @ p["o"] + p["c"]


def recurrent_scan(p: Params, x: Any) -> Any:
    def step(h: Any, x_t: Any) -> tuple[Any, Any]:
        return jnp.tanh(h @ p["u"] + x_t @ p["w"] + p["b"]), h.sum(-1)

    h, sums = jax.lax.scan(step, jnp.zeros((len(x), 4), x.dtype), x.swapaxes(0, 1), reverse=True)
    return h @ p["o"] + p["c"] + sums[0][:, None]


def long_scan(p: Params, x: Any) -> Any:
    return jax.lax.scan(lambda h, _: (jnp.sin(h @ p["w"]), None), x, None, length=3000)[0] @ p["o"]


def stacked_layers(p: Params, x: Any) -> Any:
    return jax.lax.scan(lambda h, layer: (jnp.tanh(h @ layer[0] + layer[1]), None), x, (p["w"], p["b"]))[0]


def weight_norm(p: Params, x: Any) -> Any:
    h = jnp.tanh(x @ (p["v"] / jnp.linalg.norm(p["v"], axis=0) * p["g"]))
    h = jax.lax.cond(x.sum() > 0, lambda h: h @ p["c"], lambda h: h @ p["c"].T, h)
    h = jax.checkpoint(lambda h, w: jnp.tanh(h @ w))(h, p["r"])
    return jax.jit(lambda h, w: h @ w)(h, p["j"])


def joined_with_bias(p: Params, x: Any) -> Any:
    """Each weight is a part of the columns, the bias is added to all of them; an empty one is none."""
    h = jnp.tanh(x @ jnp.concatenate([p["a"], p["b"]], 1) + p["c"])
    return jnp.concatenate([h @ jnp.concatenate([p["d"], p["e"]], 1) + p["f"], h @ p["none"]], 1)


def joined_outputs(p: Params, x: Any) -> Any:
    return x @ jnp.concatenate([p["a"], p["b"]], 1) + p["c"]


def stopped(p: Params, x: Any) -> Any:
    """A gradient of one of the two uses, and of none."""
    h = jnp.tanh(x @ p["w"]) @ jax.lax.stop_gradient(p["w"]).T
    return h @ p["o"] + jax.lax.stop_gradient(p["b"])


def concatenated(p: Params, x: Any) -> Any:
    h = jnp.tanh(x @ jnp.concatenate([p["a"], p["b"], jnp.ones((5, 1), x.dtype)], 1))
    return h @ jnp.concatenate([p["c"], p["d"]], 1).T


def unknown_loop(p: Params, x: Any) -> Any:
    def step(state: Any) -> Any:
        return state[0] + 1, jnp.tanh(state[1] @ p["b"])

    h = jax.lax.while_loop(lambda state: state[0] < 2, step, (0, x @ p["a"]))[1]
    return h @ p["c"]


def hidden_loop(p: Params, x: Any) -> Any:
    halved = jax.jit(lambda h: jax.lax.while_loop(lambda h: h.sum() > 1e-3, lambda h: h / 2, h))
    return halved(x @ p["a"]) @ p["c"] + x @ p["d"]


@jax.custom_jvp
def doubled_gradient(x: Any, w: Any) -> Any:
    return x @ w


@doubled_gradient.defjvp
def _doubled_gradient_jvp(primals: Any, tangents: Any) -> Any:
    (x, w), (dx, dw) = primals, tangents
    return x @ w, 2.0 * (dx @ w + x @ dw)


@jax.custom_vjp
def tripled_gradient(x: Any, w: Any) -> Any:
    return x @ w


tripled_gradient.defvjp(lambda x, w: (x @ w, (x, w)), lambda kept, g: (3.0 * g @ kept[1].T, 3.0 * kept[0].T @ g))


def custom_rules(p: Params, x: Any) -> Any:
    return tripled_gradient(jax.nn.silu(doubled_gradient(x, p["a"])), p["b"]) @ p["c"]


def several_axes(p: Params, x: Any) -> Any:
    return (jnp.einsum("nti,ijk->ntjk", x, p["w"]) + p["b"])[..., None]


def transposed_outputs(p: Params, x: Any) -> Any:
    return jnp.einsum("nti,ij->njt", x, p["w"])


def batched_weights(p: Params, x: Any) -> Any:
    h = jnp.tanh(jnp.einsum("nei,eij->nej", x, p["w"]) + p["b"])
    return jnp.einsum("nej,ejk->nek", h, p["v"])


def not_used(p: Params, x: Any) -> Any:
    return x @ p["w"] + 0.0 * jax.lax.stop_gradient(p["s"])


def scalars(p: Params, x: Any) -> Any:
    return jnp.exp(p["t"]) * (x * p["a"] + p["b"]).sum(1)


def output_is_parameter(p: Params, x: Any) -> Any:
    return jnp.broadcast_to(p["b"], (len(x), 3))


def used_in_many_ways(p: Params, x: Any) -> Any:
    return x @ p["w"] @ p["w"] + p["w"][0] + (x * p["w"][1:2]) @ p["w"][:, ::-1]


def conv1d_groups(p: Params, x: Any) -> Any:
    numbers = ("NHC", "HIO", "NHC")
    x = jax.lax.conv_general_dilated(x, p["k"], (2,), ((3, 0),), rhs_dilation=(2,), feature_group_count=2,
                                     dimension_numbers=numbers)
    return (jnp.tanh(x) * p["s"] + p["b"]) @ p["w"].reshape(4, 2)


def conv3d_groups(p: Params, x: Any) -> Any:
    numbers = ("NDHWC", "DHWIO", "NDHWC")
    x = jax.lax.conv_general_dilated(x, p["k"], (1, 2, 1), ((1, 1), (0, 2), (1, 0)), rhs_dilation=(2, 1, 1),
                                     feature_group_count=2, dimension_numbers=numbers)
    return jnp.sin(x + p["b"]).mean((1, 2, 3))


def reached_through_views(p: Params, x: Any) -> Any:
    """The parameter reshaped, transposed, cut, turned round and scaled on its way."""
    w = p["w"].reshape(2, 3, 8).transpose(0, 2, 1)
    h = jnp.tanh(x @ (0.5 * w[0]).T + jnp.squeeze(p["b"])[::-1])
    return h @ w[1, :, ::-1] + jnp.concatenate([p["c"], p["c"]])[1:4]


def nested_calls(p: Params, x: Any) -> Any:
    """jit in remat in scan; a branch in another scan, which hides its own parameter only."""
    @jax.checkpoint
    def layer(h: Any, w: Any) -> Any:
        return jax.jit(lambda h: jnp.tanh(h @ w + p["b"]))(h)

    h, _ = jax.lax.scan(lambda h, w: (layer(h, w), None), x, p["w"])

    def step(h: Any, i: Any) -> tuple[Any, None]:
        return jax.lax.cond(i > 0, lambda h: h @ p["c"], lambda h: h, h), None

    return jax.lax.scan(step, h, jnp.arange(2))[0] @ p["o"]


def normalised(p: Params, x: Any) -> Any:
    """Group normalisation over an image, root mean square over channels."""
    groups = jnp.einsum("nhwi,io->nhwo", x, p["w"]).reshape(*x.shape[:3], 2, -1)
    mean, var = groups.mean((1, 2, 4), keepdims=True), groups.var((1, 2, 4), keepdims=True)
    x = ((groups - mean) * jax.lax.rsqrt(var + 1e-5)).reshape(*x.shape[:3], -1) * p["g1"] + p["b1"]
    return (x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * p["g2"]).mean((1, 2)) @ p["o"]


NETWORKS: dict[str, Small] = {
    "mlp": Small(mlp, {"w0": (5, 8), "b0": (8,), "w1": (7, 8), "b1": (7,), "w2": (7, 3), "b2": (3,)}, (5,),
                 {"w0": "dense", "b0": "bias", "w1": "dense", "b2": "bias"}),
    "conv2d": Small(conv2d, {"k1": (3, 3, 2, 4), "b1": (4,), "k2": (2, 3, 2, 6), "b2": (6,), "s": (6,), "w": (6, 3)},
                    (6, 5, 2), {"k1": "convolution", "k2": "convolution", "s": "scale"}),
    "conv1d": Small(conv1d, {"k": (3, 2, 4), "b": (3,)}, (2, 7), {"k": "convolution", "b": "bias"}),
    "conv3d": Small(conv3d, {"k": (3, 2, 2, 3, 1), "d": (3,)}, (2, 3, 5, 2), {"k": "convolution", "d": "fallback"}),
    "conv1d_groups": Small(conv1d_groups, {"k": (2, 2, 4), "s": (4,), "b": (1, 4), "w": (8,)}, (6, 4),
                           {"k": "convolution", "s": "scale", "b": "bias", "w": "dense"}),
    "conv3d_groups": Small(conv3d_groups, {"k": (2, 2, 1, 1, 4), "b": (4,)}, (3, 3, 4, 2),
                           {"k": "convolution", "b": "bias"}),
    "reached_through_views": Small(reached_through_views, {"w": (48,), "b": (8, 1), "c": (2,)}, (3,),
                                   {"w": "dense", "b": "bias"}),
    "nested_calls": Small(nested_calls, {"w": (2, 3, 3), "b": (3,), "c": (3, 3), "o": (3, 2)}, (3,),
                          {"w": "dense", "b": "bias", "c": "fallback", "o": "dense"}),
    "normalised": Small(normalised, {"w": (2, 4), "g1": (4,), "b1": (4,), "g2": (4,), "o": (4, 3)}, (3, 2, 2),
                        {"w": "dense", "g1": "scale", "b1": "bias", "g2": "scale", "o": "dense"}),
    "attention": Small(attention, {"pos": (3, 8), "gamma": (8,), "beta": (8,), "qkv": (8, 24), "o": (2, 4, 8),
                                   "out": (8, 2)}, (3, 8),
                       {"qkv": "dense", "o": "dense", "gamma": "scale", "pos": "bias"}),
    "sliced_qkv": Small(sliced_qkv, {"qkv": (5, 12), "b": (8,)}, (3, 5), {"qkv": "dense", "b": "bias"}),
    "tied_embedding": Small(tied_embedding, {"E": (6, 4), "w": (4, 4)}, (3,), {"E": "embedding"}, rows=6),
    "embedding_outside": Small(embedding_outside, {"E": (6, 4), "F": (6, 4), "G": (6, 4)}, (3,),
                               {"E": "embedding", "F": "embedding", "G": "embedding"}, rows=6),
    "tied_autoencoder": Small(tied_autoencoder, {"w": (5, 4), "b": (5,)}, (5,), {"w": "dense"}),
    "recurrent": Small(recurrent, {"u": (4, 4), "w": (3, 4), "b": (4,), "o": (4, 3), "c": (3,)}, (3, 3),
                       {"u": "dense", "w": "dense"}),
    "recurrent_scan": Small(recurrent_scan, {"u": (4, 4), "w": (3, 4), "b": (4,), "o": (4, 3), "c": (3,)}, (3, 3),
                            {"u": "dense", "w": "dense"}),
    "long_scan": Small(long_scan, {"w": (3, 3), "o": (3, 2)}, (3,), {"w": "fallback", "o": "dense"}),
    "stacked_layers": Small(stacked_layers, {"w": (3, 4, 4), "b": (3, 4)}, (4,), {"w": "dense", "b": "bias"}),
    "weight_norm": Small(weight_norm, {"v": (5, 4), "g": (4,), "c": (4, 4), "r": (4, 4), "j": (4, 2)}, (5,),
                         {"v": "fallback", "g": "fallback", "c": "fallback", "r": "dense", "j": "dense"}),
    "concatenated": Small(concatenated, {"a": (5, 2), "b": (5, 3), "c": (2, 4), "d": (2, 2)}, (5,),
                          {"a": "dense", "b": "dense", "c": "dense", "d": "dense"}),
    "joined_with_bias": Small(joined_with_bias, {"a": (5, 2), "b": (5, 3), "c": (5,), "d": (5, 2), "e": (5, 1),
                                                 "f": (3,), "none": (5, 0)}, (5,),
                              {"a": "dense", "b": "dense", "c": "bias", "d": "dense", "none": "unused"}),
    "stopped": Small(stopped, {"w": (4, 5), "o": (4, 2), "b": (2,)}, (4,), {"w": "dense", "o": "dense", "b": "unused"}),
    "joined_outputs": Small(joined_outputs, {"a": (4, 2), "b": (4, 1), "c": (3,)}, (4,),
                            {"a": "dense", "b": "dense", "c": "bias"}),
    "unknown_loop": Small(unknown_loop, {"a": (5, 4), "b": (4, 4), "c": (4, 2)}, (5,),
                          {"a": "fallback", "b": "fallback", "c": "dense"}, forward_only=True),
    "hidden_loop": Small(hidden_loop, {"a": (5, 4), "c": (4, 2), "d": (5, 2)}, (5,), {"a": "fallback", "d": "dense"},
                         forward_only=True),
    "custom_rules": Small(custom_rules, {"a": (5, 4), "b": (4, 4), "c": (4, 2)}, (5,),
                          {"a": "fallback", "b": "fallback", "c": "dense"}),
    "several_axes": Small(several_axes, {"w": (4, 3, 2), "b": (2,)}, (2, 4), {"w": "dense", "b": "bias"}),
    "transposed_outputs": Small(transposed_outputs, {"w": (4, 3)}, (2, 4), {"w": "dense"}),
    "batched_weights": Small(batched_weights, {"w": (3, 4, 5), "b": (3, 5), "v": (3, 5, 2)}, (3, 4),
                             {"w": "dense", "v": "dense"}),
    "not_used": Small(not_used, {"w": (4, 3), "s": (3,), "none": (2, 2)}, (4,), {"w": "dense", "none": "unused"}),
    "scalars": Small(scalars, {"t": (), "a": (4,), "b": (4,)}, (4,), {"t": "fallback", "a": "scale"}),
    "output_is_parameter": Small(output_is_parameter, {"b": (3,)}, (2,), {"b": "fallback"}),
    "used_in_many_ways": Small(used_in_many_ways, {"w": (4, 4)}, (4,), {"w": "fallback"}),
}
