"""Models as their users have them while they train, and what computing a kernel of them must leave as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.gate.state import global_state

Compute = Callable[[Any, np.ndarray], Any]
"""A kernel of (model, x1), in any form that `impls.frameworks.arrays.to_numpy` takes."""

X = np.linspace(-1.0, 1.0, 12).reshape(3, 4)


def torch_model() -> Any:
    """In training mode but for one part; dropout, batch normalisation, a frozen layer; float32."""
    import torch
    from torch import nn

    model: Any = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 3),
                          nn.ReLU(), nn.Linear(3, 2))
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for tensor in (*model.parameters(), model[1].running_mean):
            tensor.copy_(torch.tensor(rng.standard_normal(tuple(tensor.shape))))
    model[4].requires_grad_(False)
    model.train()
    model[5].eval()
    return model


def equinox_model() -> Any:
    """Dropout that is on; float32."""
    import equinox as eqx
    import jax

    first, second = (eqx.nn.Linear(*widths, key=jax.random.key(seed)) for seed, widths in enumerate([(4, 5), (5, 2)]))
    return eqx.nn.Sequential([first, eqx.nn.Lambda(jax.numpy.tanh), eqx.nn.Dropout(0.5), second])


def torch_fault(compute: Compute, model: Any) -> str:
    """What `compute` changed in the module or in the process; empty where nothing."""
    return _changed(lambda: _torch_snapshot(model), lambda: compute(model, X))


def equinox_fault(compute: Compute, model: Any) -> str:
    """Likewise; modules are immutable, their arrays may be deleted or donated."""
    return _changed(lambda: _equinox_snapshot(model), lambda: compute(model, X))


def _changed(snapshot: Callable[[], dict[str, Any]], compute: Callable[[], Any]) -> str:
    before = {**snapshot(), **global_state()}
    compute()
    after = {**snapshot(), **global_state()}
    return ", ".join(name for name in before if before[name] != after.get(name))


def _torch_snapshot(model: Any) -> dict[str, Any]:
    state: dict[str, Any] = {f"training of {name or 'the model'}": part.training
                             for name, part in model.named_modules()}
    state["the parts"] = [(name, type(part)) for name, part in model.named_modules()]
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        state[f"values of {name}"] = tensor.detach().numpy().tobytes()
        state[f"memory, dtype and requires_grad of {name}"] = tensor.data_ptr(), tensor.dtype, tensor.requires_grad
        state[f"gradient of {name}"] = tensor.grad is None
    return state


def _equinox_snapshot(model: Any) -> dict[str, Any]:
    import jax

    def plain(leaf: Any) -> Any:
        return (str(leaf.dtype), np.asarray(leaf).tobytes()) if isinstance(leaf, jax.Array) else leaf

    leaves = jax.tree_util.tree_leaves_with_path(model)
    return {"the structure": jax.tree.structure(model)} | {
        f"values of {jax.tree_util.keystr(path)}": plain(leaf) for path, leaf in leaves}
