"""``python -m bench explain``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("jax", reason="the JAX half is not installed")
pytest.importorskip("torch", reason="the PyTorch half is not installed")
pytest.importorskip("tyro", reason="the command line is not installed")

from bench.cells import methods
from bench.commands import explain as explaining
from bench.commands.cli import USAGE, main
from impls.choice import calibration
from impls.choice.rates import Rates


@pytest.fixture(autouse=True)
def known_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "rates", lambda *_: Rates(1e11, 1e11, 1e10, 1e-6))


def test_cases(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--cases", "transformer", "--symmetric", "--outputs", "trace"]) == 0
    out = capsys.readouterr().out
    assert "transformer, structured_jax, trace, float32, 2 × 2 examples, x2 = x1" in out
    assert "transformer, structured_torch, trace" in out
    for text in ("block0.attention.in_proj_weight", "2.body.1.attention.in_proj_weight", "embedding", "flops",
                 "chosen: the fastest that fits", "torch_func.jacobian_contraction", "equinox.exact"):
        assert text in out


def test_one_engine_and_a_limit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--cases", "mlp_wide", "--methods", "structured_torch", "--memory-limit", "0.02"]) == 0
    out = capsys.readouterr().out
    assert "structured_jax" not in out
    assert "4 × 2 examples\n" in out
    assert "planned for 0.02 MiB" in out


def test_a_model(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.py").write_text("import torch\ndef make():\n    return torch.nn.Linear(5, 3)\n")
    np.save(tmp_path / "x.npy", np.ones((4, 5), "float32"))
    monkeypatch.setitem(sys.modules, "torchax", None)  # as if it were not installed
    assert main(["explain", "--model", f"{tmp_path / 'net.py'}:make", "--input", str(tmp_path / "x.npy")]) == 0
    out = capsys.readouterr().out
    assert "structured_jax, full, float32, 4 × 4 examples, x2 = x1\nunsupported: torchax is not installed" in out
    assert "weight" in out.partition("structured_torch, full")[2]


EMBEDDING = """
import torch

def make():
    return torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.Flatten(), torch.nn.Linear(12, 2))

def linear():
    return torch.nn.Linear(3, 2)
"""


def test_tokens(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(EMBEDDING)
    np.save(tmp_path / "x.npy", np.arange(9).reshape(3, 3))
    given = ["--input", str(tmp_path / "x.npy"), "--methods", "structured_torch"]
    assert main(["explain", "--model", f"{tmp_path / 'net.py'}:make", *given]) == 0
    assert "0.weight" in capsys.readouterr().out
    assert main(["explain", "--model", f"{tmp_path / 'net.py'}:linear", *given]) == USAGE
    error = capsys.readouterr().err
    assert "integers (int64): unless the model embeds tokens, convert them, x.astype('float32')" in error


def test_a_device_that_one_framework_lacks(capsys: pytest.CaptureFixture[str],
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    lacking, broken = {"jax"}, set[str]()

    def missing_device(framework: str, _: str) -> str | None:
        if framework in broken:
            raise RuntimeError("the driver is too old")
        return f"no CUDA for {framework}" if framework in lacking else None

    monkeypatch.setattr(methods, "missing_device", missing_device)
    monkeypatch.setattr(explaining, "_explained", lambda name, *_: f"the plan of {name}")  # CUDA is not there in truth
    assert main(["explain", "--cases", "linear", "--device", "cuda"]) == 0
    out = capsys.readouterr().out
    assert "unsupported: no CUDA for jax" in out
    assert "the plan of structured_torch" in out
    broken.add("torch")
    assert main(["explain", "--cases", "linear", "--device", "cuda"]) == USAGE
    assert "no CUDA for jax" in capsys.readouterr().err
    lacking.clear()
    assert main(["explain", "--cases", "linear", "--device", "cuda"]) == 0
    assert "unsupported: torch cannot start the device 'cuda': RuntimeError: the driver" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "explain needs --cases NAME …, or --model"),
    (["--cases", "transfomer"], "unknown case 'transfomer'; did you mean transformer"),
    (["--cases", "linear", "--methods", "equinox.exact"], "unknown structured method 'equinox.exact'"),
    (["--cases", "linear", "--model", "net.py:make"], "--cases or --model, not both"),
    (["--cases", "linear", "--memory-limit", "0"], "--memory-limit must be positive"),
])
def test_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *arguments]) == USAGE
    assert message in capsys.readouterr().err
