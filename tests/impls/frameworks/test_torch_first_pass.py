"""Networks in order are checked in two passes; what is out of order is left to the checks that say what it is."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")

from torch import Tensor, nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

from impls import ntk  # noqa: E402
from impls.choice import torch_one_call  # noqa: E402
from impls.frameworks.torch.cotangents import ContiguousCotangents  # noqa: E402
from impls.frameworks.torch.first_pass import FirstPass, first_pass  # noqa: E402
from impls.frameworks.torch.module import ModuleFunction  # noqa: E402
from impls.frameworks.torch.support import module_function  # noqa: E402
from impls.methods import torch_func  # noqa: E402
from impls.structured.torch import engine  # noqa: E402
from reference.tolerances import tolerance  # noqa: E402

X = torch.linspace(-1, 1, 12).reshape(3, 4)
LOOP = "torch_autograd.per_example"


class Of(nn.Module):
    """Two dense layers around what `forward` makes of them."""

    def __init__(self, forward: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.a, self.b, self.how, self.calls = nn.Linear(4, 5), nn.Linear(5, 2), forward, [0]
        for p in self.parameters():
            nn.init.normal_(p, generator=generator)
        self.register_buffer("count", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        COUNTED[0] += 1
        return self.how(self, x)


COUNTED = [0]


def plain(s: Any, x: Tensor) -> Tensor:
    return s.b(torch.tanh(s.a(x)))


def counts(s: Any, x: Tensor) -> Tensor:
    s.count.add_(1)
    return plain(s, x)


def writes_weights(s: Any, x: Tensor) -> Tensor:
    s.a.weight.data.clamp_(-0.1, 0.1)
    return plain(s, x)


OUT_OF_ORDER: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "a buffer is written": counts,
    "a weight is written": writes_weights,
    "the input is written": lambda s, x: plain(s, x.mul_(2)),
    "examples influence each other": lambda s, x: plain(s, x) + x.mean(),
    "examples influence those before them": lambda s, x: plain(s, x.flip(0).cumsum(0).flip(0)),
    "examples influence those after them": lambda s, x: plain(s, x.cumsum(0)),
    "an example influences the next one": lambda s, x: plain(s, x + x.roll(1, 0).index_fill(0, torch.tensor(0), 0.0)),
    "numbers are drawn": lambda s, x: plain(s, x) + 0 * torch.randn(len(x), 1),
    "it runs again in its backward pass": lambda s, x: checkpoint(lambda x: plain(s, x), x, use_reentrant=True),
    "its outputs do not depend on the parameters": lambda s, x: plain(s, x).detach() + x[:, :2],
    "it does not run": lambda s, x: s.nothing,
}  # fmt: skip


def seen(module: nn.Module) -> FirstPass | None:
    f, params = module_function(module)
    return first_pass(f, params, X, f)


@pytest.mark.parametrize("what", OUT_OF_ORDER)
def test_what_is_out_of_order_is_left_to_the_checks(what: str) -> None:
    module = Of(OUT_OF_ORDER[what])
    before = {name: value.clone() for name, value in module.state_dict().items()}
    assert seen(module) is None
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_two_passes_are_enough() -> None:
    COUNTED[0] = 0
    found = seen(Of(plain))
    assert found is not None
    assert COUNTED[0] == 2
    ntk(Of(plain), X, method=LOOP)
    assert COUNTED[0] == 4 + len(X)


def test_its_gradients_are_those_of_the_module() -> None:
    module = Of(plain)
    found = seen(module)
    assert found is not None
    (plain(module, X[:1]) * found.cotangent).sum().backward()
    for name, p in module.named_parameters():
        torch.testing.assert_close(found.gradients[name], p.grad)


def test_gradients_that_the_module_has_stay() -> None:
    module = Of(plain)
    for p in module.parameters():
        p.grad = torch.ones_like(p)
    held = [p.grad for p in module.parameters()]
    ntk(module, X)
    for p, gradient in zip(module.parameters(), held, strict=True):
        assert p.grad is gradient
        assert gradient is not None
        assert bool((gradient == 1).all())


def test_a_mapping_that_is_wrong_is_found_and_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    module, jacobians = Of(plain), torch_func._jacobians
    right = ntk(module, X, method=LOOP)
    monkeypatch.setattr(torch_one_call, "seconds", lambda *_, **__: {torch_one_call.MAPPED: 0.0, LOOP: 1.0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(ntk(module, X), right)

    def off(f: Any, params: Any, x: Tensor) -> Any:
        found = jacobians(f, params, x)
        factor = 1 + 0.01 * (torch.arange(len(x)) == len(x) - 1)  # of the last example alone
        return {**found, "a.weight": found["a.weight"] * factor[:, None, None]}

    monkeypatch.setattr(torch_func, "_jacobians", off)
    with pytest.warns(RuntimeWarning, match="computed a wrong kernel"):
        mended = ntk(module, X)
    torch.testing.assert_close(mended, right, rtol=0, atol=tolerance("float32") * float(right.abs().max()))


@pytest.mark.parametrize("options", [{"memory_limit": 2**20}, {"outputs": "trace"}])
def test_a_call_traces_once(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    traced = [0]
    trace = engine.trace

    def counted(*args: Any) -> Any:
        traced[0] += 1
        return trace(*args)

    monkeypatch.setattr(engine, "trace", counted)
    module = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 20))
    ntk(module, X, method="structured_torch", **options)
    assert traced == [1]
    ntk(module, X, method="structured_torch", **options)  # another call: the module may have changed
    assert traced == [2]


def test_modes_within_each_other_are_one() -> None:
    norm, x = nn.BatchNorm1d(3).eval(), torch.ones(2, 3)
    with ContiguousCotangents():
        with ContiguousCotangents():
            pass
        assert norm(x)._backward_hooks  # the outer one is still on
    assert not norm(x)._backward_hooks


def test_a_part_that_is_kept_is_itself_afterwards() -> None:
    """What stays in the graph of a call is not mended any more than the part itself."""
    module = Of(lambda s, x: s.b(checkpoint(s.a.forward, x, use_reentrant=False)))
    assert seen(module) is not None
    assert "forward" not in module.a.__dict__
    assert ModuleFunction(module)._staying is None
