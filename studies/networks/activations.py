"""The layer types of coordinate networks: what becomes of a layer's linear maps.

x is the pre-activation W h + b. A layer of two maps has two, x₀ and x₁, each with parameters of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import get_args

import jax
import jax.numpy as jnp

from reference import InputError
from studies.config import nearest
from studies.networks.names import LayerName

Function = Callable[..., jax.Array]


@dataclass(frozen=True)
class Layer:
    """`function` takes `maps` pre-activations, and `parameters` by name. `complex`: the maps of all layers but the
    first are complex, and so are what passes between them; the network's output is its real part."""

    function: Function
    parameters: tuple[str, ...]
    maps: int = 1
    complex: bool = False


def layer(name: str) -> Layer:
    """The layer type of that name; `InputError` with the nearest name where there is none."""
    if name not in LAYERS:
        raise InputError(f"there is no layer type {name!r}{nearest(name, LAYERS)}")
    return LAYERS[name]


def siren(x: jax.Array, *, w0: jax.Array) -> jax.Array:
    """sin(w0 x) (Sitzmann et al. 2020, SIREN, section 3)."""
    return jnp.sin(w0 * x)


def variable_period(x: jax.Array) -> jax.Array:
    """(|x| + 1) x, whose slope grows with |x|. Differentiated as it stands; FINER's own code holds |x| + 1 constant."""
    return (jnp.abs(x) + 1) * x


def finer(x: jax.Array, *, w0: jax.Array) -> jax.Array:
    """sin(w0 (|x| + 1) x) (Liu et al. 2024, FINER)."""
    return jnp.sin(w0 * variable_period(x))


def finer_gaussian(x: jax.Array, *, inverse_scale: jax.Array, wf: jax.Array) -> jax.Array:
    """exp(−(inverse_scale·sin(wf (|x| + 1) x))²) (Zhu et al. 2024, FINER++). INR_BEP's scale is over wf."""
    return gaussian(finer(x, w0=wf), inverse_scale=inverse_scale)


def finer_wire_real(x0: jax.Array, x1: jax.Array, *, w0: jax.Array, s0: jax.Array) -> jax.Array:
    """`wire_real` of (|x| + 1) x, as in INR_BEP; FINER++'s own code puts a sine between."""
    return wire_real(variable_period(x0), variable_period(x1), w0=w0, s0=s0)


def finer_wire_complex(x: jax.Array, *, w0: jax.Array, s0: jax.Array) -> jax.Array:
    """`wire_complex` of (|x| + 1) x, as in INR_BEP."""
    return wire_complex(variable_period(x), w0=w0, s0=s0)


def gaussian(x: jax.Array, *, inverse_scale: jax.Array) -> jax.Array:
    """exp(−(inverse_scale·x)²) (Ramasinghe, Lucey 2022, Beyond Periodicity, table 1)."""
    return jnp.exp(-((inverse_scale * x) ** 2))


def laplacian(x: jax.Array, *, a: jax.Array) -> jax.Array:
    """exp(−|x|/a) (Ramasinghe, Lucey 2022, table 1)."""
    return jnp.exp(-jnp.abs(x) / a)


def quadratic(x: jax.Array, *, a: jax.Array) -> jax.Array:
    """1/(1 + (a x)²) (Ramasinghe, Lucey 2022, table 1)."""
    return 1 / (1 + (a * x) ** 2)


def multi_quadratic(x: jax.Array, *, a: jax.Array) -> jax.Array:
    """1/√(1 + (a x)²) (Ramasinghe, Lucey 2022, table 1)."""
    return 1 / jnp.sqrt(1 + (a * x) ** 2)


def super_gaussian(x: jax.Array, *, a: jax.Array, b: jax.Array) -> jax.Array:
    """[exp(−x²/2a²)]^b (Ramasinghe, Lucey 2022, table 1), as one exponential: a power of 0 has no derivative in b."""
    return jnp.exp(-b * x**2 / (2 * a**2))


def exp_sin(x: jax.Array, *, a: jax.Array) -> jax.Array:
    """exp(sin(a x)) (Ramasinghe, Lucey 2022, table 1)."""
    return jnp.exp(jnp.sin(a * x))


def hosc(x: jax.Array, *, w0: jax.Array) -> jax.Array:
    """tanh(w0 sin x) (Serrano, Szymkowiak, Musialski 2024, HOSC): the sharpness is w0, the frequency 1."""
    return jnp.tanh(w0 * jnp.sin(x))


def ada_hosc(x: jax.Array, *, w0: jax.Array) -> jax.Array:
    """sin x · (1 − tanh²(w0 sin x)), INR_BEP's AdaHOSC; in the paper it is `hosc` with a trained sharpness."""
    return jnp.sin(x) * (1 - hosc(x, w0=w0) ** 2)


def sinc(x: jax.Array, *, w0: jax.Array) -> jax.Array:
    """sin(π w0 x)/(π w0 x), normalised, with the zeros at whole w0 x: what INR_BEP calls, and NumPy and JAX by it."""
    return jnp.sinc(w0 * x)


def sinc_plain(x: jax.Array, *, w0: jax.Array) -> jax.Array:
    """sin(w0 x)/(w0 x), without the π."""
    return jnp.sinc(w0 * x / jnp.pi)


def wire_real(x0: jax.Array, x1: jax.Array, *, w0: jax.Array, s0: jax.Array) -> jax.Array:
    """cos(w0 x₀) exp(−(s0 x₁)²), of two linear maps (Saragadam et al. 2023, WIRE; the cosine is its code's)."""
    return jnp.cos(w0 * x0) * jnp.exp(-((s0 * x1) ** 2))


def wire_complex(*x: jax.Array, w0: jax.Array, s0: jax.Array) -> jax.Array:
    """exp(i w0 x₀ − s0² mean_k |x_k|²) of complex x (Saragadam et al. 2023, WIRE; of two maps, its 2-D form).

    The mean is INR_BEP's; WIRE's code has the sum. They differ by a factor in s0².
    """
    size = sum((jnp.real(each) ** 2 + jnp.imag(each) ** 2 for each in x), jnp.zeros(())) / len(x)
    return jnp.exp(1j * w0 * x[0] - s0**2 * size)


LAYERS: Mapping[str, Layer] = {
    "siren": Layer(siren, ("w0",)),
    "finer": Layer(finer, ("w0",)),
    "finer_gaussian": Layer(finer_gaussian, ("inverse_scale", "wf")),
    "finer_wire_real": Layer(finer_wire_real, ("w0", "s0"), maps=2),
    "finer_wire_complex": Layer(finer_wire_complex, ("w0", "s0"), complex=True),
    "gaussian": Layer(gaussian, ("inverse_scale",)),
    "laplacian": Layer(laplacian, ("a",)),
    "quadratic": Layer(quadratic, ("a",)),
    "multi_quadratic": Layer(multi_quadratic, ("a",)),
    "super_gaussian": Layer(super_gaussian, ("a", "b")),
    "exp_sin": Layer(exp_sin, ("a",)),
    "hosc": Layer(hosc, ("w0",)),
    "ada_hosc": Layer(ada_hosc, ("w0",)),
    "sinc": Layer(sinc, ("w0",)),
    "sinc_plain": Layer(sinc_plain, ("w0",)),
    "wire_real": Layer(wire_real, ("w0", "s0"), maps=2),
    "wire_complex": Layer(wire_complex, ("w0", "s0"), complex=True),
    "wire_complex_2d": Layer(wire_complex, ("w0", "s0"), maps=2, complex=True),
}
assert tuple(LAYERS) == get_args(LayerName)
