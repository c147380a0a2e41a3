"""From which size on the operator is ahead of the kernel: ``python -m bench.commands.operator``.

For each network and number of examples N, the ten largest eigenvalues (`scipy.sparse.linalg.eigsh`) and the solution of
(K + λI) w = y, λ a thousandth of the diagonal's mean over 8 examples (`cg`, to a relative residual of 1e-3): once from
the kernel, formed by `impls.ntk` and multiplied as a matrix, and once by `impls.ntk_operator`. Each in a process of its
own, on one thread; seconds are the processor's, of all that a user waits for but imports: checks, tracing and compiling
among them. Writes bench/results/operator.json.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.commands import fresh
from bench.machine.threads import pin
from bench.records.environment import describe_environment

RESULTS = Path(__file__).parents[1] / "results" / "operator.json"
LIMIT_S = 600
LARGEST, RIDGE, RESIDUAL = 10, 1e-3, 1e-3


class Case(NamedTuple):
    """A network of `framework`, and the numbers of examples that are measured."""

    framework: str
    network: str
    examples: tuple[int, ...]


CASES = (Case("torch", "mlp", (64, 128, 256, 512, 1024)), Case("jax", "mlp", (64, 128, 256, 512, 1024)),
         Case("torch", "convnet", (16, 32, 64, 128)))
DESCRIBED = {"mlp": "MLP, 3 hidden layers of 256, 10 outputs", "convnet": "ConvNet, 2 × 32 channels, 16×16, 10 outputs"}
WAYS = ("kernel", "operator")


def main(patterns: Sequence[str]) -> None:
    rows = json.loads(RESULTS.read_text())["rows"] if patterns and RESULTS.exists() else []
    for case in CASES:
        if patterns and f"{case.framework}.{case.network}" not in patterns:
            continue
        rows = [row for row in rows if (row["framework"], row["network"]) != case[:2]]
        for n in case.examples:
            rows += [measured(case, n, way) for way in WAYS]
            found = {"environment": asdict(describe_environment()), "rows": rows}
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def measured(case: Case, n: int, way: str) -> dict[str, Any]:
    """Printed as well; `seconds` is empty where it took too long or did not fit."""
    found = fresh.measured(_measure, case, n, way, limit_s=LIMIT_S) or {"seconds": {}}
    row = {"framework": case.framework, "network": case.network, "examples": n, "way": way, **found}
    print(*(f"{name}={value}" for name, value in row.items()), flush=True)
    return row


def _measure(case: Case, n: int, way: str, sender: Any) -> None:
    pin(1)
    model, x, params = NETWORKS[case.framework, case.network](n)
    ridge = _warm(case)
    before = fresh.resident()
    clock = time.process_time
    begin = clock()
    K = _matrix(model, x, params) if way == "kernel" else _operator(model, x, params)
    ready = clock()
    values, products = _counted(_largest, K)
    largest = clock()
    _, steps = _counted(_solve, K, ridge)
    end = clock()
    sender.send({"seconds": {"ready": ready - begin, "eigsh": largest - ready, "cg": end - largest},
                 "products": {"eigsh": products, "cg": steps}, "largest": float(values.max()),
                 "peak_bytes": fresh.peak(before)})


def _matrix(model: Any, x: Any, params: Any) -> np.ndarray:
    from impls import ntk
    from impls.frameworks.arrays import to_numpy

    kernel = to_numpy(ntk(model, x, params=params))
    n, _, o, _ = kernel.shape
    return np.ascontiguousarray(kernel.transpose(0, 2, 1, 3)).reshape(n * o, n * o)


def _operator(model: Any, x: Any, params: Any) -> Any:
    from impls import ntk_operator

    return ntk_operator(model, x, params=params)


def _counted(function: Any, K: Any, *arguments: Any) -> tuple[Any, int]:
    """Of SciPy's function of an operator: what it gives, and how many products it took."""
    from scipy.sparse.linalg import LinearOperator

    times = 0

    def multiply(v: np.ndarray) -> np.ndarray:
        nonlocal times
        times += 1
        return K @ v

    counted = LinearOperator(K.shape, matvec=multiply, dtype=K.dtype)  # pyright: ignore[reportCallIssue]
    return function(counted, *arguments), times


def _largest(K: Any) -> np.ndarray:
    from scipy.sparse.linalg import eigsh

    return eigsh(K, LARGEST, which="LA", v0=np.ones(K.shape[0], K.dtype), tol=1e-4, return_eigenvectors=False)  # pyright: ignore


def _solve(K: Any, ridge: float) -> np.ndarray:
    from scipy.sparse.linalg import LinearOperator, cg

    y = np.random.default_rng(0).standard_normal(K.shape[0]).astype(K.dtype)
    shifted = LinearOperator(K.shape, matvec=lambda v: K @ v + ridge * v, dtype=K.dtype)  # pyright: ignore
    return cg(shifted, y, rtol=RESIDUAL, maxiter=2000)[0]


def _warm(case: Case) -> float:
    """What is imported and set up once, of both ways; and λ."""
    model, x, params = NETWORKS[case.framework, case.network](8)
    diagonal = _matrix(model, x, params).diagonal()
    _solve(_operator(model, x, params), 1.0)
    return RIDGE * float(diagonal.mean())


def _torch_mlp(n: int) -> tuple[Any, Any, Any]:
    import torch

    torch.manual_seed(0)
    sizes = (64, 256, 256, 256, 10)
    layers = [part for i, o in pairwise(sizes) for part in (torch.nn.Linear(i, o), torch.nn.ReLU())]
    return torch.nn.Sequential(*layers[:-1]), torch.randn(n, sizes[0]), None


def _torch_convnet(n: int) -> tuple[Any, Any, Any]:
    import torch

    torch.manual_seed(0)
    nn = torch.nn
    return nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)), torch.randn(n, 3, 16, 16), None


def _jax_mlp(n: int) -> tuple[Any, Any, Any]:
    import equinox
    import jax

    key, other = jax.random.split(jax.random.key(0))
    return equinox.nn.MLP(64, 10, width_size=256, depth=3, key=key), jax.random.normal(other, (n, 64)), None


NETWORKS: dict[tuple[str, str], Any] = {("torch", "mlp"): _torch_mlp, ("torch", "convnet"): _torch_convnet,
                                        ("jax", "mlp"): _jax_mlp}


if __name__ == "__main__":
    main(sys.argv[1:])
