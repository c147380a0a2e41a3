"""`equinox.conjugate`: φφᵀ/h of the features of a named layer, as a copy of the module says what it takes and gives.

Convention: the reference's names of layers and features (reference/DEFINITION.md, "conjugate"), and its one output
axis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from impls.frameworks.jax.equinox_features import observe
from impls.frameworks.jax.support import place, precision
from impls.frameworks.jax.xla import compiled
from impls.frameworks.watching import check_found
from impls.methods.conjugate import product
from impls.methods.options import check_options
from impls.networks import equinox as equinox_networks
from impls.networks.equinox_layers import Tied
from impls.networks.equinox_layers import build as build_layered
from impls.networks.features import asked_layer, check_layer, place_in_layers
from impls.protocol import Framework, Kind
from reference import MLP, Case, ConvNet, Described, Layered, Quantity, Request
from reference.seen import INPUT


@dataclass(frozen=True)
class Conjugate:
    """Option: `layer`, such as "dense1:input"; the last hidden features without it."""

    name: str = "equinox.conjugate"
    framework: Framework = "jax"
    kind: Kind = "exact"
    quantities: tuple[Quantity, ...] = ("conjugate",)

    def unsupported(self, case: Case, request: Request) -> str | None:
        if not isinstance(case.network, Described):
            return "of a model of the user's own it needs the layer's own path: impls.conjugate(model, x1, layer=…)"
        names = [getattr(layer, "name", None) for layer in getattr(case.network, "layers", ())]
        if len(set(filter(None, names))) < sum(map(bool, names)):
            return "a module that is tied by eqx.nn.Shared holds nothing in place of later layers until it is called"
        return None

    def prepare(self, case: Case, request: Request) -> Callable[[], jax.Array]:
        layer = check_options(self.name, request, {"layer": None}, self.quantities)["layer"]
        name = _name_in_module(case, layer)
        with precision(request.dtype):
            params, constants = place((dict(case.params), dict(case.constants)), request)
            module = (build_layered(case.network, params, constants)[0] if isinstance(case.network, Layered)
                      else equinox_networks.build(case.network, params))
            assert not isinstance(module, Tied)
            x1, x2 = place((case.x1, case.x2), request)

        def kernel() -> jax.Array:
            with precision(request.dtype):
                phi = partial(features_of, module, name=name, batch_size=request.batch_size)
                first = phi(x1)
                return _product(first, first if x2 is None else phi(x2), request.outputs)

        return kernel


def features_of(module: Any, x: jax.Array, name: str, batch_size: int | None = None) -> jax.Array:
    """φ (N, h) of that layer in inference mode, in blocks of examples. Raises `InputError` where it has none."""
    size = len(x) if batch_size is None else batch_size
    return jnp.concatenate([_features(module, x[start:start + size], name) for start in range(0, len(x), size)])


@partial(compiled, jit=eqx.filter_jit)
def _features(module: Any, x: jax.Array, name: str) -> jax.Array:
    found = observe(module, x, [name]).found
    check_found([name], found)
    return found[name].reshape(len(x), -1)


_product = compiled(product, static_argnums=2)


def _name_in_module(case: Case, layer: str | None) -> str:
    name, use, is_input = asked_layer(case, layer)
    if isinstance(case.network, Layered):
        place_of = place_in_layers(case, name, use)
    else:
        check_layer(case, name, use)
        place_of = _place(case, name)
    return f"layers.{place_of}{INPUT if is_input else ''}"


def _place(case: Case, name: str) -> int:
    """In the sequence that `impls.networks.equinox` builds: layers, each with activation and pooling, then the head."""
    network, kind, index = case.network, name.rstrip("0123456789"), int(name.lstrip("abcdefghijklmnopqrstuvwxyz"))
    if isinstance(network, MLP):
        return 2 * index
    assert isinstance(network, ConvNet)
    starts = list(accumulate((2 + (conv.pool is not None) for conv in network.convs), initial=0))
    return starts[index] if kind == "conv" else starts[-1] + 1 + 2 * index


METHODS = (Conjugate(),)
