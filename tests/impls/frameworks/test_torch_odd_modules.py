"""Modules that do what modules should not: the kernel of what they compute, and nothing of their user's changed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")

from torch import Tensor, nn  # noqa: E402
from torch.nn.utils import parametrizations  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import impls  # noqa: E402
from impls.frameworks.arrays import to_numpy  # noqa: E402
from impls.given.user_network import UserNetwork  # noqa: E402
from reference import Case, InputError, Request, compare  # noqa: E402
from tests.naive_kernels import from_jacobians  # noqa: E402

LOOP, ENGINE = "torch_autograd.per_example", "structured_torch"


class Of(nn.Module):
    """Two dense layers, of which `forward` makes what it likes."""

    def __init__(self, forward: Callable[[Any, Tensor], Tensor], **attributes: Any) -> None:
        super().__init__()
        self.a, self.b, self.how = nn.Linear(4, 5), nn.Linear(5, 2), forward
        self.register_buffer("count", torch.zeros(3), persistent=False)
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        return self.how(self, x)


class Frozen(dict[str, Any]):
    """A configuration that takes no changes, as those of some libraries."""

    def __setitem__(self, *_: Any) -> None:
        raise TypeError("frozen")

    update = clear = copy = __setitem__  # pyright: ignore[reportAssignmentType]


def _plain(s: Any, x: Tensor) -> Tensor:
    return s.b(torch.tanh(s.a(x)))


def _caches(s: Any, x: Tensor) -> Tensor:
    s.act = torch.tanh(s.a(x))
    s.kept.append(s.act)
    s.by_name["act"] = s.act
    s.holder.last = s.act
    s.calls += 1
    return s.b(s.act)


def _counts(s: Any, x: Tensor) -> Tensor:
    y = _plain(s, x) * (1 + s.count[0])
    s.count.add_(1)
    s.count.data[1] -= 3
    return y


def _writes_weights(s: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        s.a.weight.data.clamp_(-0.1, 0.1)
        s.b.bias.mul_(0.5)
    return s.b(torch.tanh(s.a(x)))


def _differentiates(s: Any, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    return torch.autograd.grad(s.b(torch.tanh(s.a(x))).sum(), x, create_graph=True)[0]


class Adjoint(torch.autograd.Function):
    """Its backward pass runs `part` again, whose parameters it gives gradients of, or leaves them in their `grad`."""

    @staticmethod
    def forward(ctx: Any, part: nn.Module, x: Tensor, *params: Tensor) -> Tensor:
        ctx.part = part
        ctx.save_for_backward(x, *params)
        return part(x)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, *params = ctx.saved_tensors
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            y = ctx.part(x)
            if not params:
                y.backward(cotangent)
                return None, x.grad
            return None, *torch.autograd.grad(y, (x, *params), cotangent, allow_unused=True)


def _adjoint(s: Any, x: Tensor) -> Tensor:
    return s.b(Adjoint.apply(s.a, x, *s.a.parameters()))


def _adjoint_by_side_effect(s: Any, x: Tensor) -> Tensor:
    return Adjoint.apply(s.b, torch.tanh(s.a(x)))


def _checkpointed(s: Any, x: Tensor, *, reentrant: bool) -> Tensor:
    return s.b(checkpoint(lambda z: torch.tanh(s.a(z)), x, use_reentrant=reentrant))


class Merging(Of):
    """As LoRA's layers do; `eval` and the names of the parameters are its own, too."""

    def train(self, mode: bool = True) -> Any:
        super().train(mode)
        self.a.weight.data.mul_(0.5 if not mode else 2.0)
        return self

    def eval(self) -> Any:
        raise AssertionError("not to be called")

    def named_parameters(self, *_: Any, **__: Any) -> Any:
        return iter(())

    def __call__(self, x: Tensor) -> Tensor:
        return super().__call__(x) + 1


class Slots(Of):
    __slots__ = ("memory",)

    def forward(self, x: Tensor) -> Tensor:
        self.memory = _plain(self, x)
        return self.memory


def _hooked() -> Any:
    model, seen = Of(_plain), {}

    def hook(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        seen["output"] = output
        module.seen = seen  # pyright: ignore[reportArgumentType]
        return output * 1.5

    model.a.register_forward_hook(hook)
    model.a.weight.register_hook(lambda g: g * 0)
    model.a.weight.register_post_accumulate_grad_hook(lambda p: p.data.zero_())
    return model


def _in_closure() -> nn.Module:
    hidden = nn.Linear(4, 5)
    model = Of(lambda s, x: s.b(torch.tanh(x @ hidden.weight.T + s.pair[1] + s.a(x))), pair=(1, hidden.bias))
    model.add_module("same", hidden)
    return model


def _tied() -> nn.Module:
    model = Of(lambda s, x: s.b(torch.tanh(s.a(x) + s.again(x) + s.list[0] + s.dict["c"])))
    model.again = model.a
    model.list, model.dict = nn.ParameterList([model.a.bias]), nn.ParameterDict({"c": torch.ones(5)})
    return model


def _of_views() -> nn.Module:
    model, flat = Of(_plain), torch.randn(20)
    model.a.weight = nn.Parameter(flat.view(5, 4))
    model.b.bias = nn.Parameter(torch.ones(1).expand(2))
    return model


def _parametrized(how: Callable[..., Any]) -> nn.Module:
    model = Of(_plain)
    how(model.a)
    model(torch.ones(2, 4))
    return model


MODULES: dict[str, Callable[[], nn.Module]] = {
    "caches": lambda: Of(_caches, kept=[], by_name={}, calls=0, holder=SimpleNamespace(last=None)),
    "counts in buffers": lambda: Of(_counts),
    "writes to its weights": lambda: Of(_writes_weights),
    "writes to its input": lambda: Of(lambda s, x: _plain(s, x.mul_(2.0))),
    "differentiates itself": lambda: Of(_differentiates),
    "adjoint": lambda: Of(_adjoint),
    "adjoint by side effect": lambda: Of(_adjoint_by_side_effect),
    "checkpoint": lambda: Of(partial(_checkpointed, reentrant=False)),
    "reentrant checkpoint": lambda: Of(partial(_checkpointed, reentrant=True)),
    "merging": lambda: Merging(_plain),
    "frozen dict": lambda: Of(_plain, config=Frozen(width=5)),
    "slots": lambda: Slots(_plain),
    "hooks": _hooked,
    "closure and tuple": _in_closure,
    "tied, lists, dicts": _tied,
    "views": _of_views,
    "lock, generators": lambda: Of(_plain, lock=threading.Lock(), items=(i for i in "ab"), g=torch.Generator()),
    "weight_norm": lambda: _parametrized(parametrizations.weight_norm),
    "spectral_norm": lambda: _parametrized(parametrizations.spectral_norm),
    "orthogonal": lambda: _parametrized(parametrizations.orthogonal),
    "old weight_norm": lambda: _parametrized(nn.utils.weight_norm),
    "old spectral_norm": lambda: _parametrized(nn.utils.spectral_norm),
    "dropout, batch norm": lambda: Of(lambda s, x: s.n(s.b(s.d(s.a(x)))), d=nn.Dropout(), n=nn.BatchNorm1d(2)),
    "data parallel": lambda: nn.DataParallel(nn.Sequential(nn.DataParallel(Of(_plain)), nn.Linear(2, 2))),
    "partly frozen": lambda: Of(_plain, a=nn.Linear(4, 5).requires_grad_(False)),
    "recurrent": lambda: nn.Sequential(nn.Unflatten(1, (2, 2)), nn.RNN(2, 3, batch_first=True), Of(
        lambda s, x: x[0][:, -1])),
}  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated", "ignore:Full backward hook", "ignore:None of the inp")


def _state(model: nn.Module) -> list[Any]:
    """All that it holds, one level deep; tensors by identity, memory and numbers."""
    found: list[Any] = [torch.get_rng_state().tolist()]
    for part in nn.Module.modules(model):
        found += [part.training, sorted(vars(part), key=str)]
        for value in vars(part).values():
            found += [id(value), sorted(map(id, value.values())) if isinstance(value, dict) else 0,
                      len(value) if isinstance(value, list) else 0]
        tensors = [*nn.Module.parameters(part), *nn.Module.buffers(part)]
        found += [(t.data_ptr(), t.requires_grad, t.grad is None, t.detach().tolist()) for t in tensors]
    return found


def _rows(model: nn.Module, x: Tensor) -> np.ndarray:
    """J of each example by the module's own backward pass, each from the same start."""
    rows = []
    buffers = {name: b.clone() for name, b in nn.Module.named_buffers(model)}
    params = {name: p for name, p in nn.Module.named_parameters(model) if p.requires_grad}
    before = {name: p.detach().clone() for name, p in params.items()}
    def put_back() -> None:
        for name, tensor in (*nn.Module.named_buffers(model), *params.items()):
            tensor.data = {**buffers, **before}[name].clone()
            tensor.grad = None

    for example in x:
        a = 0
        while a < len(y := model(example[None].clone().requires_grad_().clone()).flatten()):
            y[a].backward()
            rows.append(torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten()
                                   for p in params.values()]))
            put_back()
            a += 1
        put_back()
    return to_numpy(torch.stack(rows).reshape(len(x), -1, rows[0].numel())).astype(np.float64)


@pytest.mark.filterwarnings("ignore:what register_hook changes")
@pytest.mark.parametrize("name", MODULES)
def test_the_kernel_is_right_and_nothing_changes(name: str) -> None:
    torch.manual_seed(0)
    model: Any = MODULES[name]()
    x = torch.randn(3, 4)
    before, input_before = _state(model), x.clone()
    kernels = {method: to_numpy(impls.ntk(model, x, method=method)) for method in ("auto", ENGINE, LOOP)}
    assert _state(model) == before
    assert torch.equal(x, input_before)
    for part in nn.Module.modules(model):
        part.training = False
    if name == "hooks":  # hooks on gradients are the optimiser's business
        for each in (model.a.weight._backward_hooks, model.a.weight._post_accumulate_grad_hooks):
            each.clear()
    rows = _rows(model, x)
    for method, kernel in kernels.items():
        result = compare(kernel, from_jacobians(rows, rows), outputs="full", dtype="float32", symmetric=True)
        assert result.ok, f"{method}: {result.reason}"


@pytest.mark.parametrize("name", ["caches", "lock, generators", "old weight_norm", "adjoint", "differentiates itself"])
def test_on_the_bench(name: str) -> None:
    """Where the module has to be copied, as it is computed in another precision."""
    torch.manual_seed(0)
    model, x = MODULES[name](), torch.randn(3, 4)
    model(x.clone())
    before = _state(model)
    case = Case("user", UserNetwork("torch", model), {}, x.double().numpy())
    kernels = [to_numpy(impls.load(m).prepare(case, Request(dtype="float64"))()) for m in (ENGINE, LOOP)]
    assert _state(model) == before
    np.testing.assert_allclose(kernels[0], kernels[1])
    direct = to_numpy(impls.ntk(model, x))
    np.testing.assert_allclose(kernels[0], direct, rtol=1e-3, atol=1e-4)


def test_rows_beyond_max_norm() -> None:
    torch.manual_seed(0)
    model: Any = nn.Sequential(nn.Embedding(6, 4, max_norm=0.5), nn.Tanh(), nn.Linear(4, 2))
    tokens, before = torch.tensor([0, 3, 3, 5]), _state(model)
    kernels = [to_numpy(impls.ntk(model, tokens, method=method)) for method in ("auto", ENGINE, LOOP)]
    assert _state(model) == before
    with torch.no_grad():  # all rows within the norm
        model[0].weight.copy_(nn.functional.embedding(torch.arange(6), model[0].weight.clone(), max_norm=0.5))
    for kernel in kernels:
        np.testing.assert_array_almost_equal_nulp(kernel, to_numpy(impls.ntk(model, tokens, method=LOOP)), 64)


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "random": (lambda: Of(lambda s, x: nn.functional.dropout(_plain(s, x), 0.5, True)), "drawn at random"),
    "no_grad": (lambda: Of(torch.no_grad()(_plain)), "does not depend on its trainable parameters"),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(2)), "no shape yet"),
    "None": (lambda: Of(lambda s, x: None), "must return one tensor, got NoneType"),  # pyright: ignore[reportArgumentType]
    "dict": (lambda: Of(lambda s, x: {"y": s.a(x)}), "^the model returns a dict"),  # pyright: ignore
    "traced": (lambda: torch.jit.trace(nn.Sequential(nn.Linear(4, 2)), torch.ones(2, 4)), "compiled by TorchScript"),
    "its own error": (lambda: Of(lambda s, x: s.nothing), r"AttributeError: .*'nothing'\)$"),
    "flat": (lambda: nn.Sequential(nn.Linear(8, 2)), r"mat1 and mat2.*\)$"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_for_what_is_wrong(name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        impls.ntk(make(), torch.randn(3, 4))


def test_a_function_that_loses_a_parameter() -> None:
    model = Of(_adjoint)
    params = {name: p.detach() for name, p in model.named_parameters()}
    with pytest.raises(InputError, match="no gradient reaches it"):
        impls.ntk(lambda p, x: torch.func.functional_call(model, p, (x,)), torch.randn(3, 4), params=params)


def test_remedies_are_those_that_work() -> None:
    with pytest.raises(InputError, match="it takes floating-point numbers"):
        impls.ntk(Of(_plain), torch.ones(3, 4, dtype=torch.int64))
    with pytest.raises(InputError, match=r"it takes flat examples: give x1\.flatten\(1\)"):
        impls.ntk(Of(_plain), torch.randn(3, 2, 2))


NUMBERS = np.linspace(-1, 1, 12).reshape(3, 4).astype(np.float16)
ARRAYS = {
    "big-endian": NUMBERS.astype(">f8"), "big-endian float32": NUMBERS.astype(">f4"), "float16": NUMBERS,
    "flipped": NUMBERS[::-1, ::-1].astype(np.float64)[::-1, ::-1], "Fortran": np.asfortranarray(NUMBERS, np.float32),
    "read-only": np.broadcast_to(NUMBERS.astype(np.float64), (2, 3, 4))[0], "long": NUMBERS.astype(np.longdouble),
    "negative view": torch.tensor(NUMBERS.astype(np.float32) * 1j).conj().imag.neg(),
    "needs gradients": torch.tensor(NUMBERS, dtype=torch.float64, requires_grad=True),
}  # fmt: skip


@pytest.mark.parametrize("name", ARRAYS)
def test_inputs_of_every_make(name: str) -> None:
    torch.manual_seed(0)
    model = Of(_plain)
    right = impls.ntk(model, torch.tensor(NUMBERS, dtype=torch.float32), method=LOOP)
    assert torch.equal(impls.ntk(model, ARRAYS[name], method=LOOP), right)


@pytest.mark.parametrize("dtype", [">i4", np.uint8, np.uint16, np.uint32])
def test_tokens_of_every_make(dtype: Any) -> None:
    model = nn.Sequential(nn.Embedding(6, 4), nn.Linear(4, 2))
    tokens = np.array([5, 0, 3])
    assert torch.equal(impls.ntk(model, tokens.astype(dtype), method=LOOP), impls.ntk(model, tokens, method=LOOP))
