"""PyTorch's half: layers of `torch.nn`, functions of `torch.nn.functional`, `linalg`, `fft` and `special`."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from impls.frameworks.torch.checks import check_batched
from impls.frameworks.torch.support import module_function, precision
from impls.structured.torch.engine import Engine
from reference import InputError
from tests.coverage.table import Row
from tests.coverage.torch_calls import CALLS, FORMS, GENERIC, NOT_TRIED

SPACES = {
    "torch.nn.functional": F,
    "torch.linalg": torch.linalg,
    "torch.fft": torch.fft,
    "torch.special": torch.special,
}


class Network(nn.Module):
    """A dense layer, its numbers in the form asked for, and the operation."""

    def __init__(self, form: str, call: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.shape, self.form = FORMS[form]
        self.call = call
        self.dense = nn.Linear(3, int(torch.Size(self.shape).numel()))

    def forward(self, x: Tensor) -> Tensor:
        y = self.call(self.form(self.dense(x).unflatten(1, self.shape)))
        y = next(part for part in _tensors(y) if part.requires_grad)
        y = torch.view_as_real(y.resolve_conj()) if y.is_complex() else y
        return y.reshape(len(y), -1)[:, :6]


def _tensors(y: Any) -> Iterator[Tensor]:
    if isinstance(y, Tensor):
        yield y
    elif isinstance(y, (tuple, list)):
        for part in y:
            yield from _tensors(part)


def operations() -> dict[str, Any]:
    """By full name, all that is public in the installed version."""
    layers = {f"torch.nn.{name}": getattr(nn, name) for name in sorted(nn.modules.__all__)}
    functions = {
        f"{space}.{name}": getattr(module, name)
        for space, module in SPACES.items()
        for name in sorted(dir(module))
        if _is_public(name, getattr(module, name))
    }
    return layers | functions


def _is_public(name: str, found: Any) -> bool:
    if name.startswith("_") or name.endswith("_") or not callable(found) or inspect.isclass(found):
        return False
    return (found.__module__ or "").startswith("torch.nn.functional") or "built-in" in repr(found)


def rows(names: Sequence[str] | None = None) -> Iterator[Row]:
    """One for each operation; `names`: of these alone."""
    for name, operation in operations().items():
        if names is None or name in names:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield _row(name, operation)


def _row(name: str, operation: Any) -> Row:
    if name in NOT_TRIED:
        return Row("torch", name, "not tried", NOT_TRIED[name])
    x = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for form, call in CALLS.get(name, GENERIC):
        module = _made(operation, form, call)
        right = None if module is None else _jacobian(module, x)
        if module is not None and right is not None:
            return _judged(name, module, x, torch.einsum("nap,mbp->nmab", right, right))
    return Row("torch", name, "not tried", "no call of it gives outputs of single examples that have a derivative")


def _made(operation: Any, form: str, call: Callable[..., Any]) -> Network | None:
    """The network, or None where the operation takes no such arguments."""
    is_layer = inspect.isclass(operation)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            network = Network(form, call(operation) if is_layer else lambda h: call(operation, h)).eval()
            network = network.double()
            network(torch.ones(2, 3, dtype=torch.float64))  # lazy layers have parameters from now on
            return network
        except Exception:
            return None


def _jacobian(module: Network, x: Tensor) -> Tensor | None:
    """(N, O, P); None where there is none."""
    f, params = module_function(module)
    leaves = list(module.parameters())
    try:
        check_batched(f, params, x)
        with precision(torch.float64):
            each = [[torch.autograd.grad(y, leaves, retain_graph=True, materialize_grads=True)
                     for y in module(example[None])[0].unbind()] for example in x]
    except Exception:
        return None
    jacobian = torch.stack([torch.stack([torch.cat([g.flatten() for g in row]) for row in rows]) for rows in each])
    return jacobian if jacobian.isfinite().all() and jacobian.any() else None


def _judged(name: str, module: Network, x: Tensor, right: Tensor) -> Row:
    f, params = module_function(module)
    try:
        engine = Engine(f, params, x, None, outputs="full")
        kernel = engine(params, x, None)
    except (InputError, NotImplementedError, RuntimeError) as error:
        return Row("torch", name, "refused", f"{type(error).__name__}: {error}".splitlines()[0])
    error = ((kernel - right).abs().max() / right.abs().max()).item()
    fallen = {step.parameter.name: step.parameter.rule.removeprefix("fallback: ")
              for step in engine.plan.steps if step.parameter.rule.startswith("fallback")}
    if not fallen:
        return Row("torch", name, "rule", "", error)
    why = next(iter(fallen.values()))
    whole = len(fallen) == len(engine.plan.steps)
    return Row("torch", name, "fallback", why if whole else f"{', '.join(fallen)}: {why}", error)
