"""What the user has switched on around a call, or the state in which tensors were made, changes no number."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")

from torch import nn  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import impls  # noqa: E402
from impls.frameworks.arrays import to_numpy  # noqa: E402
from impls.own.torch import ntk_fn as ntk_fn_torch  # noqa: E402
from reference import InputError  # noqa: E402
from reference.tolerances import tolerance  # noqa: E402
from studies.outputs import outputs  # noqa: E402


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 2))


MODEL, OTHER, X = network(), network(), torch.linspace(-1, 1, 12).reshape(3, 4)
with torch.no_grad():
    next(OTHER.parameters()).mul_(1.5)


def by_ntk_fn(model: nn.Module, x: Any) -> Any:
    kernel = impls.ntk_fn(model)
    return kernel(kernel.params, x)


WAYS: dict[str, Callable[[nn.Module, Any], Any]] = {
    "auto": impls.ntk,
    "structured_torch": lambda model, x: impls.ntk(model, x, method="structured_torch"),
    "jacobian_contraction": lambda model, x: impls.ntk(model, x, method="torch_func.jacobian_contraction"),
    "per_example": lambda model, x: impls.ntk(model, x, method="torch_autograd.per_example"),
    "model2": lambda model, x: impls.ntk(model, x, x, model2=OTHER),
    "params2": lambda model, x: impls.ntk(model, x, x, params2=OTHER.state_dict()),
    "pairs": lambda model, x: impls.ntk(model, x, pairs="same"),
    "components": lambda model, x: impls.ntk(model, x, components=True),
    "ntk_fn": by_ntk_fn,
    "operator": lambda model, x: impls.ntk_operator(model, x) @ torch.linspace(-1, 1, 6, device=x.device),
    "diagonal": lambda model, x: impls.ntk_operator(model, x).diagonal(),
    "conjugate": lambda model, x: impls.conjugate(model, x, layer="2"),
    "outputs": outputs,
}

SURROUNDINGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "inference": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "meta": lambda: torch.device("meta"),
    "saved hooks": torch.autograd.graph.save_on_cpu,
    "failing hooks": lambda: torch.autograd.graph.saved_tensors_hooks(_fails, _fails),
}


def _fails(tensor: Any) -> Any:
    raise RuntimeError("a hook of the user's")


@pytest.fixture(scope="module")
def right() -> dict[str, np.ndarray]:
    return {name: to_numpy(as_tensor(way(MODEL, X))) for name, way in WAYS.items()}


def as_tensor(found: Any) -> Any:
    if isinstance(found, dict):
        return torch.cat([kernel.flatten() for kernel in found.values()])
    return torch.from_numpy(found) if isinstance(found, np.ndarray) else found.detach()


def assert_right(found: Any, name: str, right: dict[str, np.ndarray]) -> None:
    found = as_tensor(found)
    assert type(found) is torch.Tensor
    assert found.dtype == torch.float32
    assert not found.is_inference()
    off = np.abs(to_numpy(found) - right[name]).max()
    assert off <= tolerance("float32") * np.abs(right[name]).max()


@pytest.mark.parametrize("around", SURROUNDINGS)
@pytest.mark.parametrize("name", WAYS)
def test_around(name: str, around: str, right: dict[str, np.ndarray]) -> None:
    """Under autocast `pairs` was of bfloat16, and the outputs were."""
    with SURROUNDINGS[around]():
        found = WAYS[name](MODEL, X)
        device = torch.empty(0).device
    assert_right(found, name, right)
    assert str(device) == ("meta" if around == "meta" else "cpu")


@pytest.mark.parametrize("name", ["auto", "jacobian_contraction", "ntk_fn"])
def test_within_a_checkpoint(name: str, right: dict[str, np.ndarray]) -> None:
    """Which counts what is saved inside, and runs again in the backward pass."""
    found = []

    def body(w: Any) -> Any:
        found.append(WAYS[name](MODEL, X))
        return w * w

    checkpoint(body, torch.ones(2, requires_grad=True), use_reentrant=False).sum().backward()
    assert len(found) == 2
    for kernel in found:
        assert_right(kernel, name, right)


class Plain(torch.Tensor):
    """A class of the user's."""


STATES: dict[str, Callable[[Any], Any]] = {
    "class": lambda x: x.as_subclass(Plain),
    "negative": lambda x: torch.complex(x * 0, -x).conj().imag,
    "another order of bytes": lambda x: x.numpy().astype(">f8"),
    "one example, backwards": lambda x: x.numpy()[::-1],
}


@pytest.mark.parametrize("state", STATES)
def test_states(state: str) -> None:
    x = X[:1] if "one" in state else X
    for name in ("auto", "per_example", "conjugate"):
        due = to_numpy(WAYS[name](MODEL, x).detach())
        assert_right(WAYS[name](MODEL, STATES[state](x)), name, {name: due})


def test_parameters_that_are_negatives(right: dict[str, np.ndarray]) -> None:
    model = network()
    first: Any = model[0]
    first.weight = nn.Parameter(torch.complex(first.weight * 0, -first.weight).detach().conj().imag)
    assert first.weight.is_neg()
    kernel = impls.ntk(model, X, method="torch_func.ntk_vector_products")
    assert_right(kernel, "auto", right)


NO_NUMBERS: dict[str, tuple[Callable[[], Any], str]] = {
    "meta": (lambda: X.to("meta"), "meta"),
    "fake": (lambda: FakeTensorMode().from_tensor(X), "FakeTensorMode"),
    "sparse": (lambda: X.to_sparse(), "to_dense"),
}


@pytest.mark.parametrize("kind", NO_NUMBERS)
def test_what_has_no_numbers_is_refused(kind: str) -> None:
    x, said = NO_NUMBERS[kind]
    with pytest.raises(InputError, match=f"x1 is .*{said}"):
        impls.ntk(MODEL, x())


def test_a_model_without_numbers_is_refused() -> None:
    with torch.device("meta"):
        model = network()
    with pytest.raises(InputError, match=r"0\.weight is on the device meta"):
        impls.ntk(model, X)
    with torch.device("meta"), pytest.raises(InputError, match="a network of the factory is on the device meta"):
        impls.nngp(network, X, n_samples=2)


@pytest.mark.parametrize("name", ["auto", "pairs", "operator", "conjugate"])
def test_within_a_transform_another_way_is_named(name: str) -> None:
    def inside(w: Any) -> Any:
        return w.sum() + WAYS[name](MODEL, X).sum()

    for transform in (torch.func.grad(inside), torch.func.vmap(inside)):
        with pytest.raises(InputError, match=r"inside torch\.func\..*impls\.ntk_fn"):
            transform(torch.ones(2, 2))
    with FakeTensorMode(), pytest.raises(InputError, match="FakeTensorMode tensors have none"):
        WAYS[name](MODEL, X)


def test_ntk_fn_of_a_module_may_be_called_first_within_a_transform() -> None:
    kernel = impls.ntk_fn(MODEL, outputs="trace")
    gradient = torch.func.grad(lambda params: kernel(params, X).sum())(kernel.params)
    leaves = {name: p.clone().requires_grad_() for name, p in kernel.params.items()}
    due = torch.autograd.grad(kernel(leaves, X).sum(), list(leaves.values()), materialize_grads=True)
    for found, other in zip(gradient.values(), due, strict=True):
        assert (found - other).abs().max() <= tolerance("float32") * max(each.abs().max() for each in due)


def test_an_open_level_of_forward_mode_is_what_is_said() -> None:
    with torch.autograd.forward_ad.dual_level():
        impls.ntk(MODEL, X)
        with pytest.raises(NotImplementedError, match="dual_level; make it outside"):
            impls.ntk(MODEL, X, method="torch_func.ntk_vector_products")


def test_several_threads_and_one_model(right: dict[str, np.ndarray]) -> None:
    """Each puts values in the places of the module's parameters, which the others took for the module's own."""
    found: list[tuple[str, Any]] = []
    before = torch.backends.mkldnn.enabled, torch.backends.mha.get_fastpath_enabled()

    def work() -> None:
        for name in ("structured_torch", "auto", "pairs", "conjugate"):
            try:
                found.append((name, WAYS[name](MODEL, X)))
            except Exception as error:  # told below
                found.append((name, error))

    threads = [threading.Thread(target=work) for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(found) == 16
    for name, kernel in found:
        assert_right(kernel, name, right)
    assert before == (torch.backends.mkldnn.enabled, torch.backends.mha.get_fastpath_enabled())


def test_within_a_compiled_function(right: dict[str, np.ndarray]) -> None:
    compiled = torch.compile(lambda z: (z + 1, WAYS["structured_torch"](MODEL, X)), backend="eager")
    assert_right(compiled(torch.ones(2))[1], "structured_torch", right)


NORMS: dict[str, Callable[[], nn.Module]] = {
    "layer": lambda: nn.LayerNorm(6),
    "instance": lambda: nn.Sequential(nn.Unflatten(1, (2, 3)), nn.InstanceNorm1d(2, affine=True), nn.Flatten()),
    "group": lambda: nn.Sequential(nn.Unflatten(1, (3, 2)), nn.GroupNorm(1, 3), nn.Flatten()),
    "rms": lambda: nn.RMSNorm(6),
}


def normalised(norm: str) -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), NORMS[norm](), nn.Tanh(), nn.Linear(6, 2)).double()
    with torch.no_grad():
        for p in model.parameters():
            p += torch.randn_like(p) / 3
    return model, X.double()


def gradient(model: nn.Module, x: Any, method: str) -> Any:
    x = x.clone().requires_grad_()
    kernel = impls.ntk_fn(model, outputs="trace", method=method)
    return torch.autograd.grad(kernel(kernel.params, x).sum(), x)[0]


@pytest.mark.parametrize("norm", NORMS)
def test_gradients_of_ntk_fn_through_normalisations(norm: str) -> None:
    """Of PyTorch's own they are off by some per cent, where `torch.func.vmap` maps the gradient of scales."""
    model, x = normalised(norm)
    found, along = gradient(model, x, "torch_func.jacobian_contraction"), torch.cos(X.double())
    kernel, step = impls.ntk_fn(model, outputs="trace"), 1e-5
    values = [float(kernel(kernel.params, x + sign * step * along).sum()) for sign in (1, -1)]
    due = (values[0] - values[1]) / (2 * step)
    assert abs(float((found * along).sum()) - due) <= tolerance("float32") * abs(due)
    looped = gradient(model, x, "torch_autograd.per_example")
    assert (found - looped).abs().max() <= tolerance("float64") * looped.abs().max()


def test_wrong_gradients_of_mapped_jacobians_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without our mending PyTorch's are wrong: then the loop is taken, or what was named is refused."""
    model, x = normalised("layer")
    due = gradient(model, x, "auto")
    monkeypatch.setattr(ntk_fn_torch.ApartFromScales, "__torch_function__",
                        lambda self, func, types, args=(), kwargs=None: func(*args, **(kwargs or {})))
    assert (gradient(model, x, "auto") - due).abs().max() <= tolerance("float64") * due.abs().max()
    with pytest.raises(InputError, match="gradients would not be"):
        gradient(model, x, "torch_func.jacobian_contraction")
    kernel = impls.ntk_fn(model, method="torch_func.jacobian_contraction")
    assert kernel(kernel.params, x).isfinite().all()  # the kernel is right
