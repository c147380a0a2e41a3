"""The kernel as an operator against the proved kernels, in both frameworks; its ways, memory and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy", reason="SciPy is not installed")
torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")
jax = pytest.importorskip("jax", reason="the JAX half is not installed")
import jax.numpy as jnp  # noqa: E402
from scipy.sparse.linalg import aslinearoperator, cg, eigsh  # noqa: E402
from torch import nn  # noqa: E402

import reference  # noqa: E402
from impls import ntk, ntk_operator  # noqa: E402
from impls.frameworks.arrays import to_numpy  # noqa: E402
from impls.own.multiplying import memory  # noqa: E402
from impls.own.torch.operator import Passes  # noqa: E402
from reference import InputError, Request, compare  # noqa: E402
from tests.studies.agreement import agree  # noqa: E402

pytestmark = pytest.mark.usefixtures("quick_compilation_of_module")

OF_JAX = ("residual_batch_norm", "transformer", "tied_dense")
CASES = [pytest.param("torch", case.name, id=f"torch-{case.name}") for case in reference.cases()] + [
    pytest.param("jax", name, id=f"jax-{name}") for name in OF_JAX]


def functional(framework: str, case: Any, dtype: Any) -> Any:
    if framework == "torch":
        from impls.networks.torch_case import functional
    else:
        from impls.networks.jax_case import functional
    return functional(case, Request(dtype=dtype))


def of_examples(matrix: Any, n1: int, n2: int) -> np.ndarray:
    """(N1·O, N2·O) as (N1, N2, O, O)."""
    array = to_numpy(matrix)
    return array.reshape(n1, array.shape[0] // n1, n2, -1).transpose(0, 2, 1, 3)


@pytest.mark.parametrize(("framework", "name"), CASES)
def test_products_are_those_of_the_proved_kernel(framework: str, name: str) -> None:
    """Of all columns at once, in blocks that do not divide the examples, and of the transpose; float32 for PyTorch."""
    case = reference.case(name)
    assert case.x2 is not None
    dtype = "float32" if framework == "torch" else "float64"
    f, params, x1, x2 = functional(framework, case, dtype)
    K = ntk_operator(f, x1, x2, params=params, batch_size=3)
    n1, n2 = len(case.x1), len(case.x2)
    expected = reference.expected(case)
    sides = [K @ np.eye(K.shape[1])]
    if framework == "torch":  # JAX would compile as much again
        sides.append((K.T @ np.eye(K.shape[0])).T)
    for found in sides:
        result = compare(of_examples(found, n1, n2), expected, outputs="full", dtype=dtype, symmetric=False)
        assert result.ok, result.reason


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()


def weights() -> dict[str, Any]:
    draw = np.random.default_rng(1)
    return {"w": jnp.asarray(draw.standard_normal((4, 6))), "v": jnp.asarray(draw.standard_normal((6, 2))) + 0.5j}


def real_of_complex(p: Any, x: Any) -> Any:
    return (jnp.tanh(x @ p["w"]) @ p["v"]).real ** 2


X = np.random.default_rng(0).standard_normal((5, 4))
OTHER = np.random.default_rng(3).standard_normal((3, 4))


def matrix(kernel: Any) -> np.ndarray:
    array = to_numpy(kernel)
    return array.transpose(0, 2, 1, 3).reshape(len(array) * array.shape[2], -1)


@pytest.fixture
def of_torch() -> tuple[Any, np.ndarray]:
    module = network()
    return ntk_operator(module, OTHER, X), matrix(ntk(module, OTHER, X))


def test_vectors_come_back_as_what_they_were(of_torch: tuple[Any, np.ndarray]) -> None:
    K, due = of_torch
    v, U = torch.randn(15, dtype=torch.float64), torch.randn(4, 9, dtype=torch.float64)
    for found, should in ((K @ v, due @ v.numpy()), (U @ K, U.numpy() @ due), (U[0] @ K, U[0].numpy() @ due),
                          (K.T.matmat(U.T), due.T @ U.T.numpy()), (K.rmatvec(U[0]), due.T @ U[0].numpy()),
                          (K.rmatmat(U.T), due.T @ U.T.numpy())):
        assert isinstance(found, torch.Tensor)
        agree(found, should)
    for found, should in ((K @ v.numpy(), due @ v.numpy()), (U.numpy() @ K, U.numpy() @ due),
                          (K.matvec(v.numpy()[:, None]), due @ v.numpy()[:, None]),
                          (K @ (v.numpy() + 2j), due @ (v.numpy() + 2j))):
        assert isinstance(found, np.ndarray)
        agree(found, should)


def test_rows_columns_and_the_diagonal(of_torch: tuple[Any, np.ndarray]) -> None:
    K, due = of_torch
    agree(K.rows([7, -1, 0]), due[[7, -1, 0]])
    agree(K.columns(range(15)), due)
    K, due = ntk_operator(network(), X, memory_limit=20_000), matrix(ntk(network(), X))
    agree(K.diagonal(), due.diagonal())
    agree(K.trace(), due.trace())
    K = ntk_operator(network(), X, X[::-1])
    agree(K.diagonal(), matrix(ntk(network(), X, X[::-1].copy())).diagonal())


@pytest.mark.parametrize("limit", [None, 3000])
def test_the_trace_is_a_kernel_of_its_own(limit: int | None) -> None:
    due = to_numpy(ntk(network(), OTHER, X, outputs="trace"))
    K = ntk_operator(network(), OTHER, X, outputs="trace", memory_limit=limit)
    assert K.shape == (3, 5)
    agree(K @ np.eye(5), due)
    agree(K.T @ np.eye(3), due.T)
    agree(K.rows([2]), due[[2]])
    agree(ntk_operator(network(), X, outputs="trace").trace(), to_numpy(ntk(network(), X, outputs="trace")).trace())


def test_scipy_solves_and_finds_eigenvalues() -> None:
    K, due = ntk_operator(network(), X), matrix(ntk(network(), X))
    agree(np.sort(eigsh(K, 4, which="LA")[0]), np.linalg.eigvalsh(due)[-4:])
    y = np.random.default_rng(2).standard_normal(15)
    solved, failed = cg(K + 0.1 * aslinearoperator(np.eye(15)), y, rtol=1e-14)
    assert not failed
    agree((due + 0.1 * np.eye(15)) @ solved, y)


def test_jax_in_its_own_arrays_and_inside_its_own_programs() -> None:
    with jax.enable_x64(True):
        params = weights()
        K = ntk_operator(real_of_complex, X, params=params, batch_size=2)
        due = matrix(ntk(real_of_complex, X, params=params))
        v = jnp.asarray(np.random.default_rng(2).standard_normal((10, 3)))
        for found, should in ((K @ v, due @ v), (v.T @ K, v.T @ due), (K.rows([3]), due[[3]])):
            assert isinstance(found, jax.Array)
            agree(found, should)
        assert isinstance(K @ np.asarray(v), np.ndarray)
        solved = jax.scipy.sparse.linalg.cg(lambda some: K @ some + 0.1 * some, v[:, 0], tol=1e-14)[0]
        agree((due + 0.1 * np.eye(10)) @ solved, v[:, 0])
        K = ntk_operator(real_of_complex, OTHER, X, params=params, where="v")
        agree(K @ v, matrix(ntk(real_of_complex, OTHER, X, params=params, where="v")) @ v)


def test_what_ntk_takes_is_taken() -> None:
    """Tokens, several inputs, batches, an output of several, some of the parameters."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.out = nn.Embedding(7, 4), nn.Linear(4, 2)

        def forward(self, tokens: Any, scale: Any) -> Any:
            return {"y": self.out(self.embed(tokens).mean(1) * scale), "other": tokens}

    torch.manual_seed(0)
    module, x = Net(), (torch.randint(0, 7, (4, 3)), torch.rand(4, 1))
    asked: Any = {"select": "y", "where": "out.*"}
    due = matrix(ntk(module, x, **asked))
    agree(ntk_operator(module, x, batch_size=3, **asked) @ np.eye(8), due, "float32")
    agree(ntk_operator(network(), [X[:2], X[2:]]) @ np.eye(15), matrix(ntk(network(), X)))


class Half(torch.autograd.Function):
    """A derivative of the user's own, that forward mode and vmap know nothing of."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x / 2

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        return cotangents[0] / 2


class WithHalf(nn.Module):
    def forward(self, x: Any) -> Any:
        return Half.apply(x)


class Again(nn.Module):
    """Runs again in the backward pass, which has no derivative."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Any) -> Any:
        return torch.utils.checkpoint.checkpoint(self.inner, x.requires_grad_(), use_reentrant=True)


@pytest.mark.parametrize(("module", "by"), [
    (nn.Sequential(*network()), "forward mode, several vectors"),
    (nn.Sequential(*network(), WithHalf()), "the backward pass of it, one vector"),
    (nn.Sequential(network()[0], Again(network()[1:])), "the Jacobians of blocks"),
], ids=["plain", "derivative of its own", "runs again"])
def test_slower_ways_where_others_fail(module: nn.Module, by: str, capsys: pytest.CaptureFixture[str]) -> None:
    K = ntk_operator(module, OTHER, X, verbose=True, batch_size=2)
    assert f"ntk_operator: by {'' if 'Jac' in by else 'a backward pass and '}{by}" in capsys.readouterr().out
    agree(K @ np.eye(15), matrix(ntk(module, OTHER, X)))


def test_jax_by_jacobians_where_forward_mode_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    @jax.custom_vjp
    def half(x: Any) -> Any:
        return x / 2

    half.defvjp(lambda x: (x / 2, None), lambda _, g: (g / 2,))
    with jax.enable_x64(True):
        params = weights()
        K = ntk_operator(lambda p, x: half(real_of_complex(p, x)), X, params=params, verbose=True)
        assert "by the Jacobians of blocks" in capsys.readouterr().out
        agree(K @ np.eye(10), matrix(ntk(real_of_complex, X, params=params)) / 4)


def test_a_wrong_product_is_seen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As of an operation whose rule for vmap mixes up the examples: of several vectors alone."""
    pushed = Passes._pushed

    def mixed_up(self: Any, x: Any, gradients: Any) -> Any:
        found = pushed(self, x, gradients)
        return found.flip(1) if len(found) > 1 and self.mapped else found

    monkeypatch.setattr(Passes, "_pushed", mixed_up)
    K = ntk_operator(network(), X, verbose=True)
    assert "not by a backward pass and forward mode, several vectors at once: uᵀKv of" in capsys.readouterr().out
    agree(K @ np.eye(15), matrix(ntk(network(), X)))


def test_blocks_follow_from_the_memory() -> None:
    module = network()
    own = ntk_operator(module, X).kernel.own
    least, more = (memory(own, limit, None) for limit in (4000, 400_000))
    assert (least.vectors, least.block(1, 1000)) < (more.vectors, more.block(1, 1000))
    assert least.vectors * least.vector + least.block(least.vectors, 1000) * least.example <= 4000
    with pytest.raises(InputError, match=r"memory_limit=100 is not enough: .* take \d+ bytes"):
        ntk_operator(module, X, memory_limit=100)


@pytest.mark.parametrize(("ask", "said"), [
    (lambda: ntk_operator("model", X), "model must be a torch.nn.Module"),
    (lambda: ntk_operator(lambda p, x: x, X), "a function needs its parameters"),
    (lambda: ntk_operator(network(), X, outputs="diagonal"), "select an output"),
    (lambda: ntk_operator(network(), X, memory_limit=-1), "memory_limit must be a positive number of bytes, got -1"),
    (lambda: ntk_operator(network(), X) @ torch.ones(4), "multiplies (15,) and (15, k), got (4,)"),
    (lambda: ntk_operator(network(), X) @ torch.full((15,), np.nan), "the vector holds NaN"),
    (lambda: ntk_operator(network(), X).rows([15]), "rows are numbered 0 to 14, got [15]"),
    (lambda: ntk_operator(network(), X, OTHER).diagonal(), "5 by 3 examples has no diagonal"),
    (lambda: ntk_operator(nn.BatchNorm1d(4, track_running_stats=False), X), "keeps no running statistics"),
    (lambda: ntk_operator(nn.Sequential(network()[:2], Overflows()), X * 1e200) @ np.ones(30), "the operation pow"),
], ids=["no model", "no params", "diagonal", "limit", "shape", "NaN", "rows", "no diagonal",
        "batches coupled", "not finite"])
def test_bad_input_names_the_value_and_the_remedy(ask: Any, said: str) -> None:
    with pytest.raises(InputError) as raised:
        ask()
    assert said in str(raised.value)


class Overflows(nn.Module):
    def forward(self, x: Any) -> Any:
        return (x * 1e200) ** 2


def test_linear_operator_takes_it_as_its_own() -> None:
    """As docs/scale.md has it."""
    operators = pytest.importorskip("linear_operator.operators", reason="the extra peers is not installed")

    class Kernel(operators.LinearOperator):
        def __init__(self, like: Any, K: Any) -> None:
            super().__init__(like, K=K)
            self.K = K

        def _matmul(self, rhs: Any) -> Any:
            return self.K @ rhs

        def _size(self) -> Any:
            return torch.Size(self.K.shape)

        def _transpose_nonbatch(self) -> Any:
            return Kernel(self._args[0], self.K.T)

    K, due = ntk_operator(network(), X), matrix(ntk(network(), X))
    y = torch.ones(15, 1, dtype=torch.float64)
    solved = Kernel(y[:0], K).add_jitter(0.1).solve(y)
    agree((due + 0.1 * np.eye(15)) @ solved.numpy(), y.numpy())
