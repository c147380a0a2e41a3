"""Right at the first call of the first case: caches, workspaces, counters, threads, memory, surroundings."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from impls import Method
from impls.protocol import Array
from reference import Case, Request
from tests.mutants.mutant import Mutant, wrapped
from tests.mutants.wrong_where import n1, n2, spoiled, wrong_where

NUMPY, TORCH, JAX = "planted.correct", "torch_func.jacobian_contraction", "equinox.exact"

Key = Callable[[Case], Any]


def _cached(key: Key) -> Callable[[Method], Method]:
    """The first kernel of this key and of this request, for ever after, each time in memory of its own."""
    kernels: dict[Any, Any] = {}

    def preparing(base: Method, case: Case, request: Request) -> Callable[[], Array]:
        asked = (key(case), case.symmetric, request.outputs, request.dtype)
        compute = base.prepare(case, request)

        def call() -> Array:
            if asked not in kernels:
                kernels[asked] = compute()
            return kernels[asked].copy()

        return call

    return wrapped(preparing)


def _shapes(case: Case) -> Any:
    return (*(array.shape for array in case.params.values()), case.x1.shape, n2(case))


def _arrays(case: Case) -> list[np.ndarray]:
    return [*case.params.values(), *case.constants.values(), case.x1, *([] if case.x2 is None else [case.x2])]


def _by(of: Callable[[np.ndarray], Any]) -> Key:
    return lambda case: (case.network, _shapes(case), *(of(array) for array in _arrays(case)))


def _ids(case: Case) -> Any:
    _alive.append(case)  # so that no other arrays have their ids
    return tuple(map(id, _arrays(case)))


_alive: list[Case] = []

KEYS: dict[str, tuple[str, Key]] = {
    "shapes": ("its shapes", lambda case: (case.network, _shapes(case))),
    "name": ("its name and shapes", lambda case: (case.name, _shapes(case))),
    "repr": ("the repr of its arrays", _by(repr)),
    "sum": ("the sums of its arrays", _by(lambda array: round(float(array.sum()), 9))),
    "norm": ("the norms of its arrays", _by(lambda array: round(float(np.square(array).sum()), 9))),
    "sorted": ("the sorted entries of its arrays", _by(lambda array: np.sort(array, axis=None).tobytes())),
    "ends": ("the first and the last entries of its arrays", _by(lambda a: (a.flat[0], a.flat[-1]))),
    "id": ("which arrays they are", lambda case: (case.network, _ids(case))),
    "x1": ("its network and x1", lambda case: (case.network, case.x1.tobytes(), n2(case))),
    "x2": ("its network and x2", lambda case: (case.network, b"" if case.x2 is None else case.x2.tobytes(), n1(case))),
    "params": ("its network, parameters and shapes",
               lambda case: (case.network, _shapes(case), *(a.tobytes() for a in case.params.values()))),
    "first_param": ("its first parameter, x1 and x2", lambda case: (
        case.network, next(iter(case.params.values())).tobytes(), case.x1.tobytes(),
        b"" if case.x2 is None else case.x2.tobytes())),
    "all_but_constants": ("all but its constants", lambda case: (
        case.network, *(a.tobytes() for a in (*case.params.values(), case.x1)), n2(case))),
}


def _from_call(number: int) -> Callable[[Method], Method]:
    """Of one preparation."""
    def preparing(base: Method, case: Case, request: Request) -> Callable[[], Array]:
        compute, calls = base.prepare(case, request), iter(range(1, sys.maxsize))
        return lambda: compute() if next(calls) < number else spoiled(compute())

    return wrapped(preparing)


def _workspace(by_shape: bool) -> Callable[[Method], Method]:
    """Kernels are written where earlier ones of the method, of that shape or of any, were."""
    memory: dict[Any, np.ndarray] = {}

    def preparing(base: Method, case: Case, request: Request) -> Callable[[], Array]:
        compute = base.prepare(case, request)
        turn = iter(range(sys.maxsize))

        def call() -> Array:
            kernel: Any = compute()
            key = (kernel.dtype, next(turn) % 5, kernel.shape if by_shape else None)  # its own next call is elsewhere
            if key not in memory or memory[key].size < kernel.size:
                memory[key] = np.empty(kernel.size, kernel.dtype)
            held = memory[key][:kernel.size].reshape(kernel.shape)
            held[...] = kernel
            return held

        return call

    return wrapped(preparing)


def _hands_out_its_own(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    """The first kernel as it is, and copies of it later."""
    compute, own = base.prepare(case, request), []

    def call() -> Array:
        if own:
            return own[0].copy()
        own.append(compute())
        return own[0]

    return call


def _of_the_thread(where: str) -> Callable[[Method], Method]:
    def preparing(base: Method, case: Case, request: Request) -> Callable[[], Array]:
        compute, home = base.prepare(case, request), threading.current_thread()
        elsewhere: dict[str, Callable[[], bool]] = {
            "called": lambda: threading.current_thread() is not home,
            "prepared": lambda: home is not threading.main_thread()}
        return lambda: spoiled(compute()) if elsewhere[where]() else compute()

    return wrapped(preparing)


_scratch: dict[str, Any] = {}


def _shared_between_threads(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    """What is computed lies in one place for a moment."""
    compute = base.prepare(case, request)

    def call() -> Array:
        kernel: Any = compute()
        _scratch["kernel"] = kernel
        threading.Event().wait(0.02)
        found = _scratch["kernel"]
        return found.copy() if found.shape == kernel.shape and found.dtype == kernel.dtype else kernel

    return call


def _while_it_runs(so: Callable[[], bool]) -> Callable[[Method], Method]:
    """Wrong where something of the process is so at the call."""
    def preparing(base: Method, case: Case, request: Request) -> Callable[[], Array]:
        compute = base.prepare(case, request)
        return lambda: spoiled(compute()) if so() else compute()

    return wrapped(preparing)


def _read_only(case: Case, request: Request) -> bool:
    return not all(array.flags.writeable for array in _arrays(case))


def _strided(case: Case, request: Request) -> bool:
    return not (case.x1.flags.c_contiguous or case.x1.flags.f_contiguous)


def _shares(case: Case, request: Request) -> bool:
    return case.x2 is not None and np.shares_memory(case.x1, case.x2)


def _one_start(case: Case, request: Request) -> bool:
    pointers = [array.__array_interface__["data"][0] for array in (case.x1, case.x1 if case.x2 is None else case.x2)]
    return case.x2 is not None and pointers[0] == pointers[1]


def _offset(case: Case, request: Request) -> bool:
    """An array that is a part of another one, whose memory begins elsewhere."""
    return any(isinstance(a.base, np.ndarray) and a.base.ctypes.data != a.ctypes.data for a in _arrays(case))


def _as_it_lies(base: Method, case: Case, request: Request) -> Callable[[], Array]:
    """Strides of x1 are ignored."""
    flat = np.lib.stride_tricks.as_strided(case.x1, case.x1.shape,
                                           np.empty(case.x1.shape, case.x1.dtype).strides)
    inside = case.x1 if case.x1.flags.f_contiguous and not case.x1.flags.c_contiguous else np.array(flat)
    return base.prepare(replace(case, x1=inside), request)


def _jax(name: str) -> Any:
    import jax

    return getattr(jax.config, name)


HERE = os.getcwd()
CALLS = "test_many_calls"
ALIKE, FORMS, MEMORY = "test_cases_that_look_alike", "test_all_forms_in_turn", "test_arrays_as_users_have_them"
AROUND = "test_surroundings"

# name: (what is wrong, base, the mistake, the check)
MISTAKES: dict[str, tuple[str, str, Callable[[Method], Method], str]] = {
    "sixth_call": ("the sixth call", NUMPY, _from_call(6), CALLS),
    "eleventh_call": ("the eleventh call", TORCH, _from_call(11), CALLS),
    "thirty_third_call": ("the 33rd call", NUMPY, _from_call(33), CALLS),
    "workspace": ("kernels are overwritten by later ones of their shape", NUMPY, _workspace(True), ALIKE),
    "one_workspace": ("kernels are overwritten by later ones of any shape", NUMPY, _workspace(False), FORMS),
    "its_own": ("the first kernel is kept as it was handed out", NUMPY, wrapped(_hands_out_its_own), FORMS),
    "called_elsewhere": ("called in another thread", NUMPY, _of_the_thread("called"), "test_another_thread"),
    "prepared_elsewhere": ("prepared in another thread than the first", NUMPY, _of_the_thread("prepared"),
                           "test_another_thread"),
    "one_scratch": ("two threads write to one place", NUMPY, wrapped(_shared_between_threads), "test_another_thread"),
    "read_only": ("arrays that are read-only", NUMPY, wrong_where(_read_only), MEMORY),
    "strided": ("an x1 that is not contiguous", NUMPY, wrong_where(_strided), MEMORY),
    "offset": ("arrays inside of others", NUMPY, wrong_where(_offset), MEMORY),
    "strides_ignored": ("the strides of x1 are ignored", NUMPY, wrapped(_as_it_lies), MEMORY),
    "shares_memory": ("x2 shares memory with x1", NUMPY, wrong_where(_shares), "test_shared_memory"),
    "one_start": ("x2 begins where x1 does", NUMPY, wrong_where(_one_start), "test_shared_memory"),
    "no_grad": ("under torch.no_grad", TORCH, _while_it_runs(lambda: not torch.is_grad_enabled()), AROUND),
    "autocast": ("under autocast", TORCH, _while_it_runs(lambda: torch.is_autocast_enabled("cpu")), AROUND),
    "default_float64": ("with a default dtype of float64", TORCH,
                        _while_it_runs(lambda: torch.get_default_dtype() == torch.float64), AROUND),
    "jax_x64": ("where JAX has 64-bit numbers", JAX, _while_it_runs(lambda: _jax("jax_enable_x64")), AROUND),
    "jax_precision": ("where JAX multiplies in bfloat16", JAX,
                      _while_it_runs(lambda: _jax("jax_default_matmul_precision") == "bfloat16"), AROUND),
    "environment": ("with another number of threads in the environment", NUMPY,
                    _while_it_runs(lambda: os.environ.get("OMP_NUM_THREADS") == "3"), AROUND),
    "no_test": ("where no variable tells of a test", NUMPY,
                _while_it_runs(lambda: "PYTEST_CURRENT_TEST" not in os.environ and "train.py" in sys.argv), AROUND),
    "directory": ("in another directory", NUMPY, _while_it_runs(lambda: os.getcwd() != HERE), AROUND),
}

MUTANTS = (
    *(Mutant(f"cached_by.{name}", "23", "any", f"kernels are kept by {what}", NUMPY, _cached(key), None,
             check={"id": "test_changed_in_place", "all_but_constants": "test_other_constants"}.get(name, ALIKE))
      for name, (what, key) in KEYS.items()),
    *(Mutant(f"calls.{name}", "23", "any", what if check in (ALIKE, FORMS) else f"wrong: {what}", base, make, None,
             check=check)
      for name, (what, base, make, check) in MISTAKES.items()),
)
