"""As `tests.models.measure`, for JAX: in processes forked where JAX is imported, and its backend has not started.

A process that has computed with JAX cannot be forked, so each makes the network anew; programs compiled for that alone
are kept between them, and forgotten before the call that counts.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
from collections.abc import Callable
from typing import Any

import equinox  # noqa: F401  (these are imported once, before the processes are forked)
import flax  # noqa: F401
import jax
import numpy as np

from tests.models import truth_jax
from tests.models.entry import Entry, Made
from tests.models.forks import error_of, forked
from tests.models.table import LOOP_JAX, METHODS_JAX, TIMED_JAX, predictions

METHODS_ONCE = tuple(method for method in TIMED_JAX if method != LOOP_JAX)


def measured(entry: Entry) -> dict[str, Any]:
    """As `tests.models.measure.measured`; methods whose time is not asked for are run in float64 alone."""
    with tempfile.TemporaryDirectory() as kept:
        double = forked(lambda: _in_float64(entry, kept))
        if "failure" in double:
            raise RuntimeError(double["failure"])
        due = np.array(double.pop("truth"))
        single = {method: forked(lambda method=method: _single(entry, kept, method, due)) for method in TIMED_JAX}
    answer = {"name": entry.name, "package": entry.package, "framework": entry.framework, **double["network"]}
    for method in (*METHODS_JAX, LOOP_JAX):
        answer[method] = {"float32": single.get(method, {}), "float64": double["errors"].get(method, {})}
    return answer


def one_call(entry: Entry, repeats: int) -> dict[str, Any]:
    """As `tests.models.one_call.measured`."""
    with tempfile.TemporaryDirectory() as kept:
        forked(lambda: _only_made(entry, kept))
        seconds: dict[str, list[float]] = {method: [] for method in TIMED_JAX}
        for _ in range(repeats):
            for method in TIMED_JAX:
                seconds[method] += forked(lambda method=method: _seconds_of(entry, kept, method)).get("seconds", [])
        warm = {method: forked(lambda method=method: _warm(entry, kept, method)) for method in METHODS_ONCE}
    predicted = warm["auto"].get("predicted") or {}
    after = {method: each.get("seconds") for method, each in warm.items()}
    if predicted and min(predicted, key=predicted.__getitem__) == LOOP_JAX:
        after[LOOP_JAX] = after["auto"]
    return {"seconds": {method: min(each, default=None) for method, each in seconds.items()}, "warm": after,
            "checks": warm["auto"].get("checks"), "predicted": predicted}


def _only_made(entry: Entry, kept: str) -> dict[str, Any]:
    _made(entry, kept)
    return {}


def _seconds_of(entry: Entry, kept: str, method: str) -> dict[str, Any]:
    made = _made(entry, kept)
    return {"seconds": [_timed(lambda: _kernel(made, method))]}


def _warm(entry: Entry, kept: str, method: str) -> dict[str, Any]:
    """Of a call where JAX has computed, and the checks of the network are made."""
    made = _made(entry, kept)
    checks = _timed(lambda: _check(made))
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        seconds = checks + _timed(lambda: _kernel(made, method, verbose=True))
    return {"seconds": seconds, "checks": checks, "predicted": predictions(printed.getvalue())}


def _check(made: Made) -> None:
    """The network, as `ntk` does before anything else."""
    from impls.own.jax.network import own_network
    from impls.own.recognise import user_network

    own_network(user_network(made.model, made.options.get("params")), made.x, None)


def _kernel(made: Made, method: str, **options: Any) -> Any:
    from impls import ntk

    if method == LOOP_JAX:
        return truth_jax.kernel(made)
    return ntk(made.model, made.x, outputs="trace", method=method, **made.options, **options)


def _timed(call: Callable[[], Any]) -> float:
    begin = time.process_time()
    call()
    return time.process_time() - begin


def _in_float64(entry: Entry, kept: str) -> dict[str, Any]:
    """The truth, and every method's error, in one process."""
    made = _made(entry, kept)
    jax.config.update("jax_enable_x64", True)
    double = truth_jax.in_float64(made)
    due = truth_jax.kernel(double)
    parameters = truth_jax.count(truth_jax.function(double)[1])
    return {"truth": due.tolist(), "network": {"parameters": parameters, "rules": _explained(double)},
            "errors": {method: _call(double, method, due) for method in METHODS_JAX}}


def _single(entry: Entry, kept: str, method: str, due: np.ndarray) -> dict[str, Any]:
    made = _made(entry, kept)
    if method != LOOP_JAX:
        return _call(made, method, due)
    begin = time.process_time()
    kernel = truth_jax.kernel(made)
    return {"seconds": time.process_time() - begin, "error": error_of(kernel, due)}


def _made(entry: Entry, kept: str) -> Made:
    """The network, with what JAX compiles on the way kept in that folder."""
    from jax.experimental.compilation_cache import compilation_cache

    jax.config.update("jax_compilation_cache_dir", kept)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    made = entry.make()
    jax.block_until_ready(jax.tree.leaves(truth_jax.function(made)[1]))
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
    return made


def _call(made: Made, method: str, due: np.ndarray) -> dict[str, Any]:
    from impls import ntk

    begin = time.process_time()
    try:
        kernel = ntk(made.model, made.x, outputs="trace", method=method, **made.options)
    except Exception as error:  # each method's own refusal is a figure of the table
        return {"failure": f"{type(error).__name__}: {str(error)[:300]}"}
    kernel = np.asarray(kernel, np.float64)
    return {"seconds": time.process_time() - begin, "error": error_of(kernel, due)}


def _explained(made: Made) -> dict[str, Any]:
    import contextlib
    import io

    from impls import ntk

    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            ntk(made.model, made.x, outputs="trace", method="structured_jax", explain=True, **made.options)
        except Exception as error:
            return {"failure": str(error)[:300]}
    return {"explain": printed.getvalue()}
