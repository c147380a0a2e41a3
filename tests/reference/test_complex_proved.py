"""Complex parameters and outputs as pairs of real ones: a spectral network's kernel, enclosed in ball arithmetic.

f(x) = V a, a = z/√(1 + |z|²), z = w ⊙ F x + c with the discrete Fourier transform F of four numbers, whose entries are
exact. The oracle knows no complex number: it is given real and imaginary parts, and multiplies them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")

from torch import Tensor, nn  # noqa: E402

from impls import ntk  # noqa: E402
from reference.arithmetic import FLOAT64, Arithmetic  # noqa: E402
from reference.balls import BALLS  # noqa: E402
from reference.tape import Node, Tape, add, concatenate, elementwise, gather, matmul, multiply, reshape, scale  # noqa: E402
from tests.naive_torch import agrees, naive  # noqa: E402
from tests.reference.enclosed import enclosed_kernel  # noqa: E402

T, O = 4, 3
FOURIER = np.round(np.fft.fft(np.eye(T)))
_RNG = np.random.default_rng(0)
PARAMS = {name: _RNG.integers(-32, 33, shape) / 32 + 1j * _RNG.integers(-32, 33, shape) / 32
          for name, shape in {"w": (T,), "c": (T,), "V": (O, T)}.items()}
X = _RNG.integers(-32, 33, (5, T)) / 16


class Pair:
    """A complex array on the tape."""

    def __init__(self, re: Node, im: Node) -> None:
        self.re, self.im = re, im

    def product(self, other: Pair, times=multiply) -> Pair:
        minus = scale(times(self.im, other.im), self.im.tape.arithmetic.number(-1.0))
        return Pair(add(times(self.re, other.re), minus), add(times(self.re, other.im), times(self.im, other.re)))


def pair(leaf: Node) -> Pair:
    """Of an array whose last axis is (re, im); a vector as a column."""
    shape = leaf.value.shape[:-1] if leaf.value.ndim > 2 else (leaf.value.shape[0], 1)
    places = 2 * np.arange(int(np.prod(shape))).reshape(shape)
    return Pair(gather(leaf, places), gather(leaf, places + 1))


def outputs(leaves: Mapping[str, Node], x: np.ndarray) -> Node:
    tape = leaves["w"].tape
    lift, functions = tape.arithmetic.lift, tape.arithmetic.functions
    column = Pair(tape.leaf(lift(x[:, None])), tape.leaf(lift(np.zeros((T, 1)))))
    spectrum = Pair(tape.leaf(lift(FOURIER.real)), tape.leaf(lift(FOURIER.imag))).product(column, matmul)
    z = pair(leaves["w"]).product(spectrum)
    z = Pair(add(z.re, pair(leaves["c"]).re), add(z.im, pair(leaves["c"]).im))
    size = add(add(multiply(z.re, z.re), multiply(z.im, z.im)), tape.leaf(lift(np.ones((1, 1)))))
    factor = elementwise(elementwise(size, *functions["sqrt"]), *functions["reciprocal"])
    y = pair(leaves["V"]).product(Pair(multiply(z.re, factor), multiply(z.im, factor)), matmul)
    return reshape(concatenate([y.re, y.im], axis=1), (2 * O, 1))


def jacobian(arithmetic: Arithmetic, x: np.ndarray) -> np.ndarray:
    tape = Tape(arithmetic)
    leaves = {name: tape.leaf(arithmetic.lift(np.stack([p.real, p.imag], -1))) for name, p in PARAMS.items()}
    y, ones = outputs(leaves, x), arithmetic.lift(np.eye(2 * O))
    return np.stack([np.concatenate([g.ravel() for g in tape.gradients(y, one[:, None], list(leaves.values()))])
                     for one in ones])


def enclosed() -> np.ndarray:
    """(N, N, 2O, 2O); every radius is below the oracle's limit."""
    return enclosed_kernel(partial(jacobian, BALLS), X)


class Spectral(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w, self.c, self.V = (nn.Parameter(torch.tensor(PARAMS[name])) for name in ("w", "c", "V"))

    def forward(self, x: Tensor) -> Tensor:
        z = self.w * torch.fft.fft(x) + self.c
        return (z / torch.sqrt(1 + z.abs() ** 2)) @ self.V.T


def test_the_tape_in_float64_agrees_with_the_balls() -> None:
    rows = np.stack([jacobian(FLOAT64, x) for x in X])
    agrees(np.einsum("nap,mbp->nmab", rows, rows), enclosed(), "float64")


@pytest.mark.parametrize("method", ["auto", "structured_torch", "torch_func.jacobian_contraction",
                                    "torch_autograd.per_example"])
def test_pytorch_is_held_to_the_proof(method: str) -> None:
    agrees(ntk(Spectral(), torch.tensor(X), method=method), enclosed(), "float64")


def test_components_and_pairs_of_outputs() -> None:
    parts = ntk(Spectral(), torch.tensor(X), components=True, outputs="diagonal")
    assert set(parts) == {"w", "c", "V"}
    agrees(sum(parts.values()), np.einsum("nmaa->nma", enclosed()), "float64")
    agrees(ntk(Spectral(), torch.tensor(X), pairs="same"), np.einsum("nnab->nab", enclosed()), "float64")


class Recurrence(nn.Module):
    """A linear recurrent unit: h_t = λ ⊙ h_{t−1} + B x_t, |λ| < 1, y = Re(C h_T) + D x_T (Orvieto et al. 2023)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.nu, self.theta = nn.Parameter(torch.rand(4)), nn.Parameter(torch.rand(4))
        self.B, self.C = (nn.Parameter(torch.randn(*shape, dtype=torch.cfloat)) for shape in ((4, 3), (2, 4)))
        self.D = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        decay = torch.exp(torch.complex(-torch.exp(self.nu), self.theta))
        h = torch.zeros(len(x), 4, dtype=decay.dtype)
        for t in range(x.shape[1]):
            h = decay * h + x[:, t].to(decay.dtype) @ self.B.T
        return (h @ self.C.T).real + self.D(x[:, -1])


class Unitary(nn.Module):
    """A unitary recurrence by a Cayley transform of a skew-Hermitian matrix, with modReLU."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.A, self.U = (nn.Parameter(torch.randn(*shape, dtype=torch.cfloat) / 2) for shape in ((3, 3), (3, 2)))
        self.b, self.out = nn.Parameter(torch.randn(3) / 4), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        skew = self.A - self.A.conj().T
        h = torch.ones(len(x), 3, dtype=skew.dtype) / 2
        for t in range(x.shape[1]):
            z = h + h @ skew / 4 + x[:, t].to(skew.dtype) @ self.U.T
            h = z * torch.relu(z.abs() + self.b) / (z.abs() + 1e-3)
        return self.out(torch.view_as_real(h).flatten(1))


class Fno2d(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.lift, self.local, self.project = nn.Conv2d(1, 3, 1), nn.Conv2d(3, 3, 1), nn.Conv2d(3, 1, 1)
        self.weights = nn.Parameter(torch.randn(3, 3, 2, 2, dtype=torch.cfloat) / 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.lift(x)
        modes = torch.fft.rfft2(h)
        kept = torch.zeros_like(modes)
        kept[..., :2, :2] = torch.einsum("bixy,ioxy->boxy", modes[..., :2, :2], self.weights)
        return self.project(torch.nn.functional.gelu(torch.fft.irfft2(kept, s=h.shape[-2:]) + self.local(h)))


class Wire(nn.Module):
    """A complex Gabor wavelet exp(iωz − |sz|²) after a complex layer (Saragadam et al. 2023)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first = nn.Linear(2, 4)
        self.second = nn.Linear(4, 3, dtype=torch.cfloat)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return self.second(torch.exp(torch.complex(-h.square(), 3 * h))).real


class ComplexOutput(nn.Module):
    """Of complex inputs, conjugated."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.layer = nn.Linear(3, 2, dtype=torch.cfloat)

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.layer(z)).conj()


NETWORKS = {"linear recurrent unit": (Recurrence, (3, 4, 3)), "unitary": (Unitary, (3, 4, 2)),
            "FNO in two dimensions": (Fno2d, (2, 1, 4, 4)), "WIRE": (Wire, (4, 2)),
            "complex inputs": (ComplexOutput, (4, 3))}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_with_complex_parameters(name: str) -> None:
    make, shape = NETWORKS[name]
    module, dtype = make(), torch.cfloat if name == "complex inputs" else torch.float32
    torch.manual_seed(5)
    x = torch.randn(shape, dtype=dtype)
    wide = torch.complex128 if dtype.is_complex else torch.float64
    agrees(ntk(module, x), naive(module, lambda m, n: m(x[n : n + 1].to(wide)), len(x)))


def test_jax_is_held_to_the_proof() -> None:
    jax = pytest.importorskip("jax", reason="the JAX half is not installed")
    jnp = jax.numpy

    def f(params, x):
        z = params["w"] * jnp.fft.fft(x) + params["c"]
        return (z / jnp.sqrt(1 + z.real**2 + z.imag**2)) @ params["V"].T

    def parts(params, x):
        y = f(params, x)
        return jnp.stack([y.real, y.imag], -1)

    with jax.enable_x64(True):
        params = {name: jnp.asarray(p) for name, p in PARAMS.items()}
        agrees(ntk(f, jnp.asarray(X), params=params), enclosed(), "float64")
        agrees(ntk(parts, jnp.asarray(X), params=params, pairs="same"), np.einsum("nnab->nab", enclosed()), "float64")
