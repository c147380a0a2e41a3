"""What `structured_torch` makes of parts of an activation, of activation functions, and of large pairs of examples."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reference import Request
from reference.tolerances import tolerance

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from torch import Tensor  # noqa: E402

import impls  # noqa: E402
from impls.methods.structured_torch import METHODS  # noqa: E402
from impls.programs.torch.trace import trace  # noqa: E402
from impls.structured.torch import contract as torch_contract  # noqa: E402
from impls.structured.torch.pointwise import FUNCTIONS  # noqa: E402

F = torch.nn.functional


def _changed_in_between(h: Tensor) -> Tensor:
    before = h[:, 1] * 1
    h[:, 1] += h[:, 0]
    return before * h[:, 1] + h[:, 0] * h[:, 2]


PARTS: dict[str, tuple[Callable[[Tensor], Tensor], dict[str, int]]] = {
    "all, by number": (lambda h: h[:, 2] * h[:, 0] + h[:, 1] ** 2, {"unbind": 1}),
    "some, by number": (lambda h: h[:, -1] * h[:, 0], {"unbind": 1}),
    "twice the same": (lambda h: h[:, 0] * h[:, 0] ** 2, {"select": 2}),
    "slices with gaps": (lambda h: h[..., 1:3] * h[..., 4:6], {"split_with_sizes": 1}),
    "slices that overlap": (lambda h: h[..., 0:3] * h[..., 2:5], {"slice": 2}),
    "every other": (lambda h: h[..., ::2] * h[..., 1::2], {"slice": 2}),
    "two axes": (lambda h: h[:, 0].sum(-1) * h[:, 1].sum(-1) + (h[..., :2] * h[..., 2:4]).sum((-2, -1)),
                 {"unbind": 1, "split_with_sizes": 1}),
    "changed in between": (lambda h: _changed_in_between(h + 0), {}),
}  # fmt: skip

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu, "tanh gelu": lambda h: F.gelu(h, approximate="tanh"), "silu": F.silu, "elu": F.elu, "selu": F.selu,
    "celu": lambda h: F.celu(h, 0.7), "softplus": lambda h: F.softplus(h, 2.0, 1.0), "mish": F.mish,
    "hardswish": F.hardswish, "hardsigmoid": F.hardsigmoid, "hardtanh": lambda h: F.hardtanh(h, -0.4, 0.3),
    "leaky_relu": lambda h: F.leaky_relu(h, 0.3),
}  # fmt: skip


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _close(got: Tensor, wanted: Tensor) -> None:
    assert got.shape == wanted.shape
    assert (got - wanted).abs().max() <= tolerance("float64") * wanted.abs().max()


def _agrees(f: Callable[[dict[str, Tensor], Tensor], Tensor], params: dict[str, Tensor]) -> None:
    x1, x2, request = _random(3, 4, seed=1), _random(2, 4, seed=2), Request(dtype="float64")
    peer = impls.load("torch_func.jacobian_contraction")
    wanted = peer.kernel(f, params, x1, x2, request)  # type: ignore[attr-defined]
    got = METHODS[0].kernel(f, params, x1, x2, request)
    _close(got, wanted)


@pytest.mark.parametrize("name", PARTS)
def test_parts(name: str) -> None:
    taken, expected = PARTS[name]

    def f(params: dict[str, Tensor], x: Tensor) -> Tensor:
        return taken((x @ params["w"]).tanh().reshape(-1, 3, 6)).reshape(len(x), -1)

    params = {"w": _random(4, 18)}
    names = [step.name for step in trace(f, params, _random(4)).steps]
    assert {name: names.count(name) for name in expected} == expected
    _agrees(f, params)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivative_taken_once(name: str) -> None:
    def f(params: dict[str, Tensor], x: Tensor) -> Tensor:
        return ACTIVATIONS[name](x @ params["w"] + params["b"]) @ params["v"]

    params = {"w": _random(4, 5), "b": _random(5, seed=3), "v": _random(5, 3, seed=4)}
    assert any(step.name in FUNCTIONS for step in trace(f, params, _random(4)).steps)
    _agrees(f, params)


@pytest.mark.parametrize("turned", [False, True])
def test_half_of_large_pairs(turned: bool) -> None:
    gram = _random(2, 3, 5, 4, 5)
    g, g2 = ((_random(3, n, 2, 7, 5).mT if turned else _random(3, n, 2, 5, 7)) for n in (3, 4))
    _close(torch_contract._half(gram, g, g2, pair_flops=0), torch_contract._half(gram, g, g2, pair_flops=1 << 20))
