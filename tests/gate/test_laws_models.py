"""What computing a kernel must not touch: a module of the user's own, in the middle of its training.

Through `impls.ntk`, for every method of its registry that works on any function. The kernel itself is that of
evaluation mode, whatever mode the module is in.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from impls import Method, ntk
from impls.frameworks.arrays import to_numpy
from tests.gate import models

# Their own default would draw a thousand projections.
FEW = {"equinox.monte_carlo": {"proj_dim": 64}}


def test_a_model_in_training_is_left_as_it_is(registered: Method) -> None:
    method = registered
    model, compute = _model(method), partial(ntk, method=method.name, **FEW.get(method.name, {}))
    fault = models.torch_fault if method.framework == "torch" else models.equinox_fault
    assert not (changed := fault(_as_float32(compute), model)), f"law broken: untouched model: {changed}"
    kernel = to_numpy(compute(model, models.X.astype(np.float32)))
    evaluated = to_numpy(compute(_evaluated(method, model), models.X.astype(np.float32)))
    np.testing.assert_array_equal(kernel, evaluated, "law broken: evaluation mode: the mode of the model enters")


def _model(method: Method) -> Any:
    if not hasattr(method, "kernel"):
        pytest.skip(f"{method.name} works on the shared networks only, not on a model")
    return models.torch_model() if method.framework == "torch" else models.equinox_model()


def _as_float32(compute: Callable[..., Any]) -> models.Compute:
    return lambda model, x: to_numpy(compute(model, x.astype(np.float32)))


def _evaluated(method: Method, model: Any) -> Any:
    if method.framework == "torch":
        return copy.deepcopy(model).eval()
    import equinox as eqx

    return eqx.nn.inference_mode(model)
