"""Networks and inputs as people have them, which were refused, changed or lost something: one small of each kind."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from impls import ntk, ntk_fn, ntk_operator
from reference import InputError
from reference.tolerances import tolerance

METHODS = ("auto", "structured_torch", "torch_autograd.per_example")
TOKENS = torch.tensor([[0, 1, 2, 1], [3, 4, 5, 3], [2, 1, 0, 0]])


def _x() -> Tensor:
    return torch.tensor(np.random.default_rng(0).standard_normal((3, 4)))


def _due(module: nn.Module, examples: Any, named: Any = None) -> np.ndarray:
    """By `Tensor.backward`, in place, as in training: the trace kernel of the parameters that `named` says."""
    rows = []
    for example in examples:
        y = module(example.clone()[None]).reshape(-1)
        for output in y:
            module.zero_grad()
            if output.requires_grad:
                output.backward(retain_graph=True)
            gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for name, p in module.named_parameters()
                         if named is None or name in named]
            rows.append(torch.cat([g.to_dense().flatten() for g in gradients]).numpy())
    module.zero_grad()
    jacobian = np.stack(rows).reshape(len(examples), -1, rows[0].size)
    return np.einsum("nap,map->nm", jacobian, jacobian)


def _agree(found: Tensor, due: np.ndarray) -> None:
    scale = np.sqrt(np.outer(due.diagonal(), due.diagonal()))
    assert np.abs(found.detach().numpy() - due).max() <= tolerance("float64") * scale.max()


class _Embeds(nn.Module):
    def __init__(self, embedding: nn.Module) -> None:
        super().__init__()
        self.e, self.o = embedding, nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.e(x)
        return self.o(torch.tanh(h.sum(1) if h.ndim == 3 else h))


@pytest.mark.parametrize("embedding", [
    lambda: nn.Embedding(6, 3, sparse=True), lambda: nn.EmbeddingBag(6, 3, mode="sum", sparse=True),
    lambda: nn.Embedding(6, 3, sparse=True, max_norm=1.0),
], ids=["embedding", "bag", "max_norm"])  # fmt: skip
def test_sparse_gradients(embedding: Any) -> None:
    torch.manual_seed(0)
    module = _Embeds(embedding()).double()
    due = _due(module, TOKENS)
    for method in (*METHODS, *(() if getattr(module.e, "max_norm", None) else ("torch_func.jacobian_contraction",))):
        _agree(ntk(module, TOKENS, outputs="trace", method=method), due)


def test_what_is_scaled_on_the_way_back_alone_has_no_forward_mode() -> None:
    module = _Embeds(nn.Embedding(6, 3, scale_grad_by_freq=True)).double()
    due = _due(module, TOKENS)
    for method in (*METHODS, "torch_func.jacobian_contraction"):
        _agree(ntk(module, TOKENS, outputs="trace", method=method), due)
    with pytest.raises(NotImplementedError, match="scale_grad_by_freq"):
        ntk(module, TOKENS, method="torch_func.ntk_vector_products")


class _WritesForSome(nn.Module):
    """Into a buffer, for examples of large sum."""

    largest: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.o = nn.Linear(4, 2)
        self.register_buffer("largest", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 9:
            self.largest.add_(1)
        return self.o(x.double())


@pytest.mark.parametrize("method", METHODS)
def test_what_is_written_for_other_examples_than_the_first_is_put_back(method: str) -> None:
    embedding = nn.Embedding(6, 3, max_norm=1.0)
    with torch.no_grad():
        embedding.weight[:3] *= 0.01  # those of the first and last example
        embedding.weight[3:] += 9
    embeds = _Embeds(embedding).double()
    for module in (embeds, _WritesForSome().double()):
        before = {name: value.clone() for name, value in module.state_dict().items()}
        ntk(module, TOKENS, method=method)
        assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


class _Reentrant(nn.Module):
    """One checkpoint in another, of an input that is asked for gradients."""

    def __init__(self, asks: bool) -> None:
        super().__init__()
        self.a, self.b, self.o, self.asks = nn.Linear(4, 3), nn.Linear(3, 3), nn.Linear(3, 2), asks
        self.z = nn.Identity() if asks else nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Any:
        def outer(h: Tensor) -> Any:
            return checkpoint(lambda h: torch.tanh(self.b(h)), torch.tanh(self.a(h)), use_reentrant=True)

        return self.o(checkpoint(outer, self.z(x.requires_grad_() if self.asks else x), use_reentrant=True))


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("asks", [True, False])
def test_reentrant_checkpoints_of_each_other(asks: bool) -> None:
    module, x = _Reentrant(asks).double(), _x()
    due = _due(module, x)
    for method in METHODS:
        _agree(ntk(module, x, outputs="trace", method=method), due)


class _Adapts(nn.Module):
    """Differentiates with respect to its own weight."""

    def __init__(self) -> None:
        super().__init__()
        self.o = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        gradient = torch.autograd.grad(self.o(torch.ones_like(x[:1])).square().sum(), self.o.weight,
                                       create_graph=True)[0]
        return nn.functional.linear(x, self.o.weight - 0.1 * gradient, self.o.bias)


class _OneOfTwo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([(self.a if row.sum() > 0 else self.b)(row[None]) for row in x])


@pytest.mark.parametrize(("module", "name"), [(_Adapts(), "o.bias"), (_OneOfTwo(), "a.bias"), (_OneOfTwo(), "b.bias")])
def test_where_leaves_out_what_the_network_itself_differentiates_with(module: nn.Module, name: str) -> None:
    module, x = module.double(), _x()
    due = _due(module, x, named=(name,))
    for method in METHODS:
        _agree(ntk(module, x, outputs="trace", where=name, method=method), due)


def test_a_network_that_differentiates_with_its_parameters() -> None:
    module, x = _Adapts().double(), _x()
    operator = ntk_operator(module, x, outputs="trace")
    _agree(torch.as_tensor(operator @ np.eye(3)), _due(module, x))
    _agree(ntk(module, x, outputs="trace", method="torch_func.jacobian_contraction"), _due(module, x))
    with pytest.raises(NotImplementedError, match=r"torch\.func cannot"):
        ntk(module, x, method="torch_func.ntk_vector_products")


def test_ntk_fn_loops_where_torch_func_cannot_map() -> None:
    module, x = nn.Sequential(nn.LSTM(4, 3, batch_first=True), _Last()).double(), _x()[:, None]
    _agree(ntk_fn(module, outputs="trace")(dict(module.named_parameters()), x), _due(module, x))
    with pytest.raises(NotImplementedError, match="per_example"):
        ntk_fn(module, method="torch_func.jacobian_contraction")(dict(module.named_parameters()), x)
    with pytest.raises(InputError, match=r"x1 must be a tensor, got dict; .* impls\.ntk"):
        ntk_fn(module)(dict(module.named_parameters()), {"x": x})


class _Last(nn.Module):
    def forward(self, found: Any) -> Tensor:
        return found[0][:, -1]


def test_ntk_fn_leaves_its_examples() -> None:
    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.o = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            x += 1
            return self.o(x)

    module, x = Writes().double(), _x()
    kernel, before = ntk_fn(module, outputs="trace"), x.clone()
    kernel(kernel.params, x)
    assert torch.equal(x, before)


class _Pair(NamedTuple):
    x: Tensor
    scale: Tensor


class _Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.o = nn.Linear(4, 2)

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        return self.o(x) if scale is None else self.o(x) * scale[:, None]


def test_a_named_tuple_of_the_networks_arguments() -> None:
    module, x, scale = _Scaled().double(), _x(), torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    due = ntk(module, (x, scale))
    torch.testing.assert_close(ntk(module, _Pair(x, scale)), due)
    torch.testing.assert_close(ntk(module, DataLoader([_Pair(a, b) for a, b in zip(x, scale, strict=True)],  # pyright: ignore[reportArgumentType]
                                                      batch_size=2)), due)


@pytest.mark.parametrize("generator", [None, torch.Generator()])
def test_a_data_loader_leaves_the_generators(generator: torch.Generator | None) -> None:
    loader = DataLoader(TensorDataset(_x()), batch_size=2, generator=generator)
    module, generators = nn.Linear(4, 2).double(), [torch.default_generator, *([generator] if generator else [])]
    before = [each.get_state() for each in generators]
    for x2 in (None, loader):
        ntk(module, loader, x2)
    assert all(torch.equal(state, each.get_state()) for state, each in zip(before, generators, strict=True))
    shuffled = DataLoader(TensorDataset(torch.arange(64.0)[:, None]), batch_size=4, shuffle=True)
    with pytest.raises(InputError, match="shuffle"):
        ntk(nn.Linear(1, 1), shuffled)


def test_no_examples_and_single_examples() -> None:
    with pytest.raises(InputError, match="x1 is None; give"):
        ntk(nn.Linear(4, 2), None)
    with pytest.raises(InputError, match=r"TensorDataset.*DataLoader\(x1"):
        ntk(nn.Linear(4, 2), TensorDataset(_x()))
