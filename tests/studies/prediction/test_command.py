"""``python -m studies predict`` beside training, and the outputs that it begins at."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reference import InputError, tolerance
from studies import cli
from studies.outputs import outputs
from studies.prediction import command, kernels
from tests.studies.prediction.problems import AGREEMENT, network, problem

MODEL = '''"""A network of float64."""

import torch


def make():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.Tanh(), torch.nn.Linear(32, 10))
    return model.double()
'''


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_times(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    flags = ["--train", "20", "--test", "30", "--network.width", "16", "--times", "0", "100", "1000"]
    assert cli.main(["predict", *flags, "--out", str(tmp_path)]) == 0
    found = rows(tmp_path / "predict.csv")
    losses = [float(row["train_loss"]) for row in found]
    assert [row["t"] for row in found] == ["0.0", "100.0", "1000.0"]
    assert losses[0] > 1.5 * losses[1] > 2 * losses[2]
    assert float(found[-1]["test_accuracy"]) > 0.2
    assert np.load(tmp_path / "predict.npz")["test"].shape == (3, 30, 10)
    assert (tmp_path / "predict.png").stat().st_size > 5000
    assert "gradient descent converges below a learning rate of" in capsys.readouterr().out


def test_steps_of_a_network_of_the_user_are_those_of_its_linearisation(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    (tmp_path / "model.py").write_text(MODEL)
    config = tmp_path / "predict.toml"
    config.write_text('train = 12\ntest = 5\n[network]\nmodel = "MODEL:make"\n[descent]\nsteps = [0, 25]\n'
                      "learning_rate = 0.05\nmomentum = 0.9\n".replace("MODEL", str(tmp_path / "model.py")))
    assert cli.main(["predict", str(config), "--out", str(tmp_path)]) == 0
    scope: dict[str, Any] = {}
    exec(MODEL, scope)
    model = scope["make"]()
    from studies.data import load

    data = load("digits")
    x, y = torch.tensor(data.x_train[:12]).double(), torch.eye(10).double()[torch.tensor(data.y_train[:12])]
    at = {name: p.detach() for name, p in model.named_parameters()}
    params = {name: p.clone().requires_grad_() for name, p in at.items()}
    optimiser = torch.optim.SGD(params.values(), lr=0.05, momentum=0.9)

    def linear() -> Any:
        along = {name: params[name] - at[name] for name in at}
        f, moved = torch.func.jvp(lambda p: torch.func.functional_call(model, p, (x,)), (at,), (along,))[:2]
        return f + moved

    for _ in range(25):
        optimiser.zero_grad()
        torch.nn.functional.mse_loss(linear(), y).backward()
        optimiser.step()
    due = linear().detach().numpy()
    np.testing.assert_allclose(np.load(tmp_path / "predict.npz")["train"][1], due, atol=AGREEMENT)


def test_kernels_are_kept_and_taken_for_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    computed: list[str] = []

    def counted(*args: Any, method: str, **more: Any) -> Any:
        computed.append(method)
        return kernels(*args, method=method, **more)

    monkeypatch.setattr(command, "kernels", counted)
    small = ["predict", "--train", "6", "--test", "3", "--network.width", "4", "--times", "0", "10", "--out",
             str(tmp_path)]
    assert cli.main(small) == 0
    first = rows(tmp_path / "predict.csv")
    assert cli.main(small) == 0
    assert rows(tmp_path / "predict.csv") == first
    assert computed == ["auto"]
    for other in (["--seed", "1"], ["--train", "5"], ["--method", "torch_autograd.per_example"]):
        assert cli.main([*small, *other]) == 0
    (tmp_path / "kernel_test.npz").write_bytes(b"cut off")
    assert cli.main([*small, "--method", "torch_autograd.per_example"]) == 0
    assert computed == ["auto", "auto", "auto", *["torch_autograd.per_example"] * 2]


@pytest.mark.parametrize("most", [None, 10])
def test_products_with_vectors_where_the_kernel_would_be_too_large(most: int | None, tmp_path: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    small = ["predict", "--train", "6", "--test", "3", "--network.width", "4", "--times", "0", "10", "--ridge.value",
             "0.1", "--out", str(tmp_path)]
    assert cli.main(small) == 0
    due = rows(tmp_path / "predict.csv")
    (tmp_path / "kernel_train.npz").unlink()
    if most is not None:
        monkeypatch.setattr(command, "MOST_ROWS", most)
    assert cli.main([*small, *(["--method", "products"] if most is None else [])]) == 0
    assert not (tmp_path / "kernel_train.npz").exists()
    for found, one in zip(rows(tmp_path / "predict.csv"), due, strict=True):
        assert float(found["test_loss"]) == pytest.approx(float(one["test_loss"]), rel=tolerance("float32"))


def test_targets_that_are_numbers_have_no_accuracy(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    x = np.linspace(-1, 1, 24, dtype=np.float32).reshape(12, 2)
    np.savez(tmp_path / "waves.npz", x_train=x, y_train=np.sin(x), x_test=x[:3], y_test=np.sin(x[:3]))
    small = ["--network.width", "8", "--network.activation", "tanh", "--times", "0", "1000", "--out", str(tmp_path)]
    assert cli.main(["predict", "--data", str(tmp_path / "waves.npz"), *small]) == 0
    before, after = rows(tmp_path / "predict.csv")
    assert float(after["test_loss"]) < 0.1 * float(before["test_loss"])
    assert after["test_accuracy"] == ""


@pytest.mark.parametrize(("flags", "says"), [
    (["--times", "-1"], "t must be at least 0 (infinity allowed), got -1.0"),
    (["--method", "structured_jxx"], "unknown method 'structured_jxx'"),
    (["--times", "inf"], "the kernel is singular to its precision"),
    (["--train", "-5"], "train must be at least 1, got -5"), (["--test", "0"], "test must be at least 1, got 0"),
    (["--descent.steps", "-1"], "descent.steps must be at least 0, got -1"),
    (["--descent.learning-rate", "-1"], "learning_rate must be a positive number, got -1.0"),
    (["--descent.momentum", "1"], "momentum must be at least 0 and less than 1"),
    (["--seed", "-1"], "seed must be from 0 to"),
    (["--network.dropout", "1"], "network.dropout must be in"), (["--ridge.value", "-1"], "a ridge is a number of at"),
    (["--out", __file__], "File exists"),
])
def test_what_cannot_be_done_is_told(flags: list[str], says: str, tmp_path: Path,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    small = ["--train", "30", "--test", "5", "--network.width", "4", "--network.depth", "1", "--out", str(tmp_path)]
    assert cli.main(["predict", *small, *flags]) == cli.USAGE
    assert says in capsys.readouterr().err


def test_outputs_are_those_of_evaluation() -> None:
    torch = pytest.importorskip("torch")
    x = problem().x_train
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Dropout(0.5)).double()
    due = module[0](torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(outputs(module, x), due)
    assert module.training
    params = {name: torch.tensor(value) for name, value in problem().params.items()}
    np.testing.assert_allclose(outputs(network, x, params=params), problem().f0)
    with pytest.raises(InputError, match=r"a model is a torch\.nn\.Module"):
        outputs("model", x)


def test_outputs_in_jax() -> None:
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        np.testing.assert_allclose(outputs(network, problem().x_train, params=dict(problem().params)), problem().f0)
