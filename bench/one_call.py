"""What the default's one call costs beside the best method's: ``python -m bench.one_call [PATTERN …]``.

For each network of `bench.one_call_cases` it computes one kernel of 3 examples by each method that works on any
function and by ``method="auto"``, each in a process of its own with PyTorch and the method imported and a small kernel
computed, and prints the seconds of the processor, on one thread.
"""

from __future__ import annotations

import fnmatch
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

METHODS = ("auto", "structured_torch", "torch_func.jacobian_contraction", "torch_autograd.per_example")
EXAMPLES = 3
LIMIT_S = 60


def main(patterns: Sequence[str]) -> None:
    from bench.one_call_cases import CASES

    names = [name for name in CASES if not patterns or any(fnmatch.fnmatch(name, each) for each in patterns)]
    ratios = [ratio for name in names if (ratio := regret(name)) is not None]
    if ratios:
        print(f"one call by default costs {statistics.median(ratios):.2f} × the best in the median, "
              f"{max(ratios):.2f} × at worst")


def regret(name: str) -> float | None:
    """The default's seconds over those of the best method; printed with all of them."""
    found = {method: _in_process(name, method) for method in METHODS}
    print(f"{name:14}", *(f"{method.partition('.')[0]} {each:.3f}" if each else f"{method} fails"
                          for method, each in found.items()), flush=True)
    others = [each for method, each in found.items() if method != "auto" and each]
    return found["auto"] / min(others) if found["auto"] and others else None


def _in_process(name: str, method: str) -> float | None:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=_time, args=(name, method, queue))
    process.start()
    process.join(LIMIT_S)
    if process.is_alive():
        process.kill()
    return queue.get() if not queue.empty() else None


def _time(name: str, method: str, queue: Any) -> None:
    import torch

    from bench.one_call_cases import CASES
    from impls import ntk

    torch.set_num_threads(1)
    torch.manual_seed(0)
    make, examples = CASES[name]
    ntk(torch.nn.Linear(2, 2), torch.ones(1, 2), method=METHODS[1] if method == "auto" else method)
    queue.put(seconds(lambda: ntk(make(), examples(EXAMPLES), method=method)))


def seconds(call: Callable[[], Any]) -> float:
    """Of the processor, for one call."""
    begin = time.process_time()
    call()
    return time.process_time() - begin


if __name__ == "__main__":
    main(sys.argv[1:])
