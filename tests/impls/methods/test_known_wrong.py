"""Operations that torch.func is wrong on: the method refuses, "auto" takes another, and the entry is still true."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("torch", reason="the PyTorch half is not installed")

import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap

import impls
from impls import ntk
from impls.frameworks.torch.operations import operations
from impls.methods.known_wrong import KNOWN_WRONG, known_wrong
from reference.tolerances import tolerance


class Linalg(nn.Module):
    """A matrix and a vector from each example, and what is done with them."""

    def __init__(self, compute: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.matrix, self.vector, self.compute = nn.Linear(5, 16), nn.Linear(5, 4), compute

    def forward(self, x: Tensor) -> Tensor:
        A = self.matrix(x).unflatten(1, (4, 4))
        return self.compute(A @ A.mT + 2 * torch.eye(4, dtype=x.dtype), self.vector(x))


LINALG: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "solve": lambda A, b: torch.linalg.solve(A, b[..., None])[..., 0],
    "slogdet": lambda A, b: torch.linalg.slogdet(A)[1][:, None] * b,
    "det": lambda A, b: torch.linalg.det(A)[:, None] * b / 100,
    "logdet": lambda A, b: torch.logdet(A)[:, None] * b,
    "lu_solve": lambda A, b: torch.linalg.lu_solve(*torch.linalg.lu_factor(A), b[..., None])[..., 0],
    "cdist": lambda A, b: torch.cdist(A, b[:, None])[..., 0],
}


def network(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(1)
    return Linalg(LINALG[name]).double(), torch.randn(3, 5, dtype=torch.float64)


@pytest.mark.parametrize("name", LINALG)
def test_the_method_refuses_and_auto_is_right(name: str) -> None:
    module, x = network(name)
    for method in ("torch_func.jacobian_contraction", "torch_func.ntk_vector_products"):
        with pytest.raises(NotImplementedError, match=f"{method} is known to be wrong for this network: .*PyTorch 2"):
            ntk(module, x, method=method)
    right = ntk(module, x, method="torch_autograd.per_example")
    torch.testing.assert_close(ntk(module, x), right, rtol=tolerance("float64"), atol=tolerance("float64") * float(
        right.abs().max()))


@pytest.mark.parametrize("name", ["inv", "cholesky", "eigvalsh"])
def test_what_is_right_is_not_refused(name: str) -> None:
    def compute(A: Tensor, b: Tensor) -> Tensor:
        y = getattr(torch.linalg, name)(A)
        return y * b if y.ndim == 2 else (y @ b[..., None])[..., 0]

    torch.manual_seed(0)
    module, x = Linalg(compute).double(), torch.randn(2, 5, dtype=torch.float64)
    params = {key: p.detach() for key, p in module.named_parameters()}
    found = operations(lambda params, x: torch.func.functional_call(module, params, (x,)), params, x)
    assert all(known_wrong(method, found.names) is None for method in impls.names())
    assert found.matmul_flops > 0
    assert len(found) > 3


@pytest.mark.skipif(not torch.__version__.startswith("2.13"), reason="seen with this version")
@pytest.mark.parametrize("name", ["cdist"])
def test_the_entry_is_still_true(name: str) -> None:
    """Where it is not, PyTorch has mended it, and the entry may go."""
    module, x = network(name)
    params = {key: p.detach() for key, p in module.named_parameters()}

    def f(params: dict[str, Tensor], example: Tensor) -> Tensor:
        return torch.func.functional_call(module, params, (example[None],))[0]

    weight = dict(module.named_parameters())["matrix.weight"]
    mapped = vmap(jacrev(f), in_dims=(None, 0))(params, x)["matrix.weight"]
    rows = [torch.stack([torch.autograd.grad(y, weight, retain_graph=True)[0] for y in module(each)[0]])
            for each in x.split(1)]
    assert (mapped - torch.stack(rows)).abs().max() > 0.01 * mapped.abs().max()


def test_each_entry_says_why_and_since_when() -> None:
    assert all(entry.reason and entry.seen and entry.operations for entry in KNOWN_WRONG)
