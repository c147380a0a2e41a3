"""Records as a run would leave them, drawn from rough cost models: nothing is computed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

import impls
from bench.records.record import CaseInfo, Cell, Environment, Record
from reference import seed_of

ENVIRONMENT = Environment(
    key="3f9c1a7e52d04b68", machine="AMD EPYC 7763, 2 cores, 15.6 GiB", accelerator="", system="Linux 6.8.0",
    versions={"python": "3.11.9", "ntk-bench": "0.1.0", "commit": "6c471e2", "numpy": "2.4.1", "jax": "0.10.2",
              "torch": "2.13.0", "equinox": "0.13.8", "neural-tangents": "0.6.5"})

# Method → seconds of one call and bytes of its peak, for N, W, O and P.
Cost = Callable[[int, int, int, int], tuple[float, float]]
COSTS: dict[str, Cost] = {
    "neural_tangents.jacobian_contraction": lambda n, w, o, p: (2e-4 + 4e-11 * n * n * o * o * p, 8.0 * n * o * p),
    "neural_tangents.ntk_vector_products": lambda n, w, o, p: (2e-4 + 4e-10 * n * n * o * p, 10.0 * n * p),
    "neural_tangents.structured_derivatives": lambda n, w, o, p: (1e-4 + 2e-9 * n * o * w * w, 60.0 * n * o * w),
    "neural_tangents.auto": lambda n, w, o, p: (3e-4 + 2.2e-9 * n * o * w * w, 62.0 * n * o * w),
    "neural_tangents.infinite": lambda n, w, o, p: (1e-5 * n, 2e5),
    "torch_func.jacobian_contraction": lambda n, w, o, p: (1e-3 + 3e-11 * n * n * o * o * p, 9.0 * n * o * p),
    "torch_func.ntk_vector_products": lambda n, w, o, p: (2e-3 + 5e-10 * n * n * o * p, 12.0 * n * p),
    "torch_autograd.per_example": lambda n, w, o, p: (2e-4 * n * o + 3e-11 * n * n * o * o * p, 4.0 * n * o * p),
    "explicit_mlp": lambda n, w, o, p: (4e-4 + 1.6e-9 * n * o * w * w, 48.0 * n * o * w),
    "equinox.exact": lambda n, w, o, p: (2e-4 + 2.5e-11 * n * n * o * o * p, 7.0 * n * o * p),
    "equinox.monte_carlo": lambda n, w, o, p: (3e-4 + 9e-8 * n * p ** 0.6 * 64, 3e7),
}
STOCHASTIC, LIMIT = "equinox.monte_carlo", "neural_tangents.infinite"


def synthetic_records(widths: Iterable[int] = (64, 256, 1024), batches: Iterable[int] = (8, 32),
                      n_outputs: Iterable[int] = (1, 10), dtypes: Iterable[str] = ("float32",),
                      replicates: int = 2, methods: Iterable[str] | None = None) -> list[Record]:
    """A run of the quick profile's form: MLPs of these widths and one ConvNet of 16 channels."""
    infos = [_info("MLP", width, n, o) for n, o, width in itertools.product(batches, n_outputs, widths)]
    infos += [_info("ConvNet", 16, n, o) for n, o in itertools.product(batches, n_outputs)]
    chosen = list(COSTS) if methods is None else list(methods)
    return [_record(method, info, dtype, replicate) for info in infos for dtype in dtypes for method in chosen
            for replicate in range(replicates)]


def failures() -> list[Record]:
    """One record of every status but ok."""
    whole = _record("equinox.exact", _info("MLP", 64, 8, 10), "float32", 0)
    reasons = {
        "unsupported": "only fully connected networks", "not_installed": 'pip install "ntk-bench[torch]"',
        "wrong": "entry (3, 1, 0, 0) is off by 0.5 of the scale: mean over outputs where the sum is due",
        "nonfinite": "entry (0, 7, 2, 2) is nan", "timeout": "60 s limit reached in the first call",
        "oom": "resident memory passed the limit of 4 GiB",
        "crash": "RuntimeError: shapes (8, 10) and (10,) do not fit\n  at explicit_mlp.py:41",
    }
    return [replace(whole, cell=replace(whole.cell, method=method), status=status, reason=reason,  # type: ignore[arg-type]
                    samples_s=(0.01,) if status == "wrong" else (), error=0.5 if status == "wrong" else None)
            for method, (status, reason) in zip(impls.names(), reasons.items(), strict=False)]


def _info(network: str, width: int, n: int, o: int) -> CaseInfo:
    params = width * width + 65 * width + o * width if network == "MLP" else 9 * width * (1 + width) + 16 * width * o
    name = f"digits-{network.lower()}-w{width}-n{n}-o{o}"
    return CaseInfo(name, network, width, n, None, o, params, "digits")


def _record(method: str, info: CaseInfo, dtype: str, replicate: int) -> Record:
    kind = {STOCHASTIC: "stochastic", LIMIT: "limit"}.get(method, "exact")
    cell = Cell(method, info.case, dtype=dtype, seed=replicate,
                options={"proj_dim": 4096} if method == STOCHASTIC else {})
    row = Record(cell, info, replicate, "ok", kind, environment=ENVIRONMENT.key,
                 started_at=f"2026-01-15T10:{replicate:02d}:00Z")
    if method == "explicit_mlp" and info.network != "MLP":
        return replace(row, status="unsupported", reason="explicit_mlp is for fully connected networks, not ConvNet")
    return _measured(row)


def _measured(row: Record) -> Record:
    info, method = row.info, row.cell.method
    rng = np.random.default_rng(seed_of(f"{row.cell.case}-{method}-{row.cell.dtype}-{row.replicate}"))
    assert info.n_outputs is not None
    assert info.width is not None
    assert info.n_params is not None
    seconds, peak = COSTS[method](info.n1, info.width, info.n_outputs, info.n_params)
    seconds *= 2 if row.cell.dtype == "float64" else 1
    compile_s = rng.uniform(0.3, 0.9) if impls.framework(method) == "jax" else rng.uniform(0.001, 0.01)
    if seconds > 8:
        return replace(row, status="timeout", reason="20 s limit reached in the steady state", first_call_s=seconds)
    eps = 1e-7 if row.cell.dtype == "float32" else 2e-16
    tolerance = 100 * eps
    error = {"stochastic": 0.03, "limit": 0.2}.get(row.kind, eps * rng.uniform(0.5, 4))
    return replace(
        row, error=error, tolerance={"stochastic": 0.09, "limit": None}.get(row.kind, tolerance),
        checked_against="float64 tape on examples (0, 3, 5, 7)", setup_s=0.01, first_call_s=seconds + compile_s,
        samples_s=tuple(float(seconds * factor) for factor in rng.lognormal(0.02, 0.04, 7)),
        peak_bytes=int(peak), kernel_bytes=4 * info.n1**2 * info.n_outputs**2)
