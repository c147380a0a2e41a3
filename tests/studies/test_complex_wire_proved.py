"""Complex WIRE's kernel, with pairs of real parameters, enclosed in ball arithmetic.

The oracle knows no complex number. A layer from x to a₀ = exp(i w x₀ − s² x₀²), x₀ = W x + b real; a complex one,
p + iq = V a₀ + c, to a₁ = exp(−w q − s² (p² + q²)) (cos w p + i sin w p); and the output Re(U a₁ + d).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="the JAX half is not installed")
pytest.importorskip("equinox", reason="the JAX half is not installed")
pytest.importorskip("scipy", reason="the extra studies is not installed")

from impls import ntk  # noqa: E402
from impls.frameworks.arrays import to_numpy  # noqa: E402
from reference.arithmetic import FLOAT64, Arithmetic  # noqa: E402
from reference.balls import BALLS  # noqa: E402
from reference.tape import Node, Tape, add, elementwise, matmul, multiply, scale  # noqa: E402
from studies.networks import coordinates  # noqa: E402
from studies.networks.coordinates import Architecture  # noqa: E402
from tests.reference.enclosed import enclosed_kernel  # noqa: E402
from tests.studies.agreement import agree  # noqa: E402

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")

H, O, W0, S0 = 3, 2, 2.0, 0.5
_RNG = np.random.default_rng(0)
SHAPES = {"W": (H, 1), "b": (H, 1), "V_re": (H, H), "V_im": (H, H), "c_re": (H, 1), "c_im": (H, 1), "U_re": (O, H),
          "U_im": (O, H), "d_re": (O, 1), "d_im": (O, 1)}
PARAMS = {name: _RNG.integers(-32, 33, shape) / 32 for name, shape in SHAPES.items()}
X = np.array([[0.0], [0.25], [0.625], [1.0]])


def gabor(re: Node, im: Node) -> tuple[Node, Node]:
    """exp(i w z − s² |z|²) of z = re + i im, as its real and its imaginary part."""
    arithmetic = re.tape.arithmetic
    functions, number = arithmetic.functions, arithmetic.number
    size = add(multiply(re, re), multiply(im, im))
    height = elementwise(add(scale(im, number(-W0)), scale(size, number(-S0 * S0))), *functions["exp"])
    phase = scale(re, number(W0))
    cos, sin = elementwise(phase, *functions["cos"]), elementwise(phase, *arithmetic.activations["sin"])
    return multiply(height, cos), multiply(height, sin)


def outputs(p: Mapping[str, Node], x: np.ndarray) -> Node:
    tape = p["W"].tape
    minus, lift = tape.arithmetic.number(-1.0), tape.arithmetic.lift
    pre = add(matmul(p["W"], tape.leaf(lift(x[:, None]))), p["b"])
    re, im = gabor(pre, tape.leaf(lift(np.zeros((H, 1)))))
    first = add(add(matmul(p["V_re"], re), scale(matmul(p["V_im"], im), minus)), p["c_re"])
    second = add(add(matmul(p["V_re"], im), matmul(p["V_im"], re)), p["c_im"])
    re, im = gabor(first, second)
    return add(add(matmul(p["U_re"], re), scale(matmul(p["U_im"], im), minus)), p["d_re"])


def jacobian(arithmetic: Arithmetic, x: np.ndarray) -> np.ndarray:
    tape = Tape(arithmetic)
    leaves = {name: tape.leaf(arithmetic.lift(value)) for name, value in PARAMS.items()}
    y, ones = outputs(leaves, x), arithmetic.lift(np.eye(O))
    return np.stack([np.concatenate([g.ravel() for g in tape.gradients(y, one[:, None], list(leaves.values()))])
                     for one in ones])


def enclosed() -> np.ndarray:
    """(N, N, O, O); every radius is below the oracle's limit."""
    return enclosed_kernel(partial(jacobian, BALLS), X)


def test_the_tape_in_float64_agrees_with_the_balls() -> None:
    rows = np.stack([jacobian(FLOAT64, x) for x in X]).astype(float)
    agree(np.einsum("nap,mbp->nmab", rows, rows), enclosed())


@pytest.mark.parametrize("method", ["structured_jax", "equinox.exact"])
def test_the_layer_type_is_held_to_the_proof(method: str) -> None:
    of = Architecture("wire_complex", H, 2, 1, O)
    p = {name: value[:, 0] if value.shape[1] == 1 and name != "W" else value for name, value in PARAMS.items()}
    params = {"layers": [{"weights": [p["W"]], "biases": [p["b"]]},
                         {"weights": [p["V_re"] + 1j * p["V_im"]], "biases": [p["c_re"] + 1j * p["c_im"]]}],
              "output": {"weight": p["U_re"] + 1j * p["U_im"], "bias": p["d_re"] + 1j * p["d_im"]}}
    with jax.enable_x64(True):
        frozen = {"frequencies": np.zeros(0), "activation": {"w0": W0, "s0": S0}}
        found = ntk(lambda some, x: coordinates.outputs(of, some, frozen, x), jax.numpy.asarray(X), params=params,
                    method=method)
    agree(to_numpy(found), enclosed())
