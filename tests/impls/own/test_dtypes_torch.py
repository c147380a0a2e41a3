"""PyTorch parameters of 16 bits and of several dtypes: computed in one, said so, and left as they are."""

from __future__ import annotations

import copy
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")
from torch import Tensor, nn  # noqa: E402

from impls import ntk  # noqa: E402
from tests.naive_torch import agrees, naive  # noqa: E402

X = torch.linspace(-1, 1, 12).reshape(4, 3).sin()


class Net(nn.Module):
    """With a buffer, a frozen parameter and a BatchNorm beside its parameters."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm, self.second = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)
        self.register_buffer("shift", torch.rand(4))
        self.first.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.norm(self.first(x)) + self.shift))


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits_are_computed_in_float32(dtype: Any) -> None:
    module = Net().to(dtype)
    before = state(module)
    with pytest.warns(UserWarning, match=f"{str(dtype).removeprefix('torch.')} are computed in float32"):
        kernel = ntk(module, X)
    agrees(kernel, naive(module, lambda m, n: m(X[n : n + 1].double()), 4))
    assert all(value.dtype == before[name].dtype and torch.equal(value, before[name])
               for name, value in module.state_dict().items())
    assert module.training


def test_a_frozen_half_under_a_float32_part() -> None:
    module = nn.Sequential(Net().half().requires_grad_(False), nn.Linear(2, 3))
    with pytest.warns(UserWarning, match="computed in float32"):
        kernel = ntk(module, X)
    agrees(kernel, naive(module, lambda m, n: m(X[n : n + 1].double()), 4))


def test_mixed_parameters_are_computed_in_the_widest() -> None:
    module = Net()
    module.second.double()
    agrees(ntk(module, X.double()), naive(copy.deepcopy(module), lambda m, n: m(X[n : n + 1].double()), 4), "float64")
