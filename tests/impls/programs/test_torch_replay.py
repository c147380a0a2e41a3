"""What the PyTorch engine runs from its second call on: the same numbers, of other parameters and examples too."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest

from reference.tolerances import tolerance

torch = pytest.importorskip("torch", reason="the structured PyTorch engine needs PyTorch")

from torch import Tensor  # noqa: E402
from torch.func import grad, vmap  # noqa: E402

from impls.programs.torch.replay import Replayed, Result  # noqa: E402
from impls.programs.traces import traced_once  # noqa: E402
from impls.structured.torch.engine import Engine  # noqa: E402
from tests.impls.structured.test_torch import NETWORKS, OUTPUTS, drawn  # noqa: E402


@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "x2"])
@pytest.mark.parametrize("name", NETWORKS)
@traced_once()
def test_other_numbers_through_the_same_engine(name: str, symmetric: bool) -> None:
    """What an engine gives at its first call, from one that has been called at other numbers."""
    f, params, x1, x2 = drawn(NETWORKS[name], "float64", symmetric)
    others = {name: p.detach() * 1.25 for name, p in params.items()}
    y1, y2 = x1.flip(0), None if x2 is None else x2.flip(0)
    for outputs, once in zip(OUTPUTS, (False, True, False), strict=True):
        engine = Engine(f, params, x1, x2, outputs=outputs, once=once)
        first = engine(params, x1, x2)
        for _ in range(2):
            assert_same(engine(params, x1, x2), first)
        assert_same(engine(others, y1, y2), Engine(f, others, y1, y2, outputs=outputs)(others, y1, y2))
        if engine.passes is not None:
            for replayed in (engine.passes, *engine.contract.values()):
                assert isinstance(replayed, Replayed)
                assert replayed.refused == {}
                assert any(replay is not None for replay in replayed.replays.values())


def assert_same(kernel: Tensor, other: Tensor) -> None:
    """But for rounding: some of autograd's formulas are others while a call is written down."""
    assert (kernel - other).abs().max() <= tolerance("float64") * other.abs().max()


def replayed(f: Callable[..., Result | None], *calls: tuple[Tensor, ...]) -> Replayed:
    """Called with each of the arguments in turn, and held to f itself."""
    again = Replayed(f)
    for arguments in (calls[0], *calls):
        mine = [argument.clone() for argument in arguments]
        right, given = f(*mine) or {}, again(*arguments)
        assert given.keys() == right.keys()
        assert all(torch.equal(given[name], right[name]) for name in right)
        assert all(torch.equal(*pair) for pair in zip(arguments, mine, strict=True))
    return again


def operations(again: Replayed) -> list[str]:
    """What the only replay calls, in order."""
    (replay,) = again.replays.values()
    assert replay is not None
    return [str(known) for name in replay.__code__.co_names if callable(known := replay.__globals__[name])]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_autograd_and_vmap_are_left_out() -> None:
    def gradient(w: Tensor, x: Tensor) -> Result:
        tap = torch.zeros((), dtype=x.dtype).expand(len(x), 3).requires_grad_()
        with torch.enable_grad():
            y = vmap(lambda one, t: ((w.detach() @ one + t).tanh() @ w).sum())(x, tap)
        return {"g": torch.autograd.grad(y.sum(), tap)[0]}

    again = replayed(gradient, (random(3, 4), random(5, 4)), (random(3, 4, seed=1), random(5, 4, seed=2)))
    assert not any(name.startswith(("aten.zeros", "aten.detach")) for name in operations(again))


def test_arguments_are_written_to() -> None:
    """Through a view as well, and one that starts elsewhere in its memory at each call."""

    def write(kernel: Tensor, x: Tensor) -> None:
        kernel[1:, 0].add_(x.T.flatten()[1:3])
        kernel[0].zero_()

    whole = random(6, 3, 2)
    replayed(write, *((whole[i], random(2, 2, seed=i)) for i in range(6)))


def test_what_is_written_to_is_not_taken_for_its_copy() -> None:
    def f(x: Tensor) -> Result:
        y = x + 1
        copy = y + torch.zeros(3, dtype=x.dtype)
        y.mul_(2)
        memory = x.new_empty(0).resize_(3)
        torch.mul(x, 3, out=memory)
        return {"copy": copy, "y": y, "memory": memory.view(3, 1), "none": x.detach()}

    replayed(f, (random(3),), (random(3, seed=1),))


def test_the_same_tensor_twice_is_not_two() -> None:
    again = Replayed(lambda x, y: {"xy": x * y})
    x, y = random(3), random(3, seed=1)
    for _ in range(3):
        assert torch.equal(again(x, x)["xy"], x * x)
    for _ in range(3):
        assert torch.equal(again(x, y)["xy"], x * y)


def test_settings_and_shapes_apart() -> None:
    again = Replayed(lambda x, *, twice: {"x": x.flatten() * (2 if twice else 1)})
    for _ in range(3):
        for x in (random(2, 3), random(2, 3).T.contiguous().T, random(6, 1), random(2, 3).float()):
            for twice in (True, False):
                assert torch.equal(again(x, twice=twice)["x"], x.flatten() * (2 if twice else 1))


def test_constants_are_read_anew() -> None:
    mask = random(3)
    again = Replayed(lambda x: {"x": x * mask}, [mask])
    for i in range(4):
        mask.fill_(i)
        assert torch.equal(again(torch.ones(3, dtype=mask.dtype))["x"], mask)
    mask.data = random(4, 3)[1:, 1]
    for _ in range(3):
        assert torch.equal(again(torch.ones(3, dtype=mask.dtype))["x"], mask)


@pytest.mark.parametrize(
    ("f", "reason"),
    [
        (lambda x, seen: {"y": x + seen}, "comes from elsewhere"),
        (lambda x, seen: {"y": x * float(x.sum())}, "something else than tensors"),
        (lambda x, seen: {"y": x[torch.tensor([0]).add_(1)]}, "writes to a tensor that is kept"),
        (lambda x, seen: {"y": sum(x for _ in range(10_001))}, "more than 10000 operations"),
    ],
    ids=["unknown tensor", "number", "constant", "length"],
)
def test_what_cannot_be_repeated(f: Callable[[Tensor, Tensor], Result], reason: str) -> None:
    """Is called as before, with the numbers of now."""
    seen = random(3)
    again = Replayed(lambda x: f(x, seen))
    for i in range(4):
        seen.fill_(i)
        x = random(3, seed=i)
        assert torch.equal(again(x)["y"], f(x, seen)["y"])
    (why,) = again.refused.values()
    assert reason in why


def test_a_result_that_lies_otherwise_in_memory() -> None:
    """As where a setting of PyTorch's has changed how an operation lays its results out; here one made for this."""
    library = torch.library.Library("ntk_bench_test", "FRAGMENT")
    library.define("twice(Tensor x) -> Tensor")
    turned = False
    library.impl("twice", lambda x: (2 * x.T).contiguous().T if turned else 2 * x, "CPU")
    again = Replayed(lambda x: {"x": torch.ops.ntk_bench_test.twice(x)[1:].T + 1})
    for call in range(6):
        turned = call > 2
        x = random(3, 4, seed=call)
        assert torch.equal(again(x)["x"], 2 * x[1:].T + 1)
    (why,) = again.refused.values()
    assert why == "a result of shape (3, 4) has strides (1, 3), where one of shape (3, 4) had (4, 1)"


def test_a_shape_that_depends_on_numbers() -> None:
    again = Replayed(lambda x: {"x": x[x > 0]})
    for call in range(4):
        x = random(9, seed=call)
        assert torch.equal(again(x)["x"], x[x > 0])


def test_transformations_from_outside() -> None:
    """Take part, instead of passing a replay by."""
    again = Replayed(lambda x: {"x": x * x})
    for _ in range(3):
        x = random(3)
        assert torch.equal(again(x)["x"], x * x)
        assert torch.equal(grad(lambda x: again(x)["x"].sum())(x), 2 * x)
        assert torch.equal(vmap(lambda x: again(x)["x"])(x), x * x)


def test_results_are_let_go() -> None:
    """While the rest runs, and when the result is dropped: of what a call makes nothing is held."""
    alive: list[weakref.ref[Tensor]] = []

    def f(x: Tensor) -> Result:
        for _ in range(3):
            x = x * 2
            alive.append(weakref.ref(x))
        return {"x": x}

    again = Replayed(f, once=True)
    for _ in range(3):
        again(random(3))
    gc.collect()
    assert len(alive) == 6  # the last call was a replay
    assert all(ref() is None for ref in alive)
