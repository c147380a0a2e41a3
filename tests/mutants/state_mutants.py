"""Methods whose kernels are right and that leave something changed: in the process, or in the user's model."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from impls import Method
from impls.protocol import Array
from reference import Case, Request
from tests.mutants.mutant import Mutant, wrapped

BASES = {"torch": "torch_func.jacobian_contraction", "jax": "equinox.exact", "numpy": "planted.correct"}


ON_CPU: Any = torch.backends.mkldnn  # its type stubs lack most of it


def _leaving(change: Callable[[], Any], in_prepare: bool = False) -> Callable[[Method], Method]:
    """The change is made by the call, or by `prepare`, and stays; the kernel itself is right."""
    def preparing(base: Method, case: Case, request: Request) -> Callable[[], Array]:
        compute = base.prepare(case, request)
        if in_prepare:
            change()

        def leaving() -> Array:
            kernel = compute()
            if not in_prepare:
                change()
            return kernel

        return leaving

    return wrapped(preparing)


def _jax_config(name: str, value: Any) -> Callable[[], None]:
    def change() -> None:
        import jax

        jax.config.update(name, value)

    return change


def _conv_in_bfloat16() -> None:
    ON_CPU.conv.fp32_precision = "bf16"


@contextmanager
def _put_back() -> Iterator[None]:
    """For what runs after the mutant in this process."""
    import jax

    before = {name: getattr(jax.config, name) for name in CHANGED_IN_JAX}
    torch_before = [(put_back, value()) for put_back, value in CHANGED_IN_TORCH]
    errors, limit, environment = np.geterr(), sys.getrecursionlimit(), dict(os.environ)
    with warnings.catch_warnings():
        try:
            yield
        finally:
            for name, value in before.items():
                jax.config.update(name, value)
            for put_back, value in torch_before:
                put_back(value)
            np.seterr(**errors)
            sys.setrecursionlimit(limit)
            os.environ.clear()
            os.environ.update(environment)


CHANGED_IN_JAX = ("jax_enable_x64", "jax_default_matmul_precision", "jax_debug_nans")
CHANGED_IN_TORCH: tuple[tuple[Callable[[Any], Any], Callable[[], Any]], ...] = (
    (torch.set_default_dtype, torch.get_default_dtype),
    (torch.set_grad_enabled, torch.is_grad_enabled),
    (torch.set_num_threads, torch.get_num_threads),
    (torch.random.set_rng_state, torch.random.get_rng_state),
    (torch.backends.cuda.enable_flash_sdp, torch.backends.cuda.flash_sdp_enabled),
    (torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled),
    (lambda value: setattr(ON_CPU.conv, "fp32_precision", value), lambda: ON_CPU.conv.fp32_precision),
)


def _mutant(framework: str, name: str, what: str, change: Callable[[], Any], in_prepare: bool = False) -> Mutant:
    return Mutant(f"{framework}.leaves_{name}", "19", "any", what, BASES[framework], _leaving(change, in_prepare), None,
                  check="test_no_global_state_is_changed", around=_put_back)


MUTANTS = (
    _mutant("torch", "default_dtype", "PyTorch's default dtype is float64 afterwards",
            lambda: torch.set_default_dtype(torch.float64), in_prepare=True),
    _mutant("torch", "seed", "PyTorch's generator is seeded", lambda: torch.manual_seed(0)),
    _mutant("torch", "no_grad", "gradients are off afterwards", lambda: torch.set_grad_enabled(False)),
    _mutant("torch", "threads", "PyTorch has another number of threads afterwards",
            lambda: torch.set_num_threads(torch.get_num_threads() + 1)),
    _mutant("torch", "no_fused_attention", "fused attention is off afterwards",
            lambda: torch.backends.cuda.enable_flash_sdp(False)),
    _mutant("torch", "no_fastpath", "the fast path of attention is off afterwards",
            lambda: torch.backends.mha.set_fastpath_enabled(False)),
    _mutant("torch", "bfloat16", "convolutions on the CPU are in bfloat16 afterwards", _conv_in_bfloat16),
    _mutant("torch", "warnings_off", "warnings are off afterwards",
            lambda: warnings.simplefilter("ignore"), in_prepare=True),
    _mutant("jax", "x64", "JAX has 64-bit numbers afterwards", _jax_config("jax_enable_x64", True)),
    _mutant("jax", "precision", "JAX multiplies with another precision afterwards",
            _jax_config("jax_default_matmul_precision", "bfloat16"), in_prepare=True),
    _mutant("jax", "debug_nans", "JAX looks for NaN afterwards", _jax_config("jax_debug_nans", True)),
    _mutant("numpy", "errors_off", "NumPy's floating-point errors are ignored afterwards",
            lambda: np.seterr(all="ignore")),
    _mutant("numpy", "environment", "a variable of the environment is set",
            lambda: os.environ.update(XLA_PYTHON_CLIENT_PREALLOCATE="false"), in_prepare=True),
    _mutant("numpy", "recursion_limit", "Python's recursion limit is raised",
            lambda: sys.setrecursionlimit(sys.getrecursionlimit() + 1000)),
)
