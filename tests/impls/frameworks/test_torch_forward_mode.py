"""What forward mode may not pass: results made without gradients, detached, or read as data; and its threads."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import Tensor  # noqa: E402

from impls import ntk  # noqa: E402
from impls.frameworks.torch.forward_mode import jvp  # noqa: E402
from reference import normalised, tolerance  # noqa: E402


def without_gradients(x: Tensor) -> Tensor:
    with torch.no_grad():
        return x.sin()


def switched_off(x: Tensor) -> Tensor:
    torch.set_grad_enabled(False)
    y = x.cos()
    torch.set_grad_enabled(True)
    return y


WAYS = {"no_grad": without_gradients, "detach": Tensor.detach, "data": lambda x: x.data, "switched off": switched_off}


@pytest.mark.parametrize("way", WAYS)
def test_forward_mode_passes_what_reverse_mode_passes(way: str) -> None:
    generator = torch.Generator().manual_seed(0)
    params = {"w": torch.randn(3, 4, generator=generator, dtype=torch.float64)}
    x = torch.randn(5, 3, generator=generator, dtype=torch.float64)

    def f(params: dict[str, Tensor], x: Tensor) -> Tensor:
        h = x @ params["w"]
        return torch.tanh(h) + WAYS[way](h) * h + WAYS[way](params["w"]).sum()

    due = ntk(f, x, params=params, outputs="trace", method="torch_autograd.per_example")
    kernel = ntk(f, x, params=params, outputs="trace", method="torch_func.ntk_vector_products")
    scale = due.diagonal().sqrt()
    assert normalised((kernel - due).numpy(), torch.outer(scale, scale).numpy()).max() <= tolerance("float64")
    drawn = ntk(f, x, params=params, outputs="trace", method="structured_torch.monte_carlo", proj_dim=4096)
    standard_error = (2 / 4096) ** 0.5 * torch.outer(scale, scale)
    assert ((drawn - due).abs() <= 8 * standard_error).all()


def test_threads_take_turns() -> None:
    """PyTorch's levels of forward mode are those of the process: beside another thread, `torch.func.jvp` raises."""
    x, direction = torch.linspace(-1, 1, 5), torch.ones(5)
    interval = sys.getswitchinterval()

    def derivatives(_: int) -> list[Tensor]:
        return [jvp(lambda y: y.sin().exp().sin(), (x,), (direction,))[1] for _ in range(100)]

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(3) as threads:
            found = [one for many in threads.map(derivatives, range(3)) for one in many]
    finally:
        sys.setswitchinterval(interval)
    assert all(torch.equal(one, found[0]) for one in found)
