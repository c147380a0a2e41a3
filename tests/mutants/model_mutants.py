"""Mistakes in what `impls.ntk` does with a model of the user's own, which has to be left as it is."""

from __future__ import annotations

import copy

from torch import nn

from impls.own.torch import network as own_torch
from reference import InputError
from tests.mutants.mutant import Mutant, Patch, attribute

METHODS = ("torch_func.jacobian_contraction", "torch_autograd.per_example")


def _evaluating(module: nn.Module) -> nn.Module:
    return module.eval()


def _evaluating_and_back(module: nn.Module) -> nn.Module:
    """All of it is put into training mode afterwards, as if all of it had been in it; here, at once."""
    right = _unwrapped(module)
    module.train()
    return right


def _thawed(module: nn.Module) -> nn.Module:
    right = _unwrapped(module)
    module.requires_grad_(True)
    return right


def _moved(module: nn.Module) -> nn.Module:
    """Moved to float64 and back, and so to other memory, which an optimiser does not know."""
    right = _unwrapped(module)
    for parameter in module.parameters():
        parameter.data = parameter.data.clone()
    return right


def _in_training(module: nn.Module) -> nn.Module:
    """A copy of its parameters that stays in training mode, whatever it is told."""
    stays = copy.deepcopy(module, {id(param): param for param in module.parameters()})
    for part in stays.modules():
        part.__class__ = type(type(part).__name__, (type(part),),
                              {"training": property(lambda _: True, lambda *_: None)})
    return stays


_unwrapped = own_torch.unwrapped


def _mutant(name: str, what: str, patch: Patch, base: str = METHODS[0],
            raises: type[Exception] | None = None) -> Mutant:
    return Mutant(f"torch.model_{name}", "19", "a model of one's own", what, base, lambda method: method, None,
                  check="test_a_model_in_training_is_left_as_it_is", around=patch, raises=raises)


MUTANTS = (
    _mutant("left_in_evaluation", "the model is in evaluation mode afterwards",
            attribute(own_torch, "unwrapped", _evaluating)),
    _mutant("left_in_evaluation_by_loop", "the model is in evaluation mode afterwards",
            attribute(own_torch, "unwrapped", _evaluating), METHODS[1]),
    _mutant("left_in_training", "all of the model is in training mode afterwards, the parts that were not too",
            attribute(own_torch, "unwrapped", _evaluating_and_back)),
    _mutant("thawed", "frozen parameters require gradients afterwards", attribute(own_torch, "unwrapped", _thawed)),
    _mutant("moved", "the parameters are in other memory afterwards", attribute(own_torch, "unwrapped", _moved)),
    _mutant("measured_in_training", "the model is measured in training mode: PyTorch refuses a single example",
            attribute(own_torch, "unwrapped", _in_training), raises=InputError),
)
