"""``python -m bench kernel``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the PyTorch half is not installed")
pytest.importorskip("tyro", reason="the command line is not installed")
pytest.importorskip("zarr", reason="the extra scale is not installed")

import reference  # noqa: E402
from bench.commands import kernel as command  # noqa: E402
from bench.commands.cli import STOPPED, USAGE, main  # noqa: E402
from impls import ntk  # noqa: E402
from impls.tiles import open_kernel  # noqa: E402
from reference import compare  # noqa: E402

NET = """
import torch

def make():
    return torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3))
"""

X = np.random.default_rng(0).standard_normal((23, 5))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.py").write_text(NET)
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "Z.npy", X[:4] + 1)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def kernel(*arguments: str) -> int:
    return main(["kernel", *arguments])


@pytest.mark.usefixtures("folder")
def test_a_model_and_its_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--model", "net.py:make", "--input", "X.npy", "--out", "K.zarr", "--outputs", "trace")
    assert kernel(*asked, "--tile", "10") == 0
    assert "5 of 6 to be computed" in capsys.readouterr().out, "the first one is computed before there is a store"
    assert kernel(*asked) == 0
    assert "0 of 6 to be computed" in capsys.readouterr().out
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3))
    due = ntk(module, X, outputs="trace", method="structured_torch").numpy()
    np.testing.assert_allclose(open_kernel("K.zarr"), due, rtol=reference.tolerance("float32"),
                               atol=reference.tolerance("float32") * due.max())
    assert kernel(*asked[:-1], "full") == USAGE
    assert "outputs: 'trace' there, 'full' now" in capsys.readouterr().err


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_a_shared_case_is_the_proved_kernel(framework: str, tmp_path: Path) -> None:
    pytest.importorskip(framework)
    path = tmp_path / "K.zarr"
    assert kernel("--case", "mlp_relu", "--out", str(path), "--framework", framework, "--dtype", "float64", "--tile",
                  "2") == 0
    case = reference.case("mlp_relu")
    found = compare(np.asarray(open_kernel(path)), reference.expected(case), outputs="full", dtype="float64",
                    symmetric=case.symmetric)
    assert found.ok


@pytest.mark.usefixtures("folder")
def test_two_sides() -> None:
    assert kernel("--model", "net.py:make", "--input", "X.npy", "--input2", "Z.npy", "--out", "K.zarr") == 0
    assert open_kernel("K.zarr").shape == (23, 4, 3, 3)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("arguments", "said"), [
    (("--out", "K.zarr"), "needs --model FILE.py:FUNCTION with --input X.npy, or --case NAME"),
    (("--model", "net.py:make", "--case", "mlp_relu", "--out", "K.zarr"), "needs --model"),
    (("--model", "net.py:make", "--out", "K.zarr"), "needs inputs: give --input"),
    (("--case", "mlp_rule", "--out", "K.zarr"), "did you mean mlp_relu"),
    (("--case", "mlp_relu", "--input2", "Z.npy", "--out", "K.zarr"), "--input2 is x2 beside an --input"),
    (("--case", "mlp_relu", "--out", "K.zarr", "--memory-limit", "0"), "--memory-limit must be positive, got 0"),
    (("--model", "net.py:make", "--input", "net.py", "--out", "K.zarr"), "takes an .npy or .npz file"),
    (("--model", "net.py:make", "--input", "X.npy", "--out", "."), "holds no kernel of ours"),
])
def test_what_cannot_be_used_is_one_line(arguments: tuple[str, ...], said: str,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    assert kernel(*arguments) == USAGE
    assert said in capsys.readouterr().err
    assert not Path("K.zarr").exists()


@pytest.mark.usefixtures("folder")
def test_stopped_and_gone_on_with(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--model", "net.py:make", "--input", "X.npy", "--out", "K.zarr", "--tile", "10")

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(command, "run", stopped)
        assert kernel(*asked) == STOPPED
    assert "before the first tile was there" in capsys.readouterr().err
    assert kernel(*asked) == 0
    (chunk,) = Path("K.zarr").glob("c/1/2/*")
    assert chunk.exists()
    with monkeypatch.context() as patched:
        patched.setattr(command, "run", stopped)
        assert kernel(*asked) == STOPPED
    assert "6 of 6 tiles are in K.zarr; the same command goes on from there" in capsys.readouterr().err
