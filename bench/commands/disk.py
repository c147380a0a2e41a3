"""What a kernel on disk costs beside the same in memory: ``python -m bench.commands.disk``.

Of an MLP (64 inputs, 3 hidden layers of 256, 10 outputs): ``impls.ntk(..., out=)`` into a new folder and `impls.ntk`
without, in turn, each time of a new network, so that both trace and plan it; checks, digests, checksums and flushing
are part of it. Each case in a process of its own on one thread; the first turn, in which libraries are loaded and JAX
compiles, is not counted. Ratios are those of the two times of a turn, the median of them. Writes
bench/results/disk.json.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from bench.commands import fresh
from bench.machine.threads import pin
from bench.records.environment import describe_environment
from reference.case import Outputs

RESULTS = Path(__file__).parents[1] / "results" / "disk.json"
TURNS = 5
INPUTS, WIDTH, DEPTH, OUTPUTS = 64, 256, 3, 10


class Case(NamedTuple):
    """A kernel of `examples` by `examples`."""

    framework: str
    outputs: Outputs
    examples: int


SIZES: dict[Outputs, tuple[int, ...]] = {"full": (64, 500, 1000), "diagonal": (1000,), "trace": (64, 1000, 3000)}
CASES = tuple(Case(framework, outputs, n) for framework in ("torch", "jax")
              for outputs, sizes in SIZES.items() for n in sizes)


def main(frameworks: Sequence[str]) -> None:
    rows = json.loads(RESULTS.read_text())["rows"] if frameworks and RESULTS.exists() else []
    rows = [row for row in rows if row["framework"] not in frameworks]
    for case in CASES:
        if frameworks and case.framework not in frameworks:
            continue
        rows.append({**case._asdict(), **fresh.measured(_measure, case)})
        print(rows[-1], flush=True)
        found = {"environment": asdict(describe_environment()), "rows": rows}
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def _measure(case: Case, sender: Any) -> None:
    pin(1)
    made, x = MODELS[case.framework], np.random.default_rng(0).standard_normal((case.examples, INPUTS), np.float32)
    turns = [(_seconds(_in_memory, made(), x, case.outputs), _on_disk(made(), x, case.outputs))
             for _ in range(TURNS + 1)][1:]
    sender.send({"seconds": [median(turn[way][0] for turn in turns) for way in (0, 1)],
                 "ratio": {name: median(disk[at] / memory[at] for memory, disk in turns)
                           for at, name in enumerate(("processor", "clock"))}})


def _seconds(function: Callable[..., Any], *arguments: Any) -> tuple[float, float]:
    """Of the processor, and by the clock."""
    begin = time.process_time(), time.perf_counter()
    function(*arguments)
    return time.process_time() - begin[0], time.perf_counter() - begin[1]


def _in_memory(model: Any, x: np.ndarray, outputs: Outputs) -> None:
    from impls import ntk
    from impls.frameworks.arrays import block_until_ready

    block_until_ready(ntk(model, x, outputs=outputs))


def _on_disk(model: Any, x: np.ndarray, outputs: Outputs) -> tuple[float, float]:
    from impls import ntk

    with tempfile.TemporaryDirectory() as folder:
        return _seconds(lambda: ntk(model, x, outputs=outputs, out=Path(folder, "K.zarr")))


def _torch() -> Any:
    import torch

    torch.manual_seed(0)
    sizes = (INPUTS, *[WIDTH] * DEPTH, OUTPUTS)
    layers = [part for i, o in zip(sizes[:-1], sizes[1:], strict=True)  # noqa: RUF007  (pairwise reads no better)
              for part in (torch.nn.Linear(i, o), torch.nn.ReLU())]
    return torch.nn.Sequential(*layers[:-1])


def _jax() -> Any:
    import equinox
    import jax

    return equinox.nn.MLP(INPUTS, OUTPUTS, width_size=WIDTH, depth=DEPTH, key=jax.random.key(0))


MODELS: dict[str, Callable[[], Any]] = {"torch": _torch, "jax": _jax}


if __name__ == "__main__":
    main(sys.argv[1:])
