"""JAX: Equinox (equimo, pdequinox, rnn-jax, flowjax, diffrax), Flax Linen and NNX (its layers, flaxmodels, ott-jax,
e3nn-jax), Haiku, jraph and Keras.

Small configurations, as in `tests.models.torch_zoo`; the architecture is the package's own. Nothing is downloaded.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx

from tests.models.entry import N_EXAMPLES, N_OUTPUTS, Entry, Made


def _key(i: int = 0) -> jax.Array:
    return jax.random.key(i)


def _inputs(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((N_EXAMPLES, *shape)).astype(np.float32)


def _tokens(vocabulary: int, length: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, vocabulary, (N_EXAMPLES, length)).astype(np.int32)


class _Inferring(eqx.Module):
    """A network of equimo's, which asks for a random key wherever it is called, and drops nothing."""

    network: Any

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.network(x, key=jax.random.key(0), inference=True)


def _equimo(name: str, options: dict[str, Any], side: int) -> Made:
    models: Any = import_module("equimo.models")

    network = getattr(models, name)(in_channels=3, num_classes=N_OUTPUTS, key=_key(), **options)
    return Made(_Inferring(network), _inputs(3, side, side))


def _pdequinox(name: str, options: dict[str, Any]) -> Made:
    arch: Any = import_module("pdequinox.arch")

    network = getattr(arch, name)(1, 1, 1, hidden_channels=8, key=_key(), **options)
    return Made(network, _inputs(1, 16))


def _state_space(name: str) -> Made:
    ssm: Any = import_module("rnn_jax.ssm")

    layers = [getattr(ssm, name)(8, 8, 8, key=_key(i)) for i in (1, 2)]
    mixers = [ssm.GLUMixer(8, 8, key=_key(i)) for i in (3, 4)]
    network = ssm.DeepStateSpaceModelEncoder(4, layers, mixers, out_dim=N_OUTPUTS, pool_method="mean", key=_key())
    return Made(network, _inputs(12, 4))


class _LogProbability(eqx.Module):
    """Of a point under a normalising flow."""

    flow: Any

    def __call__(self, x: jax.Array) -> jax.Array:
        return import_module("paramax").unwrap(self.flow).log_prob(x)


def _flow(name: str, options: dict[str, Any]) -> Made:
    flows: Any = import_module("flowjax.flows")
    distributions: Any = import_module("flowjax.distributions")

    flow = getattr(flows, name)(_key(), base_dist=distributions.Normal(jnp.zeros(3)), flow_layers=2, **options)
    flow = jax.tree.map(lambda leaf: leaf + 0.1 if eqx.is_inexact_array(leaf) else leaf, flow)  # not the identity
    return Made(_LogProbability(flow), _inputs(3))


class _Ode(eqx.Module):
    """dy/dt of a small network, solved to t = 1, and a head."""

    velocity: eqx.nn.MLP
    head: eqx.nn.Linear
    adjoint: Any = eqx.field(static=True)

    def __call__(self, y0: jax.Array) -> jax.Array:
        diffrax: Any = import_module("diffrax")

        term = diffrax.ODETerm(lambda t, y, args: self.velocity(y))
        found = diffrax.diffeqsolve(term, diffrax.Tsit5(), t0=0.0, t1=1.0, dt0=0.2, y0=y0, adjoint=self.adjoint,
                                    max_steps=16)
        return self.head(found.ys[-1])


def _ode(adjoint: str) -> Made:
    diffrax: Any = import_module("diffrax")

    velocity = eqx.nn.MLP(4, 4, 16, 1, activation=jnp.tanh, key=_key())
    return Made(_Ode(velocity, eqx.nn.Linear(4, N_OUTPUTS, key=_key(1)), getattr(diffrax, adjoint)()), _inputs(4))


def _haiku(make: Callable[[Any], Callable[[jax.Array, bool], jax.Array]], x: np.ndarray) -> Made:
    """`make` builds Haiku's modules, as inside of `hk.transform`; their state is constant."""
    hk: Any = import_module("haiku")

    network = hk.transform_with_state(lambda x, is_training: make(hk)(x, is_training))
    params, state = network.init(_key(), x, True)
    return Made(jax.tree_util.Partial(partial(_applied, network.apply), state), x, {"params": params})


def _applied(apply: Callable[..., Any], state: Any, params: Any, x: jax.Array) -> jax.Array:
    return apply(params, state, None, x, False)[0]


def _haiku_resnet(hk: Any) -> Callable[[jax.Array, bool], jax.Array]:
    return hk.nets.ResNet(blocks_per_group=(1, 1, 1, 1), num_classes=N_OUTPUTS, bottleneck=False,
                          channels_per_group=(8, 8, 16, 16), use_projection=(True,) * 4,
                          logits_config={"w_init": None})


def _haiku_mobilenet(hk: Any) -> Callable[[jax.Array, bool], jax.Array]:
    return hk.nets.MobileNetV1((1, 2, 2), (8, 16, 16), N_OUTPUTS)


def _haiku_lstm(hk: Any) -> Callable[[jax.Array, bool], jax.Array]:
    core, head = hk.LSTM(8), hk.Linear(N_OUTPUTS)

    def network(x: jax.Array, _: bool) -> jax.Array:
        outputs, _ = hk.dynamic_unroll(core, jnp.swapaxes(x, 0, 1), core.initial_state(x.shape[0]))
        return head(outputs[-1])

    return network


def _graph(kind: str) -> Made:
    """Networks on a ring of five nodes, whose layers are jraph's and whose weights are Haiku's: an example is the
    features of the nodes."""
    hk: Any = import_module("haiku")
    jraph: Any = import_module("jraph")
    ring = np.arange(5)

    def layer(nodes: jax.Array, size: int) -> jax.Array:
        graph = jraph.GraphsTuple(nodes=nodes, edges=jnp.ones((5, 1)), senders=ring, receivers=(ring + 1) % 5,
                                  globals=jnp.ones((1, 1)), n_node=np.array([5]), n_edge=np.array([5]))
        if kind == "GraphConvolution":
            made = jraph.GraphConvolution(hk.Linear(size), add_self_edges=True)
        elif kind == "GAT":
            made = jraph.GAT(hk.Linear(size), lambda q, k, _: hk.Linear(1)(jnp.concatenate([q, k], axis=-1)))
        else:
            made = jraph.GraphNetwork(*(jraph.concatenated_args(hk.nets.MLP([size, size])) for _ in range(3)))
        return made(graph).nodes

    def network(nodes: jax.Array) -> jax.Array:
        return hk.Linear(N_OUTPUTS)(jnp.mean(layer(jnp.tanh(layer(nodes, 8)), 8), axis=0))

    x = _inputs(5, 4)
    transformed = hk.without_apply_rng(hk.transform(network))
    return Made(jax.vmap(transformed.apply, in_axes=(None, 0)), x, {"params": transformed.init(_key(), x[0])})


def _linen(network: Any, x: np.ndarray, **calls: Any) -> Made:
    return Made(network, x, {"params": network.init(_key(), x, **calls)})


def _linen_with_dtype(network: Any, x: np.ndarray, **calls: Any) -> Made:
    """Where the module itself says in which dtype it computes."""
    return replace(_linen(network, x, **calls), double=lambda: network.clone(dtype="float64"))


def _flaxmodels_resnet() -> Made:
    models: Any = import_module("flaxmodels")

    network = models.ResNet18(output="logits", pretrained=None, num_classes=N_OUTPUTS, normalize=False)
    return _linen_with_dtype(network, _inputs(32, 32, 3), train=False)


def _icnn() -> Made:
    """A potential of one point, so that a batch of them is mapped."""
    networks: Any = import_module("ott.neural.networks.icnn")

    x = _inputs(3)
    network = networks.ICNN(dim_data=3, dim_hidden=[16, 16], act_fn=jax.nn.softplus)
    return Made(jax.vmap(network.apply, in_axes=(None, 0)), x, {"params": network.init(_key(), x[0])})


class _Equivariant(linen.Module):
    """Two equivariant layers, a tensor product of the features with themselves, and scalars."""

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        e3nn: Any = import_module("e3nn_jax")
        layers: Any = import_module("e3nn_jax.flax")

        features = e3nn.gate(layers.Linear("6x0e + 2x1o")(e3nn.IrrepsArray("2x0e + 1x1o", x)))
        return layers.Linear(f"{N_OUTPUTS}x0e")(e3nn.tensor_square(features)).array


class _Encoder(linen.Module):
    """A block of a transformer, of Flax's own layers, with batch normalisation before its head."""

    @linen.compact
    def __call__(self, tokens: jax.Array, *, train: bool = True) -> jax.Array:
        x = linen.Embed(20, 16)(tokens)
        x = x + linen.MultiHeadDotProductAttention(num_heads=4)(linen.LayerNorm()(x))
        x = x + linen.Dense(16)(linen.gelu(linen.Dense(32)(linen.LayerNorm()(x))))
        return linen.Dense(N_OUTPUTS)(linen.BatchNorm(use_running_average=not train)(x.mean(axis=1)))


class _LinenLstm(linen.Module):
    """Flax's LSTM in one direction, its GRU in the other; their states have the dtype of the parameters."""

    dtype: str = "float32"

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        forwards = linen.RNN(linen.OptimizedLSTMCell(8, param_dtype=self.dtype))
        backwards = linen.RNN(linen.GRUCell(8, param_dtype=self.dtype))
        states: Any = linen.Bidirectional(forwards, backwards)(x)
        return linen.Dense(N_OUTPUTS)(states[:, -1])


def _nnx_convolutional() -> Made:
    rngs = nnx.Rngs(0)
    network = nnx.Sequential(
        nnx.Conv(3, 8, (3, 3), rngs=rngs), nnx.BatchNorm(8, rngs=rngs), nnx.relu,
        partial(nnx.avg_pool, window_shape=(2, 2), strides=(2, 2)),
        nnx.Conv(8, 16, (3, 3), rngs=rngs), nnx.GroupNorm(16, num_groups=4, rngs=rngs), nnx.gelu,
        partial(jnp.mean, axis=(1, 2)), nnx.Linear(16, N_OUTPUTS, rngs=rngs))
    return Made(network, _inputs(8, 8, 3))


def _keras(name: str, options: dict[str, Any], side: int) -> Made:
    """Stateless calls of a Keras model: Keras casts to the dtype that a model was made with."""
    os.environ["KERAS_BACKEND"] = "jax"
    keras: Any = import_module("keras")

    def make() -> Any:
        keras.utils.set_random_seed(0)
        return getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3), classes=N_OUTPUTS,
                                                 classifier_activation=None, **options)

    def function(model: Any) -> Any:
        constant = [variable.value for variable in model.non_trainable_variables]
        return jax.tree_util.Partial(partial(_stateless, model), constant)

    def double() -> Any:
        keras.config.set_floatx("float64")
        return function(make())

    model = make()
    params = [variable.value for variable in model.trainable_variables]
    return Made(function(model), _inputs(side, side, 3), {"params": params}, double=double)


def _stateless(model: Any, constant: Any, params: Any, x: jax.Array) -> jax.Array:
    return model.stateless_call(params, constant, x, training=False)[0]


def _entry(name: str, package: str, make: Callable[..., Made], *args: Any) -> Entry:
    return Entry(name, package, "jax", partial(make, *args))


# equimo: its normalisations and its softmax are computed in float32.
EQUIMO: tuple[tuple[str, dict[str, Any]], ...] = (
    ("VisionTransformer", {"img_size": 16, "dim": 16, "patch_size": 8, "num_heads": [2], "depths": [2]}),
    ("ConvNeXt", {"depths": [1, 1], "dims": [8, 16], "layer_scale_init_value": 0.5}),
)

ENTRIES: tuple[Entry, ...] = (
    _entry("transformer block", "flax", lambda: _linen(_Encoder(), _tokens(20, 6), train=False)),
    _entry("LSTM and GRU", "flax", lambda: _linen_with_dtype(_LinenLstm(), _inputs(8, 4))),
    _entry("NNX ConvNet", "flax", _nnx_convolutional),
    _entry("ResNet", "dm-haiku", _haiku, _haiku_resnet, _inputs(32, 32, 3)),
    _entry("MobileNetV1", "dm-haiku", _haiku, _haiku_mobilenet, _inputs(16, 16, 3)),
    _entry("LSTM", "dm-haiku", _haiku, _haiku_lstm, _inputs(10, 4)),
    *(_entry(kind, "jraph", _graph, kind) for kind in ("GraphConvolution", "GAT", "GraphNetwork")),
    _entry("ICNN", "ott-jax", _icnn),
    _entry("tensor square", "e3nn-jax", lambda: _linen(_Equivariant(), _inputs(5))),
    _entry("LRU", "rnn-jax", _state_space, "LinearRecurrentUnit"),
    _entry("S5", "rnn-jax", _state_space, "SimplifiedStateSpaceLayer"),
    _entry("coupling flow", "flowjax", _flow, "coupling_flow", {"nn_width": 8}),
    _entry("masked autoregressive flow", "flowjax", _flow, "masked_autoregressive_flow", {"nn_width": 8}),
    _entry("ClassicFNO", "pdequinox", _pdequinox, "ClassicFNO", {"num_modes": 4, "num_blocks": 2}),
    _entry("ClassicResNet", "pdequinox", _pdequinox, "ClassicResNet", {"num_blocks": 2}),
    _entry("ModernUNet", "pdequinox", _pdequinox, "ModernUNet", {"num_levels": 1, "num_blocks": 1}),
    _entry("neural ODE", "diffrax", _ode, "RecursiveCheckpointAdjoint"),
    _entry("neural ODE, direct adjoint", "diffrax", _ode, "DirectAdjoint"),
    _entry("MobileNet", "keras", _keras, "MobileNet", {"alpha": 0.25}, 32),
    *(Entry(name, "equimo", "jax", partial(_equimo, name, options, 16), float32_inside=True)
      for name, options in EQUIMO),
    _entry("ResNet18", "flaxmodels", _flaxmodels_resnet),
)
