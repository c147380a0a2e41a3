"""`python -m bench run` with a model and inputs of the user's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.records.store import Store
from tests.bench.command import assert_usage_error, bench, choosing, rows

ONCE = ("--replicates", "1", "--again", "0")
"""One process for each cell: more of them say nothing more about the model."""


@pytest.mark.parametrize(("function", "method", "given"), [
    ("network", "explicit_mlp", True),
    ("case", "torch_func.jacobian_contraction", False),
    ("torch_model", "torch_func.jacobian_contraction", True),
    ("torch_function", "torch_func.jacobian_contraction", True),
    ("equinox_model", "equinox.exact", True),
])
def test_own_model(bench_files: Path, tmp_path: Path, function: str, method: str, given: bool) -> None:
    pytest.importorskip("torch" if "equinox" not in method else "equinox", reason="its framework is not installed")
    inputs = ("--input", bench_files / "x.npy") if given else ()
    done = bench("run", "--model", f"{bench_files}/models.py:{function}", *inputs, "--methods", method,
                 *ONCE, "--out", tmp_path, imported="" if "equinox" in method else "torch")
    assert done.returncode == 0, done.stderr + done.stdout
    row = rows(tmp_path)[method]
    assert row.status == "ok"
    assert (row.info.n1, row.info.n_outputs) == ((4, 2) if given else (3, 2))
    assert "float64" in row.checked_against
    assert row.info.n_params


def test_own_inputs_on_the_networks_of_the_profile(bench_files: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    done = bench("run", "--input", bench_files / "x.npy", "--widths", "5", "--batch", "2", "3", "--methods",
                 "explicit_*", "--outputs", "full", "trace", *ONCE, "--out", tmp_path, imported="torch")
    assert done.returncode == 0, done.stderr
    found = Store(tmp_path).records()
    assert {(row.info.n1, row.info.n_outputs, row.info.width, row.cell.outputs) for row in found} == {
        (n, o, 5, outputs) for n in (2, 3) for o in (1, 10) for outputs in ("full", "trace")}
    assert {row.info.data for row in found} == {"x.npy"}


def test_integer_inputs(bench_files: Path, tmp_path: Path) -> None:
    """Of no use for the profile's networks; of a model of the user's, the model decides."""
    given = ("--input", bench_files / "integers.npy", "--out", tmp_path)
    quick = (*given, *choosing(bench_files, "GOOD"))
    assert_usage_error(bench("run", *quick), "takes floating-point numbers", "astype")
    assert_usage_error(bench("run", *quick, "--model", f"{bench_files}/models.py:network"), "floating-point", "astype")
    pytest.importorskip("torch", reason="PyTorch is not installed")
    given = (*given, *ONCE, "--methods", "torch_autograd.per_example")
    done = bench("run", *given, "--model", f"{bench_files}/models.py:torch_model", imported="torch")
    assert_usage_error(done, "integers (int64)", "unless the model embeds tokens", "astype")
    done = bench("run", *given, "--model", f"{bench_files}/models.py:embedding", imported="torch")
    assert done.returncode == 0, done.stderr + done.stdout
    row = rows(tmp_path)["torch_autograd.per_example"]
    assert (row.status, row.info.n1, row.info.n_params) == ("ok", 4, 12 * 4 + 12 * 2 + 2)


def test_a_model_that_a_method_lacks_a_rule_for(bench_files: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    lacking = "torch_func.jacobian_contraction"
    done = bench("run", "--input", bench_files / "x.npy", "--model", f"{bench_files}/models.py:last_step",
                 "--out", tmp_path, *ONCE, "--methods", lacking, "torch_autograd.per_example", imported="torch")
    assert done.returncode == 0, done.stderr + done.stdout
    found = rows(tmp_path)
    assert found["torch_autograd.per_example"].status == "ok"
    assert found[lacking].status == "unsupported"
    assert "torch.func cannot map or differentiate" in found[lacking].reason


def test_more_examples_than_there_are(bench_files: Path, tmp_path: Path) -> None:
    done = bench("run", "--input", bench_files / "x.npy", "--batch", "2", "100000", "--cases", "no-such-case", "--out",
                 tmp_path)
    assert "--batch 100000: x.npy has 4 examples; measured with 2" in done.stdout
    done = bench("run", "--model", f"{bench_files}/models.py:case", "--batch", "100000", "--out", tmp_path,
                 *choosing(bench_files, "GOOD"))
    assert_usage_error(done, "--batch 100000", "has 3 examples")


@pytest.mark.parametrize(("function", "words"), [
    ("networkk", ("no 'networkk'", "network")),
    ("nothing", ("returned a str", "torch.nn.Module")),
    ("failing", ("OSError: no weights here",)),
    ("needs_an_argument", ("TypeError", "argument")),
    ("not_a_function", ("is a int", "function")),
    ("wide_torch_model", ("(4, 3)",)),
])
def test_models_that_cannot_be_used(bench_files: Path, tmp_path: Path, function: str, words: tuple[str, ...]) -> None:
    method = choosing(bench_files, "GOOD")
    if function == "wide_torch_model":
        pytest.importorskip("torch", reason="PyTorch is not installed")
        method = ["--methods", "torch_autograd.per_example"]
    done = bench("run", "--model", f"{bench_files}/models.py:{function}", "--input", bench_files / "x.npy",
                 "--out", tmp_path, *method, imported="torch" if function == "wide_torch_model" else "")
    assert_usage_error(done, *words)
    assert ("computing" in done.stdout) == (function == "wide_torch_model"), "it is built before all else"


def test_inputs_that_do_not_fit_a_network(bench_files: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((4, 5), np.float32))
    given = ("--model", f"{bench_files}/models.py:network", "--out", tmp_path, *choosing(bench_files, "GOOD"))
    assert_usage_error(bench("run", *given, "--input", tmp_path / "x.npy"), "(5,)", "(3,)")
    done = bench("run", *given)
    assert_usage_error(done, "--input")
    assert "computing" not in done.stdout


def test_a_case_that_cannot_be_built(bench_files: Path, tmp_path: Path) -> None:
    """10¹⁴ weights, but few in the first layer: more than any memory; one line says so."""
    np.save(tmp_path / "x.npy", np.ones((2, 1), np.float32))
    assert_usage_error(bench("run", "--out", tmp_path, *choosing(bench_files, "GOOD"), "--widths", "9999999",
                             "--cases", "*mlp*o1-*", "--input", tmp_path / "x.npy"), "cannot be built", "TiB")
