"""What a method must leave as it was: the settings and random generators that every user of the process shares."""

from __future__ import annotations

import gc
import locale
import logging
import os
import signal
import sys
import warnings
from itertools import product
from typing import Any

import numpy as np

# PyTorch sets it when torch.vmap is first used and imports its compiler.
SET_BY_IMPORTS = ("TORCHINDUCTOR_CACHE_DIR",)


def global_state() -> dict[str, Any]:
    """Name to value, comparable with ==, of the frameworks that are imported.

    Python's own `random` is not among them: the runtime check of types draws from it. Nor are filters for warnings of a
    package's own kind, which packages set when they are imported.
    """
    state: dict[str, Any] = {
        "os.environ": {name: value for name, value in os.environ.items() if name not in SET_BY_IMPORTS},
        "numpy.random.get_state()": [str(part) for part in np.random.get_state()],  # noqa: NPY002
        "numpy.geterr()": np.geterr(),
        "numpy.get_printoptions()": str(np.get_printoptions()),
        "os.getcwd()": os.getcwd(),
        "gc.isenabled()": gc.isenabled(),
        "sys.getrecursionlimit()": sys.getrecursionlimit(),
        "warnings.filters": [str(part) for part in warnings.filters if part[2].__module__ == "builtins"],
        "gc.get_threshold()": gc.get_threshold(),
        "sys.excepthook": id(sys.excepthook),
        "sys.getswitchinterval()": sys.getswitchinterval(),
        "sys.path": list(sys.path),
        "sys.stdout, sys.stderr": (id(sys.stdout), id(sys.stderr)),
        "logging.root.level": logging.root.level,
        "logging.root.handlers": [id(handler) for handler in logging.root.handlers],
        "locale.setlocale()": locale.setlocale(locale.LC_ALL),
        "os.umask()": _umask(),
        "signal.getsignal()": {number: id(signal.getsignal(number)) for number in signal.valid_signals()},
        "CPUs of this process": os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None,
        "denormal numbers": float(np.ldexp(1.0, [-1074])[0] * np.ones(1)[0]),  # 0 where they are flushed
    }
    if (jax := sys.modules.get("jax")) is not None:
        state |= {f"jax.config.{name}": getattr(jax.config, name, value) for name, value in jax.config.values.items()}
    if (torch := sys.modules.get("torch")) is not None:
        state |= _torch_state(torch)
    return state


def _umask() -> int:
    """It can be read only by being set."""
    current = os.umask(0o077)
    os.umask(current)
    return current


def _torch_state(torch: Any) -> dict[str, Any]:
    return {
        "torch.get_default_dtype()": torch.get_default_dtype(),
        "torch.get_default_device()": torch.get_default_device(),
        "torch.is_grad_enabled()": torch.is_grad_enabled(),
        "torch.is_inference_mode_enabled()": torch.is_inference_mode_enabled(),
        "torch.get_num_threads()": torch.get_num_threads(),
        "torch.random.get_rng_state()": torch.random.get_rng_state().tolist(),
        "torch.are_deterministic_algorithms_enabled()": torch.are_deterministic_algorithms_enabled(),
        "torch.get_float32_matmul_precision()": torch.get_float32_matmul_precision(),
        "torch.backends.cudnn.allow_tf32": torch.backends.cudnn.allow_tf32,
        "torch.backends.cuda.matmul.allow_tf32": torch.backends.cuda.matmul.allow_tf32,
        "torch.backends.cudnn.benchmark": torch.backends.cudnn.benchmark,
        "torch.is_autocast_enabled('cpu')": torch.is_autocast_enabled("cpu"),
        "torch.is_anomaly_enabled()": torch.is_anomaly_enabled(),
        "torch.backends.mha.get_fastpath_enabled()": torch.backends.mha.get_fastpath_enabled(),
    } | {
        f"torch.backends.cuda.{kernel}_sdp_enabled()": getattr(torch.backends.cuda, f"{kernel}_sdp_enabled")()
        for kernel in ("flash", "mem_efficient", "math", "cudnn")
    } | {
        f"torch.backends.{library}.{operation}.fp32_precision":
            getattr(getattr(torch.backends, library), operation).fp32_precision
        for library, operation in product(("cudnn", "mkldnn"), ("conv", "rnn"))
    }
