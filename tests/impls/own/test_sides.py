"""Kernels between two sets of parameters and two functions, of pairs of examples, and of examples of unlike lengths."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")
jax = pytest.importorskip("jax", reason="the JAX half is not installed")
import jax.numpy as jnp  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from impls import ntk  # noqa: E402
from reference import InputError  # noqa: E402
from tests.naive_torch import agrees, jacobian  # noqa: E402

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")

OUTPUTS = {"full": "nap,mbp->nmab", "diagonal": "nap,map->nma", "trace": "nap,map->nm"}
PAIRS = {"full": "nap,nbp->nab", "diagonal": "nap,nap->na", "trace": "nap,nap->n"}


def net(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))


X1, X2 = torch.linspace(-1, 1, 15).reshape(5, 3).sin(), torch.linspace(-2, 1, 12).reshape(4, 3).cos()


def rows(module: nn.Module, x: Tensor) -> dict[str, Tensor]:
    return jacobian(module, lambda m, n: m(x[n : n + 1].double()), len(x))


def contracted(one: dict[str, Tensor], other: dict[str, Tensor], how: str) -> np.ndarray:
    return sum(torch.einsum(how, one[name], other[name]) for name in one).numpy()  # pyright: ignore


@pytest.mark.parametrize("batch_size", [None, 2])
@pytest.mark.parametrize("outputs", OUTPUTS)
def test_two_sets_of_parameters(outputs: Any, batch_size: int | None) -> None:
    one, other = net(0), net(1)
    due = contracted(rows(one, X1), rows(other, X2), OUTPUTS[outputs])
    agrees(ntk(one, X1, X2, params2=other, outputs=outputs, batch_size=batch_size), due)
    agrees(ntk(one, X1, X2, params2=other.state_dict(), outputs=outputs, memory_limit=2000), due)
    same = contracted(rows(one, X1), rows(other, X1), OUTPUTS[outputs])
    agrees(ntk(one, X1, params2=other, outputs=outputs, batch_size=batch_size), same)


def test_running_statistics_come_with_the_second_parameters() -> None:
    norm: Any = nn.BatchNorm1d(2)
    one = nn.Sequential(net(0), norm).eval()
    norm = copy.deepcopy(norm)
    norm.running_mean += 1.0
    norm.weight.data *= 2
    other = nn.Sequential(one[0], norm).eval()
    due = contracted(rows(one, X1), rows(other, X1), OUTPUTS["full"])
    agrees(ntk(one, X1, params2=other.state_dict()), due)


class Residual(nn.Module):
    """∂u/∂x of a network that it holds, as in a PINN."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        u = lambda point: self.inner(point)[0]  # noqa: E731
        return torch.func.vmap(torch.func.jacrev(u))(x)


def test_two_functions_of_one_network() -> None:
    inner = net(0)
    residual = Residual(inner)
    parts = rows(residual, X2)
    due = contracted(rows(inner, X1), {name.removeprefix("inner."): part for name, part in parts.items()},
                     OUTPUTS["full"])
    agrees(ntk(inner, X1, X2, model2=residual), due)
    with pytest.raises(InputError, match="2 and 3; outputs='diagonal' and 'trace' need as many"):
        ntk(inner, X1, X2, model2=residual, outputs="trace")


@pytest.mark.parametrize("outputs", PAIRS)
def test_pairs(outputs: Any) -> None:
    module = net(0)
    first, second = rows(module, X1), rows(module, X2)
    agrees(ntk(module, X1, pairs="same", outputs=outputs), contracted(first, first, PAIRS[outputs]))
    some = {name: part[:4] for name, part in first.items()}
    agrees(ntk(module, X1[:4], X2, pairs="same", outputs=outputs, batch_size=3),
           contracted(some, second, PAIRS[outputs]))
    parts = ntk(module, X1, pairs="same", outputs=outputs, components=True)
    agrees(sum(parts.values()), contracted(first, first, PAIRS[outputs]))


def test_what_has_no_kernel_is_told() -> None:
    module = net(0)
    with pytest.raises(InputError, match="as many examples in x2 as in x1, got 5 and 4"):
        ntk(module, X1, X2, pairs="same")
    with pytest.raises(InputError, match="pairs='all' is not one of"):
        ntk(module, X1, pairs="all")  # pyright: ignore
    with pytest.raises(InputError, match=r"Jacobians of two examples take \d+ bytes"):
        ntk(module, X1, pairs="same", memory_limit=1)
    with pytest.raises(InputError, match="choose one of auto"):
        ntk(module, X1, pairs="same", method="structured_torch")
    wider = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2))
    with pytest.raises(InputError, match=r"'0\.weight' has the shape"):
        ntk(module, X1, params2=wider)
    with pytest.raises(InputError, match="share no parameter"):
        ntk(module, X1, model2=Residual(net(1)))
    longer = nn.Sequential(*net(1).children(), nn.Linear(2, 2))
    with pytest.warns(UserWarning, match=r"contribute nothing: 3.weight, 3.bias"):
        ntk(module, X1, params2=longer)


class Summed(nn.Module):
    """Of sequences of any length (N, T, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = net(3)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        y = self.body(x)
        return (y if mask is None else y * mask[..., None]).sum(1)


def test_examples_of_unlike_lengths() -> None:
    module, x = Summed(), [torch.randn(2, 4, 3), torch.randn(1, 7, 3), torch.randn(3, 2, 3)]
    each = [row for batch in x for row in batch]
    parts = jacobian(module, lambda m, n: m(each[n][None].double()), 6)
    agrees(ntk(module, x), contracted(parts, parts, OUTPUTS["full"]))
    agrees(ntk(module, x, outputs="trace", batch_size=1), contracted(parts, parts, OUTPUTS["trace"]))
    agrees(ntk(module, x, pairs="same"), contracted(parts, parts, PAIRS["full"]))
    other = {name: part[:2] for name, part in parts.items()}
    agrees(ntk(module, x, x[0]), contracted(parts, other, OUTPUTS["full"]))
    masks = [torch.ones(batch.shape[:2]) for batch in x]
    agrees(ntk(module, [(batch, mask) for batch, mask in zip(x, masks, strict=True)]),
           contracted(parts, parts, OUTPUTS["full"]))


def test_a_recurrent_network_has_no_vmap() -> None:
    torch.manual_seed(0)
    module = nn.GRU(3, 2, batch_first=True)
    x = torch.randn(3, 4, 3)
    parts = jacobian(module, lambda m, n: m(x[n : n + 1].double())[0], 3)
    agrees(ntk(module, x, pairs="same", select=0), contracted(parts, parts, PAIRS["full"]))


def f(params: Any, x: Any) -> Any:
    return jnp.tanh(x @ params["w"] + params["b"])


def g(params: Any, x: Any) -> Any:
    return jax.vmap(jax.jacfwd(lambda point: f(params, point[None])[0, 0]))(x)


def test_jax() -> None:
    keys = jax.random.split(jax.random.key(0), 4)
    one = {"w": jax.random.normal(keys[0], (3, 2)), "b": jax.random.normal(keys[1], (2,))}
    other = {"w": jax.random.normal(keys[2], (3, 2)), "b": jax.random.normal(keys[3], (2,))}
    x1, x2 = jnp.asarray(X1.numpy()), jnp.asarray(X2.numpy())

    def of(function: Any, params: Any, x: Any) -> Any:
        found = jax.jacrev(lambda p: function(p, x))(params)
        return jnp.concatenate([found[name].reshape(len(x), -1, params[name].size) for name in ("b", "w")], 2)

    agrees(ntk(f, x1, x2, params=one, params2=other), np.einsum(OUTPUTS["full"], of(f, one, x1), of(f, other, x2)))
    agrees(ntk(f, x1, x2, params=one, model2=g, batch_size=2),
           np.einsum(OUTPUTS["full"], of(f, one, x1), of(g, one, x2)))
    agrees(ntk(f, x1[:4], x2, params=one, pairs="same", outputs="trace"),
           np.einsum(PAIRS["trace"], of(f, one, x1[:4]), of(f, one, x2)))
    lengths = [jnp.ones((2, 4, 3)), jnp.linspace(0, 1, 6).reshape(1, 2, 3)]
    assert ntk(lambda p, x: f(p, x).sum(1), lengths, params=one).shape == (3, 3, 2, 2)
