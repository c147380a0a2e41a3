"""PyTorch's own backward passes of normalisations: wrong for some layouts of the cotangent, mended for our methods."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")

from torch import Tensor, nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import impls  # noqa: E402
from impls.frameworks.arrays import to_numpy  # noqa: E402
from impls.frameworks.torch.cotangents import ContiguousCotangents  # noqa: E402
from reference import compare  # noqa: E402
from tests.naive_kernels import from_jacobians  # noqa: E402

NORMALISATIONS: dict[str, Any] = {
    "batch": lambda: nn.BatchNorm2d(8), "batch without weights": lambda: nn.BatchNorm2d(8, affine=False),
    "batch in 3d": lambda: nn.BatchNorm3d(8), "instance": lambda: nn.InstanceNorm2d(8, affine=True),
    "instance with statistics": lambda: nn.InstanceNorm2d(8, affine=True, track_running_stats=True),
    "group": lambda: nn.GroupNorm(2, 8), "layer": lambda: nn.LayerNorm([4, 3]),
}  # fmt: skip


def _gradients(layer: nn.Module, x: Tensor, cotangent: Tensor) -> Tensor:
    grads = torch.autograd.grad(layer(x), [x, *layer.parameters()], cotangent, allow_unused=True)
    return torch.cat([g.flatten() for g in grads if g is not None])


def _worst(layer: nn.Module, n: int) -> bool:
    """Whether the gradients are the same for every order in which the cotangent lies in memory."""
    shape = (n, 8, 2, 4, 3) if isinstance(layer, nn.BatchNorm3d) else (n, 8, 4, 3)
    x, cotangent = torch.randn(shape, dtype=torch.float64).requires_grad_(), torch.randn(shape, dtype=torch.float64)
    right = _gradients(layer, x, cotangent)
    orders = ((order, [order.index(i) for i in range(len(shape))]) for order in permutations(range(len(shape))))
    return all(torch.allclose(_gradients(layer, x, cotangent.permute(order).contiguous().permute(back)), right)
               for order, back in orders)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("name", NORMALISATIONS)
def test_layouts_of_cotangents_do_not_matter(name: str, n: int) -> None:
    torch.manual_seed(0)
    layer = NORMALISATIONS[name]().double().eval()
    with ContiguousCotangents():
        assert _worst(layer, n)


def test_pytorch_is_still_wrong_by_itself() -> None:
    """Where this fails, PyTorch has been mended, and `ContiguousCotangents` can go."""
    torch.manual_seed(0)
    assert not _worst(nn.BatchNorm2d(8).double().eval(), 1)
    assert not _worst(nn.InstanceNorm2d(8, affine=True).double().eval(), 2)


class Stem(nn.Module):
    """The stem of a vision transformer. `reads`: it reads a number, so that no engine writes it down."""

    def __init__(self, norm: nn.Module, *, reads: bool) -> None:
        super().__init__()
        self.conv, self.norm, self.head, self.reads = nn.Conv2d(3, 8, 3, 2, 1), norm, nn.Linear(8, 2), reads

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(torch.tanh(self.norm(self.conv(x)).flatten(2).transpose(1, 2)).mean(1))
        return y * 2.0 if self.reads and float(y.detach().abs().sum()) > 1e9 else y


def _by_differences(model: nn.Module, x: Tensor) -> Tensor:
    """J of every example, (N, O, P), by central differences."""
    columns = []
    with torch.no_grad():
        for p in (p.view(-1) for p in model.parameters()):
            for i in range(len(p)):
                p[i] += 1e-6
                above = model(x)
                p[i] -= 2e-6
                columns.append((above - model(x)) / 2e-6)
                p[i] += 1e-6
    return torch.stack(columns, -1)


@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_a_stem_of_a_vision_transformer(norm: str, reads: bool) -> None:
    torch.manual_seed(0)
    model, x = Stem(NORMALISATIONS[norm](), reads=reads).double().eval(), torch.randn(3, 3, 8, 8, dtype=torch.float64)
    rows = to_numpy(_by_differences(model, x))  # in float64, good to 1e-9
    truth, model = from_jacobians(rows, rows), model.float()
    for method in ("auto", "structured_torch", "torch_autograd.per_example"):
        kernel = to_numpy(impls.ntk(model, x, method=method))
        result = compare(kernel, truth, outputs="full", dtype="float32", symmetric=True)
        assert result.ok, f"{method}: {result.reason}"


class CheckpointedStem(Stem):
    """Whose backward pass runs the stem again, in a backward pass of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(super().forward, x, use_reentrant=True)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_whoever_goes_back_through_a_stem(norm: str) -> None:
    """The network run again, and `ntk_fn` from single examples, each with a backward pass of its own."""
    torch.manual_seed(0)
    model, x = Stem(NORMALISATIONS[norm](), reads=False).double().eval(), torch.randn(3, 3, 8, 8, dtype=torch.float64)
    rows = to_numpy(_by_differences(model, x))
    again = CheckpointedStem(model.norm, reads=False).double().eval()
    again.load_state_dict(model.state_dict())
    kernels = {"run again": impls.ntk(again.float(), x.float())}
    kernel = impls.ntk_fn(model.float(), method="torch_autograd.per_example")
    kernels["ntk_fn"] = kernel(kernel.params, x.float())
    for way, found in kernels.items():
        result = compare(to_numpy(found.detach()), from_jacobians(rows, rows), outputs="full", dtype="float32",
                         symmetric=True)
        assert result.ok, f"{way}: {result.reason}"
