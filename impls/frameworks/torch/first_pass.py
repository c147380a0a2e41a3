"""Most networks are in order, and two passes tell: the checks of `checks` and `module`, all at once.

One pass of the first example, forward and back, shows which of the module's tensors are written into, which operations
there are and how long they take, which leaves the outputs depend on, and whether the gradients with the parameters in
place are those without. One pass forward of it before and after another one shows whether examples influence those
before or after them. Where anything is out of order, or fails, nothing is said here: the checks are made one by one,
and say what it is.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from impls.frameworks.torch.checks import agree, apart, believed, check_batched, random_cotangent
from impls.frameworks.torch.cotangents import pulled_back
from impls.frameworks.torch.graph import is_users, nodes, reached
from impls.frameworks.torch.module import ModuleFunction, on_copies, with_gradients
from impls.frameworks.torch.operations import Clock, Operations, counting, uncounted
from impls.frameworks.torch.support import Forward, Params, dtype_of, precision

READ = "aten::_local_scalar_dense"
"""A number becomes one of Python's."""


@dataclass(frozen=True)
class FirstPass:
    """Of the first example. `gradients`: of Σ `cotangent`·y, by parameter; seconds: forward, and back from one
    cotangent; `users`: whether a derivative of the user's own is on the way."""

    y: Tensor
    operations: Operations
    forward_s: float
    backward_s: float
    cotangent: Tensor
    gradients: Params
    users: bool


class Checked(NamedTuple):
    """`f`, or what stands for it; O; and what the checks saw of the first example, where one pass was enough."""

    f: Forward
    n_outputs: int
    first: FirstPass | None = None


def checked(f: Forward, params: Params, x: Tensor, base: ModuleFunction | None) -> Checked:
    """What is known of f once it is known that it has a kernel. Raises `InputError`.

    `base`: the function of a module that f calls, if there is one.
    """
    with precision(dtype_of(params)):
        f, given = with_gradients(f), x[:1].clone()
        if (first := first_pass(f, params, x, base)) is not None:
            return Checked(f, first.y.numel(), first)
        with counting() as operations:
            f(params, given) if base is None else base.find_written(lambda: f(params, given))
        _keep_buffers(base, operations)
        if not torch.equal(given, x[:1]):
            f = on_copies(f)
        check_batched(f, params, x)
        return Checked(*believed(f, params, x, base))


def _keep_buffers(base: ModuleFunction | None, operations: Operations) -> None:
    """What is done depends on numbers that are read (`if x.max() > self.largest: …`): for another example the forward
    pass may write where it did not for the first one."""
    if base is not None and operations.names[READ]:
        base.written |= {id(buffer) for buffer in nn.Module.buffers(base.module)}


def first_pass(f: Callable[..., Any], params: Params, x: Tensor, base: ModuleFunction | None) -> FirstPass | None:
    """None where something is out of order. `base`: the function of a module that f calls, if there is one."""
    try:
        leaves = {name: p.detach().clone().requires_grad_() for name, p in params.items()}
        versions = [leaf._version for leaf in leaves.values()]
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = _of_one(f, leaves, x[:1], base)
        if found is not None:
            _keep_buffers(base, found.operations)
        if found is None or any("None of the inputs have requires_grad" in str(each.message) for each in told):
            return None
        found = _of_three(f, leaves, x[[0, -1, 0]], found)
        # Versions as well: of these examples what is written may be what was there (`max_norm`).
        unwritten = versions == [leaf._version for leaf in leaves.values()] and all(
            torch.equal(leaf.detach(), params[name]) for name, leaf in leaves.items())
        return found if unwritten else None
    except Exception:  # of whatever kind: the checks meet it again
        return None


def _of_one(f: Callable[..., Any], leaves: Params, x: Tensor, base: ModuleFunction | None) -> FirstPass | None:
    given = x.detach().clone().requires_grad_(x.is_floating_point())  # a reentrant checkpoint of x alone needs it
    copy = given.clone()
    with nullcontext() if base is None else base.staying(), _gradients_apart(base) as untouched:
        y, operations = _watched(f, leaves, copy, base)
        if (base is not None and base.written) or operations.random or not torch.equal(copy.detach(), x):
            return None
        if not _is_output(y, 1) or not all(leaf is given for leaf in _strangers(y, leaves)):
            return None
        cotangent = random_cotangent(y)
        back = Clock()
        torch.autograd.backward((y * cotangent).sum(), retain_graph=True)
        backward_s = back.elapsed()
    due = {name: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for name, leaf in leaves.items()}
    users = any(map(is_users, nodes(y)))
    if base is not None:
        back = Clock()
        with _gradients_apart(base) as untouched_by_others:
            others = pulled_back(y, cotangent, tuple(leaves.values()))
        backward_s = min(back.elapsed(), backward_s)
        if not (untouched() and untouched_by_others() and _same(dict(zip(leaves, others, strict=True)), due)):
            return None
    elif users and not all(gradient.any() for gradient in due.values()):
        return None
    return FirstPass(y.detach(), operations, uncounted(operations), backward_s, cotangent, due, users)


def _of_three(f: Callable[..., Any], leaves: Params, x: Tensor, first: FirstPass) -> FirstPass | None:
    """With x as it is, which requires no gradients: the first example, another one and the first again."""
    forward = Clock()
    with torch.enable_grad():
        y = f(leaves, x)
    forward_s = min(first.forward_s, forward.elapsed())
    used = {id(leaves[name]) for name, gradient in first.gradients.items() if gradient.any()}
    if not _is_output(y, 3) or not used or not used <= {id(leaf) for leaf in reached(y)}:
        return None
    if y.shape[1:] != first.y.shape[1:] or any(apart(row, first.y[0]) for row in y[::2].detach()):
        return None
    return FirstPass(first.y, first.operations, forward_s, first.backward_s, first.cotangent, first.gradients,
                     first.users)


def _watched(f: Callable[..., Any], leaves: Params, x: Tensor, base: ModuleFunction | None) -> tuple[Any, Operations]:
    """The outputs of one pass in which writes and operations are noted."""
    passed = list[Any]()

    def run() -> None:
        with torch.enable_grad(), counting() as operations:
            passed.extend((f(leaves, x), operations))

    if base is None:
        run()
    else:
        base.find_written(run)
    return passed[0], passed[1]


@contextmanager
def _gradients_apart(base: ModuleFunction | None) -> Iterator[Callable[[], bool]]:
    """Inside, the module's own parameters have no gradients; yields whether they have got none."""
    own = [] if base is None else list(base.trained.values())
    before, left = [p.grad for p in own], list[bool]()
    for p in own:
        p.grad = None
    try:
        yield lambda: not any(left)
    finally:
        for p, gradient in zip(own, before, strict=True):
            left.append(p.grad is not None)
            p.grad = gradient


def _is_output(y: Any, n: int) -> bool:
    return isinstance(y, Tensor) and y.ndim > 0 and len(y) == n and y.is_floating_point() and y.requires_grad


def _strangers(y: Tensor, leaves: Params) -> list[Tensor]:
    ours = {id(leaf) for leaf in leaves.values()}
    return [leaf for leaf in reached(y) if id(leaf) not in ours]


def _same(found: Params, due: Params) -> bool:
    """Passes through one graph mostly agree to the last bit."""
    return all(map(torch.equal, found.values(), due.values())) or agree(found, due)
