"""What `python -m bench` says of options, methods and folders that it cannot use."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.records.store import FILE_NAME, Store
from tests.bench.command import CASE, assert_usage_error, bench, rows, run_methods


@pytest.mark.parametrize(("arguments", "words"), [
    (("--profile", "quik"), ("unknown profile 'quik'", "quick")),
    (("--methods", "torch_func.jacobian_contractoin"), ("unknown method", "torch_func.jacobian_contraction")),
    (("--profile", "fixtures", "--cases", "mlp_rellu"), ("unknown case", "mlp_relu")),
    (("--cases", "mlp_relu"), ("case 'mlp_relu' is of the profile fixtures: --profile fixtures",)),
    (("--cases", "MLP-depth3-*"), ("is of the profile engines",)),
    (("--profile", "fixtures", "--cases", "digits-mlp-w64-o1-n16"), ("is of the profile quick",)),
    (("--profile", "fixtures", "--widths", "8"), ("--widths",)),
    (("--profile", "engines", "--batch", "8"), ("profile engines has cases of its own", "--batch")),
    (("--profile", "engines", "--outputs", "trace"), ("one kind of kernel", "--outputs")),
    (("--threads", "9999"), ("--threads 9999", "cores")),
    (("--replicates", "0"), ("--replicates", "positive")),
    (("--time-limit", "nan"), ("--time-limit", "positive")),
    (("--impl", "a.py:A", "--impl", "b.py:B"), ("--impl is given more than once",)),
    (("--input", "nowhere.npy"), ("no file",)),
    (("--model", "models.py"), ("FILE.py:FUNCTION",)),
    (("--model", "nowhere.py:f"), ("no file",)),
    (("--impl", "methods.py", "--methods", "mine"), ("path/to/file.py:OBJECT",)),
], ids=lambda value: "-".join(value).strip("-") if value[0].startswith("--") else "error")
def test_bad_options(tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    assert_usage_error(bench("run", *arguments, "--out", tmp_path / "out"), *words)


@pytest.mark.parametrize(("spec", "words"), [
    ("methods.py:GOODD", ("no 'GOODD'", "GOOD")),
    ("methods.py:NOT_A_METHOD", ("no attribute 'name'",)),
    ("methods.py:Proved", ("is the class Proved",)),
    ("broken.py:METHOD", ("no_such_module_anywhere",)),
    ("nowhere.py:METHOD", ("no file",)),
])
def test_bad_methods(bench_files: Path, tmp_path: Path, spec: str, words: tuple[str, ...]) -> None:
    impl = ("--impl", bench_files / spec, "--methods", "good")
    assert_usage_error(bench("run", "--profile", "fixtures", *impl, "--out", tmp_path), *words)


def test_unknown_command_and_choice(tmp_path: Path) -> None:
    for arguments in (("frobnicate",), ("run", "--outputs", "sum"), ("run", "--dtypes", "float16")):
        done = bench(*arguments, "--out", tmp_path)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_folder_that_cannot_be_written_is_said_before_anything_runs(bench_files: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_usage_error(run_methods(bench_files, tmp_path / "file" / "out", "GOOD"), "cannot write", "--out")


def test_results_of_something_else_are_left_alone(bench_files: Path, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("my own notes")
    assert_usage_error(run_methods(bench_files, tmp_path, "GOOD"), "--out")
    assert (tmp_path / FILE_NAME).read_text() == "my own notes"


@pytest.mark.parametrize("command", ["report", "export"])
def test_no_results(tmp_path: Path, command: str) -> None:
    assert_usage_error(bench(command, "--out", tmp_path), "no results", "bench run")


def test_cuda_where_there_is_none(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    done = bench("run", "--device", "cuda", "--methods", "torch_autograd.per_example", "--out", tmp_path,
                 imported="torch")
    assert_usage_error(done, "cuda", "cpu")
    assert Store(tmp_path).records() == []


def test_cuda_where_one_framework_has_it(bench_files: Path, tmp_path: Path) -> None:
    done = bench("run", "--profile", "fixtures", "--cases", CASE, "--methods", "good", "elsewhere", "--device", "cuda",
                 "--impl", f"{bench_files}/half_cuda.py:GOOD", f"{bench_files}/half_cuda.py:ELSEWHERE",
                 "--out", tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    found = rows(tmp_path)
    assert found["good"].status == "ok"
    assert (found["elsewhere"].status, found["elsewhere"].reason) == ("unsupported", "JAX has no such device here")
    alone = bench("run", "--profile", "fixtures", "--cases", CASE, "--methods", "elsewhere", "--device", "cuda",
                  "--impl", f"{bench_files}/half_cuda.py:ELSEWHERE", "--out", tmp_path)
    assert_usage_error(alone, "JAX has no such device here")
