"""One call counts: what is predicted before anything is traced, and that nothing is where that would take longest."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="the PyTorch half is not installed")

import torch

from impls import ntk
from impls.choice import torch_one_call as one_call
from impls.choice.torch_one_call import ENGINE, LOOP, MAPPED, Outline
from reference import InputError
from reference.tolerances import tolerance

DEEP = Outline(examples=3, n_outputs=2, jacobian_bytes=10**7, operations=200, forward_s=0.005,
               backward_s=0.005)


def fastest(outline: Outline) -> str:
    found = one_call.seconds(outline)
    return min(found, key=found.__getitem__)


def test_a_deep_network_of_few_examples_is_not_worth_a_trace() -> None:
    assert fastest(DEEP) == LOOP
    assert fastest(replace(DEEP, backward_s=0.2)) == MAPPED
    assert fastest(replace(DEEP, examples=3000)) == ENGINE
    assert fastest(replace(DEEP, operations=5, n_outputs=100, jacobian_bytes=5 * 10**8)) == ENGINE


def test_what_is_imported_and_checked_counts() -> None:
    alone, checked = one_call.seconds(DEEP, imported=False), one_call.seconds(DEEP, check=True)
    assert alone[LOOP] == checked[LOOP] == one_call.seconds(DEEP)[LOOP]
    for name in (ENGINE, MAPPED):
        assert alone[name] > checked[name] > one_call.seconds(DEEP)[name]


def test_a_small_network_needs_no_compiler_of_pytorch() -> None:
    program = """
import sys, torch
from impls import ntk
network = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
ntk(network, torch.ones(4, 3))
print([name for name in ("torch._dynamo", "sympy", "jax") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def deep() -> tuple[torch.nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    layers = [layer for _ in range(40) for layer in (torch.nn.Linear(8, 8), torch.nn.ELU(), torch.nn.LayerNorm(8))]
    return torch.nn.Sequential(*layers, torch.nn.Linear(8, 2)), torch.randn(3, 8)


def test_it_is_told_checked_and_right(deep: tuple[torch.nn.Module, torch.Tensor],
                                      capsys: pytest.CaptureFixture[str]) -> None:
    module, x = deep
    kernel = ntk(module, x, verbose=True)
    out = capsys.readouterr().out
    assert "ntk: one call of structured_torch is predicted to take" in out
    assert "chosen" not in out
    right = ntk(module, x, method="torch_autograd.per_example")
    allowed = tolerance("float32") * float(right.abs().max())
    torch.testing.assert_close(kernel, right, rtol=0, atol=allowed)
    torch.testing.assert_close(ntk(module, x, expect_calls=100, verbose=True), right, rtol=0, atol=allowed)
    assert "chosen" in capsys.readouterr().out


def test_the_number_of_calls_is_a_positive_one(deep: tuple[torch.nn.Module, torch.Tensor]) -> None:
    with pytest.raises(InputError, match="expect_calls must be a positive number of calls, got 0"):
        ntk(*deep, expect_calls=0)
