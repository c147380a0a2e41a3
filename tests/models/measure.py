"""One network of PyTorch under every method: is the kernel right, and how long does the one call take that people make?

Each call is made in a process of its own, forked where PyTorch and the model are ready and nothing has been computed:
what it takes is what `ntk` takes in a script, imports of JAX and compilations included. Seconds are of CPU, with one
thread, so that other work on the machine hardly counts.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from tests.models import truth
from tests.models.entry import Entry, Made
from tests.models.forks import error_of, forked
from tests.models.table import METHODS


def measured(entry: Entry) -> dict[str, Any]:
    """Error in float64 and float32, and seconds of the first call in float32, by method; how many parameters have a
    rule of the engine."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    made = entry.make()
    due = truth.kernel(made)
    double = Made(truth.in_float64(made), truth.to_float64(made.x), made.options)
    answer: dict[str, Any] = {
        "name": entry.name,
        "package": entry.package,
        "framework": entry.framework,
        "parameters": sum(p.numel() for p in made.model.parameters() if p.requires_grad),
    }
    answer["rules"] = forked(lambda: _rules(double))
    for method in METHODS:
        single = forked(lambda method=method: _call(made, method, due))
        answer[method] = {"float32": single, "float64": forked(lambda method=method: _call(double, method, due))}
    return answer


def _call(made: Made, method: str, due: np.ndarray) -> dict[str, Any]:
    from impls import ntk

    begin = time.process_time()
    kernel = ntk(made.model, made.x, outputs="trace", method=method, **made.options)
    seconds = time.process_time() - begin
    return {"seconds": seconds, "error": error_of(kernel.detach().numpy(), due)}


def _rules(made: Made) -> dict[str, Any]:
    """Of the engine: parameters by what is done with them."""
    import contextlib
    import io

    from impls import ntk

    with contextlib.redirect_stdout(io.StringIO()) as printed:
        ntk(made.model, made.x, outputs="trace", method="structured_torch", explain=True, **made.options)
    return {"explain": printed.getvalue()}
