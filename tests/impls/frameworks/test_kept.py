"""Engines that are kept for as long as their network lives."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests import ROOT

pytest.importorskip("jax", reason="the JAX half is not installed")

PROGRAM = """
import jax.numpy as jnp
from impls import ntk
params = {"w": jnp.ones((2, 2)), "depth": 3}
for _ in range(2):
    ntk(lambda params, x: jnp.tanh(x @ params["w"]) * params["depth"], jnp.ones((2, 2)), params=params)
"""


def test_a_process_ends_without_a_word() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
