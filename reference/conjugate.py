"""The conjugate kernel of a described network, in ball arithmetic: φφᵀ/h of the features φ of a named layer.

No derivative enters: the reference's forward pass, and products. What a layer's features are says `reference.seen`.
"""

from __future__ import annotations

import difflib

import numpy as np

from reference.arithmetic import FLOAT64, Arithmetic, KinkError
from reference.case import Case, InputError
from reference.expected import Expected
from reference.forward import forward
from reference.layered import Described, Layered
from reference.networks import MLP, ConvNet
from reference.oracle import MOST_BITS, ProofError, check_radii
from reference.seen import INPUT, Seen
from reference.tape import Tape


def conjugate(case: Case, layer: str | None = None, prec_bits: int = 128) -> Expected:
    """φ(x1)φ(x2)ᵀ/h with one output axis of length 1: (N1, N2, 1, 1); `layer` None means the last hidden features.

    Each entry is the float64 nearest to a number proved to be within 2⁻⁷⁰ of the true one, relative to
    √(K[n,n] K[m,m]). Raises `InputError` for a network that is not described, and for a layer that it does not have.
    """
    from reference import balls

    bits = prec_bits
    while True:
        try:
            with balls.precision(bits):
                gram = _gram(case, balls.BALLS, layer)
                check_radii(gram, f"case {case.name!r}: the conjugate kernel")
                values = np.vectorize(balls.nearest_float, otypes=[np.float64])(gram)
            return _expected(values, case, f"conjugate kernel of {layer or 'the last hidden features'}, proved")
        except (KinkError, ProofError):
            if 2 * bits > MOST_BITS:
                raise
        bits *= 2


def float64_conjugate(case: Case, layer: str | None = None) -> Expected:
    """The same in float64, for networks that are too large for a proof; raises likewise."""
    return _expected(_gram(case, FLOAT64, layer), case, "conjugate kernel by the float64 tape")


def last_features(case: Case) -> str:
    """The name of the last hidden features: what enters the last layer. Raises `InputError` where it has no name."""
    network = case.network
    if isinstance(network, MLP):
        return f"dense{network.n_layers - 1}{INPUT}"
    if isinstance(network, ConvNet):
        return f"dense{len(network.dense) - 1}{INPUT}"
    network = _described(case)
    assert isinstance(network, Layered)
    layers = network.layers
    names = [getattr(layer, "name", None) for layer in layers]
    if names[-1] is None:
        raise InputError(f"the last layer of case {case.name!r}, {layers[-1]}, has no name; say the layer, one of "
                         f"{', '.join(filter(None, names))}")
    uses = names.count(names[-1])
    return f"{names[-1]}{INPUT}" + (f"#{uses}" if uses > 1 else "")


def _described(case: Case) -> Described:
    if not isinstance(case.network, Described):
        raise InputError(f"the reference computes its own networks, not {type(case.network).__name__} "
                         f"(case {case.name!r})")
    return case.network


def _gram(case: Case, arithmetic: Arithmetic, layer: str | None) -> np.ndarray:
    """φφᵀ/h between all examples, those of x1 and then those of x2."""
    x = case.x1 if case.x2 is None else np.concatenate([case.x1, case.x2])
    name = last_features(case) if layer is None else layer
    arrays = {each: arithmetic.lift(value) for each, value in {**case.params, **case.constants}.items()}
    phi = np.array([_features(case, arithmetic, arrays, name, example) for example in x])
    return phi @ phi.T / arithmetic.number(phi.shape[1])


def _features(case: Case, arithmetic: Arithmetic, arrays: dict[str, np.ndarray], name: str,
              x: np.ndarray) -> np.ndarray:
    """φ of one example, (h,)."""
    network, tape, seen = _described(case), Tape(arithmetic), Seen()
    leaves = {each: tape.leaf(value) for each, value in arrays.items()}
    forward(network, leaves, x if network.n_tokens is not None else tape.leaf(arithmetic.lift(x)), seen)
    if name not in seen.nodes:
        near = difflib.get_close_matches(name, seen.nodes, n=3, cutoff=0.4)
        raise InputError(f"case {case.name!r} has no features {name!r}; "
                         + (f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(seen.nodes)}"))
    return seen.nodes[name].value.ravel()


def _expected(gram: np.ndarray, case: Case, source: str) -> Expected:
    n1, full = len(case.x1), gram[:, :, None, None]
    columns = slice(0, n1) if case.x2 is None else slice(n1, None)
    blocks = np.einsum("nnab->nab", full)
    return Expected(full[:n1, columns].copy(), blocks[:n1].copy(), blocks[columns].copy(), source)
