"""What the default's one call costs beside the best method's: ``python -m bench.commands.one_call [PATTERN …]``.

For each network of `bench.commands.one_call_cases` it computes one kernel of 3, 8 and 32 examples by each method that
works on any function and by ``method="auto"``, each in a process of its own with PyTorch and the method imported and a
small kernel computed, and prints the seconds of the processor, on one thread. Without patterns it writes them to
``bench/results/one_call.json``.
"""

from __future__ import annotations

import fnmatch
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.records.environment import describe_environment

METHODS = ("auto", "structured_torch", "torch_func.jacobian_contraction", "torch_autograd.per_example")
EXAMPLES = (3, 8, 32)
LIMIT_S = 10
RESULTS = Path(__file__).parents[1] / "results" / "one_call.json"


def main(patterns: Sequence[str]) -> None:
    from bench.commands.one_call_cases import CASES

    names = [name for name in CASES if not patterns or any(fnmatch.fnmatch(name, each) for each in patterns)]
    rows = [measured(name, examples) for examples in EXAMPLES for name in names]
    if ratios := [ratio for row in rows if (ratio := regret(row["seconds"])) is not None]:
        print(f"one call by default costs {statistics.median(ratios):.2f} × the best in the median, "
              f"{max(ratios):.2f} × at worst")
    if not patterns:
        RESULTS.write_text(json.dumps({"environment": asdict(describe_environment()), "rows": rows}, indent=1) + "\n")


def measured(name: str, examples: int) -> dict[str, Any]:
    """Seconds of the processor by method, None where it fails or takes longer than LIMIT_S; printed."""
    found = {method: _in_process(name, method, examples) for method in METHODS}
    seconds = (f"{method.partition('.')[0]} {f'{each:.3f}' if each else 'not'}" for method, each in found.items())
    print(f"{name:14} N={examples:<3}", *seconds, flush=True)
    return {"network": name, "examples": examples, "seconds": found}


def regret(seconds: Mapping[str, float | None]) -> float | None:
    """The default's seconds over those of the best method."""
    others = [each for method, each in seconds.items() if method != "auto" and each]
    return default / min(others) if (default := seconds["auto"]) and others else None


def _in_process(name: str, method: str, examples: int) -> float | None:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=_time, args=(name, method, examples, queue))
    process.start()
    process.join(LIMIT_S)
    if process.is_alive():
        process.kill()
    return queue.get() if not queue.empty() else None


def _time(name: str, method: str, examples: int, queue: Any) -> None:
    import torch

    from bench.commands.one_call_cases import CASES
    from impls import ntk

    torch.set_num_threads(1)
    torch.manual_seed(0)
    make, draw = CASES[name]
    for each in METHODS[1:] if method == "auto" else (method,):  # its imports
        ntk(torch.nn.Linear(2, 2), torch.ones(1, 2), method=each)
    queue.put(seconds(lambda: ntk(make(), draw(examples), method=method)))


def seconds(call: Callable[[], Any]) -> float:
    """Of the processor, for one call."""
    begin = time.process_time()
    call()
    return time.process_time() - begin


if __name__ == "__main__":
    main(sys.argv[1:])
