"""What is computed in `torch.inference_mode`, or from what was made there, is the kernel all the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")

from torch import nn  # noqa: E402

import impls  # noqa: E402
from impls.frameworks.arrays import to_numpy  # noqa: E402
from impls.own.ntk import HOLD_JACOBIANS  # noqa: E402
from reference.tolerances import tolerance  # noqa: E402

METHODS = ["auto", "structured_torch", "structured_torch.monte_carlo", *HOLD_JACOBIANS[1:]]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("made_inside", ["nothing", "x", "model"])
def test_kernels(method: str, made_inside: str) -> None:
    """In which PyTorch takes every derivative for 0, and what is made there cannot be differentiated elsewhere."""
    model, x = network(), torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    right = to_numpy(impls.ntk(model, x, method=method))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.inference_mode():
        if made_inside == "model":
            model = network()
            model.load_state_dict(state)
        x = x.clone() if made_inside == "x" else x
        inside = impls.ntk(model, x, method=method)
        assert torch.is_inference_mode_enabled()
    for kernel in (inside, impls.ntk(model, x, method=method)):
        assert not kernel.is_inference()
        assert np.abs(to_numpy(kernel) - right).max() <= tolerance("float32") * np.abs(right).max()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 9), nn.BatchNorm1d(9), nn.Tanh(), nn.Linear(9, 3)).eval()


@pytest.mark.parametrize("made_inside", [False, True])
@pytest.mark.parametrize("how", ["ntk_fn", "ntk_operator"])
def test_functions_and_operators(how: str, made_inside: bool) -> None:
    model, x = network().double(), torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).double()
    right = to_numpy(impls.ntk(model, x, outputs="trace"))
    params = {name: p.detach() for name, p in model.named_parameters()}

    def kernel(x: Any) -> Any:
        if how == "ntk_fn":
            return impls.ntk_fn(model, outputs="trace")(params, x)
        return impls.ntk_operator(model, x, outputs="trace") @ torch.eye(len(x)).double()

    with torch.inference_mode():
        x = x.clone() if made_inside else x
        inside = kernel(x)
    for found in (inside, kernel(x)):
        assert np.abs(to_numpy(found.detach()) - right).max() <= tolerance("float64") * np.abs(right).max()
