"""Is a function of PyTorch's what its kernel needs: batched, of its parameters, and differentiated in all of them?"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from impls.frameworks.torch.cotangents import pulled_back
from impls.frameworks.torch.graph import is_users, nodes, reached
from impls.frameworks.torch.module import ModuleFunction
from impls.frameworks.torch.rerun import Rerun
from reference import InputError

Params = dict[str, Tensor]

INDEPENDENT = ("the model's output does not depend on its trainable parameters: is it detached, converted to integers, "
               "or computed under torch.no_grad() or torch.inference_mode()?")


TWICE = 3
"""How often a batch that holds one example twice is run."""


def check_batched(f: Any, params: Params, x: Tensor) -> None:
    """Raise `InputError` unless f maps N examples to N outputs that depend on `params`, each on one example only.

    f is called for one example, for the first and the last, and for the first one twice: several times, as what is
    drawn at random may be the same by chance.
    """
    leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
    with torch.enable_grad():
        outputs = [f(leaves, x[:1]), f(leaves, x[[0, -1]]), *(f(leaves, x[[0, 0]]) for _ in range(TWICE))]
    for n, y in zip((1, *[2] * (1 + TWICE)), outputs, strict=True):
        check_output(y, n)
    if outputs[0].shape[1:] != outputs[1].shape[1:]:
        raise InputError(f"the model is not batched: its outputs for one and for two examples are of shapes "
                         f"{tuple(outputs[0].shape)} and {tuple(outputs[1].shape)}")
    if not outputs[0].is_floating_point():
        raise InputError(INDEPENDENT)
    for twice in outputs[2:]:
        for row in twice:
            _check_apart(outputs[1][0].detach(), row.detach())


def _check_apart(y: Tensor, other: Tensor) -> None:
    """Raise `InputError` where the first example's outputs differ by what the second example is.

    Batches of one shape are computed by the same operations, so they mostly agree to the last bit; half of the digits
    are asked for, as a model may shorten its batch to the longest example, say.
    """
    if apart(y, other):
        raise InputError("the model's examples influence each other: its outputs for the first example change with the "
                         "second one of the batch (is there a mean over the batch?), so that it has no kernel of pairs "
                         "of examples; or they are drawn at random")


def apart(y: Tensor, other: Tensor) -> bool:
    """Whether they differ in the first half of their digits."""
    distance, scale = (y - other).abs().max(), torch.maximum(y.abs().max(), other.abs().max())
    return bool(distance > torch.finfo(y.dtype).eps ** 0.5 * scale)


def check_output(y: Any, n: int) -> None:
    """Raise `InputError` unless y is one tensor of n rows that are not empty."""
    if not isinstance(y, Tensor):
        raise InputError(f"the model must return one tensor, got {type(y).__name__}; wrap it in a module that returns "
                         "the outputs whose kernel you want")
    if y.ndim < 1 or y.shape[0] != n:
        raise InputError(f"the model is not batched: for {n} example(s) it returns shape {tuple(y.shape)}, whose first "
                         f"axis should be {n}")
    if not y.numel():
        raise InputError(f"the model has no outputs: for {n} example(s) it returns shape {tuple(y.shape)}")


def believed(f: Any, params: Params, x: Tensor, base: ModuleFunction | None) -> tuple[Any, int]:
    """f, or `Rerun` of it where PyTorch finds its gradients only while the parameters stay in place, as in training;
    and O, the number of outputs.

    Compared on the first example, under a random cotangent. Raises `InputError` where the output does not depend on
    `params`, or where a parameter is reached that is not exchanged for its value.
    """
    every, x = x, x[:1]
    leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
    with torch.enable_grad():
        y = f(leaves, x.clone())  # of which it may ask for gradients, and which is then a tensor of this call
    if base is not None:  # what a function holds beside its params is a constant of the user's
        _check_reached(f, base, leaves, x, y)
    cotangent = random_cotangent(y)
    due = dict(zip(leaves, _in_training(Rerun(f, base), params, x, cotangent), strict=True))
    if not y.requires_grad and not any(gradient.any() for gradient in due.values()):
        with torch.enable_grad():  # another example may go another way
            if not f(leaves, every.clone()).requires_grad:
                raise InputError(INDEPENDENT)
    if base is None:
        _check_none_lost(f, params, x, y, due)
    elif not agree(_as_others_find(base, y, leaves, cotangent), due):
        f = Rerun(f, base)
    return f, y.numel()


def random_cotangent(y: Tensor) -> Tensor:
    """The same at each call, from a generator of its own."""
    generator = torch.Generator("cpu").manual_seed(0)
    return torch.randn(y.shape, generator=generator, dtype=torch.float64, device="cpu").to(y)


def _in_training(rerun: Rerun, params: Params, x: Tensor, cotangent: Tensor) -> list[Tensor]:
    """The gradients of the parameters, with all of them in place until the backward pass has ended."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        _, *gradients = rerun.pulled_back(params, x, cotangent)
    if (any("None of the inputs have requires_grad=True" in str(warning.message) for warning in told)
            and not _moves_as(rerun, params, x, cotangent, gradients)):
        raise InputError("the model wraps a part in torch.utils.checkpoint(use_reentrant=True) whose inputs have no "
                         "gradients, so that PyTorch itself finds none for that part's parameters; use "
                         "use_reentrant=False")
    return gradients


def _moves_as(rerun: Rerun, params: Params, x: Tensor, cotangent: Tensor, gradients: list[Tensor]) -> bool:
    """Whether the outputs move along a random direction of the parameters as the gradients say, to a hundredth. PyTorch
    warns as well of a checkpoint inside of another one, which it runs again with gradients."""
    directions = {name: random_cotangent(p) for name, p in params.items()}
    step = torch.finfo(cotangent.dtype).eps ** (1 / 3)
    there, back = (rerun.f({name: p.detach() + sign * step * directions[name] for name, p in params.items()}, x.clone())
                   for sign in (1, -1))
    found = ((there - back).detach() * cotangent).sum() / (2 * step)
    parts = torch.stack([(gradient * directions[name]).sum() for name, gradient in zip(params, gradients, strict=True)])
    return bool((found - parts.sum()).abs() <= 0.01 * (found.abs() + parts.norm()))


def _as_others_find(base: ModuleFunction, y: Tensor, leaves: Params, cotangent: Tensor) -> Params | None:
    """By `torch.autograd.grad`, with the module's own parameters in place; None where it leaves gradients at these."""
    before = {name: p.grad for name, p in base.trained.items()}
    found = _gradients(y, leaves, cotangent)
    for name, p in base.trained.items():
        if p.grad is not before[name]:
            p.grad, found = before[name], None
    return found


def _check_none_lost(f: Any, params: Params, x: Tensor, y: Tensor, due: Params) -> None:
    """Raise `InputError` for a parameter that f changes with and that gets no gradient from a derivative of the user's
    own: `torch.func.functional_call` of a module that its backward pass runs again, say, which finds other values."""
    if not any(is_users(node) for node in nodes(y)):
        return  # what is detached is meant to be
    for name in (name for name, gradient in due.items() if not gradient.any()):
        value = params[name].detach()
        step = random_cotangent(value)
        moved = f({**params, name: value + torch.finfo(value.dtype).eps ** 0.5 * step}, x)
        if not torch.equal(moved, y.detach()):
            raise InputError(f"the outputs change with the parameter {name!r}, but no gradient reaches it through a "
                             "torch.autograd.Function of the model's own; where it runs a module again, give the "
                             "module itself, and where the parameter is meant as a constant, leave it out of params")


def _gradients(y: Tensor, leaves: Params, cotangent: Tensor) -> Params | None:
    """By `torch.autograd.grad`; None where a part of the model does not allow it."""
    try:
        found = pulled_back(y, cotangent, tuple(leaves.values()))
    except RuntimeError:
        return None
    return dict(zip(leaves, found, strict=True))


def agree(found: Params | None, due: Params) -> bool:
    """Whether gradients are the same to half of the digits, parameter by parameter: what is lost is lost as a whole."""
    if found is None:
        return False
    largest = max(float(gradient.abs().max()) for gradient in due.values() if gradient.numel())
    for name, gradient in due.items():
        if not gradient.numel() or not bool(torch.isfinite(gradient).all()):  # what is not finite is told elsewhere
            continue
        eps = torch.finfo(gradient.dtype).eps
        scale = max(float(gradient.abs().max()), float(found[name].abs().max()))
        if float((gradient - found[name]).abs().max()) > eps**0.5 * scale + 100 * eps * largest:
            return False
    return True


def _check_reached(f: Any, base: ModuleFunction, leaves: Params, x: Tensor, y: Tensor) -> None:
    """Raise `InputError` where y depends on a tensor that requires gradients and is no leaf of ours.

    One that the model makes anew in each call (to differentiate with respect to its input, say) is none of them.
    """
    ours = {id(leaf) for leaf in leaves.values()}
    strangers = {id(leaf): leaf for leaf in reached(y) if id(leaf) not in ours}
    if not strangers:
        return
    with torch.enable_grad():
        again = {id(leaf) for leaf in reached(f(leaves, x.clone()))}
    for key, stranger in strangers.items():
        if key in again:
            raise InputError(_about(base, stranger))


def _about(base: ModuleFunction, stranger: Tensor) -> str:
    name = next((name for name, p in base.trained.items() if p is stranger), None)
    if name is not None:
        return (f"the model uses its parameter {name!r} by another way than its place (through a result that was "
                "computed from it in an earlier call and kept, a closure, or TorchScript), so that its share of the "
                "kernel would be lost; clear what is kept, or use the attribute")
    buffer = next((name for name, held in base.held.items() if held is stranger), None)
    if buffer is not None:
        return (f"the model's buffer {buffer!r} requires gradients, and is none of its parameters, so that its share "
                "of the kernel would be lost; make it a torch.nn.Parameter, or freeze it with requires_grad_(False)")
    kind = "trainable parameter" if isinstance(stranger, nn.Parameter) else "tensor that requires gradients"
    return (f"the model uses a {kind} of shape {tuple(stranger.shape)} by another way than its registered name (kept "
            "in a list or dict, or in a closure), so that its share of the kernel would be lost; register it as an "
            "attribute, torch.nn.ParameterList or ModuleList, or freeze it with requires_grad_(False)")
