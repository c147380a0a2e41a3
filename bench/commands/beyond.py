"""What grows to 20,000 examples and never is in memory: ``python -m bench.commands.beyond``.

Of an MLP (64 inputs, 3 hidden layers of 256) the product of the full kernel of 10 outputs with one vector, by
`impls.ntk_operator`, and the kernel of one output on disk, by ``impls.ntk(..., out=)``; in PyTorch and, the product, in
JAX. Each in a process of its own, on one thread; seconds are the processor's, the second product's and the whole
kernel's; peak memory is what the process holds beyond what it held before. Writes bench/results/beyond.json.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.commands import fresh
from bench.machine.threads import pin
from bench.records.environment import describe_environment

RESULTS = Path(__file__).parents[1] / "results" / "beyond.json"
EXAMPLES = (1250, 2500, 5000, 10_000, 20_000)
SIZES = (64, 256, 256, 256)


def main() -> None:
    rows = list[dict[str, Any]]()
    for n in EXAMPLES:
        for what in MEASURED:
            rows.append({"what": what, "examples": n, **fresh.measured(_measure, what, n)})
            print(rows[-1], flush=True)
            found = {"environment": asdict(describe_environment()), "rows": rows}
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def _measure(what: str, n: int, sender: Any) -> None:
    pin(1)
    seconds, peak = MEASURED[what](n)
    sender.send({"seconds": seconds, "peak_bytes": peak})


def _product_torch(n: int) -> tuple[float, int]:
    import torch

    from impls import ntk_operator

    v = torch.ones(10 * n)
    x = torch.randn(n, SIZES[0], generator=torch.Generator().manual_seed(0))
    before = fresh.resident()
    K = ntk_operator(_mlp_torch(10), x)
    _ = K @ v
    begin = time.process_time()
    _ = K @ v
    return time.process_time() - begin, fresh.peak(before)


def _product_jax(n: int) -> tuple[float, int]:
    import equinox
    import jax
    import jax.numpy as jnp

    from impls import ntk_operator

    model = equinox.nn.MLP(SIZES[0], 10, width_size=SIZES[1], depth=3, key=jax.random.key(0))
    x, v = jax.random.normal(jax.random.key(1), (n, SIZES[0])), jnp.ones(10 * n)
    before = fresh.resident()
    K = ntk_operator(model, x)
    jax.block_until_ready(K @ v)
    begin = time.process_time()
    jax.block_until_ready(K @ v)
    return time.process_time() - begin, fresh.peak(before)


def _kernel_on_disk(n: int) -> tuple[float, int]:
    import torch

    from impls import ntk

    model, x = _mlp_torch(1), torch.randn(n, SIZES[0], generator=torch.Generator().manual_seed(0)).numpy()
    with tempfile.TemporaryDirectory() as folder:
        ntk(model, x[:64], outputs="trace", out=Path(folder, "first.zarr"))  # imports, first passes
        before = fresh.resident()
        begin = time.process_time()
        ntk(model, x, outputs="trace", out=Path(folder, "K.zarr"))
        return time.process_time() - begin, fresh.peak(before)


def _mlp_torch(outputs: int) -> Any:
    import torch

    torch.manual_seed(0)
    sizes = (*SIZES, outputs)
    layers = [part for i, o in zip(sizes[:-1], sizes[1:], strict=True)  # noqa: RUF007  (pairwise reads no better)
              for part in (torch.nn.Linear(i, o), torch.nn.ReLU())]
    return torch.nn.Sequential(*layers[:-1])


MEASURED: dict[str, Any] = {"product, torch": _product_torch, "product, jax": _product_jax,
                            "kernel on disk, torch": _kernel_on_disk}


if __name__ == "__main__":
    main()
