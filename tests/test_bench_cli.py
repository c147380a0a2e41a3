"""The command line, from outside: statuses, exit codes, errors, interruption, and a model of one's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from bench.record import Record
from bench.store import FILE_NAME, Store, StoreError

ROOT = Path(__file__).parents[1]
CASE = "mlp_relu"
Done = subprocess.CompletedProcess[str]

METHODS = '''
import os, time

import numpy as np

import reference
from reference import Request


class Proved:
    """The stored kernel itself: right, and quick to have."""
    framework, kind = "numpy", "exact"

    def __init__(self, name): self.name = name
    def kernel(self, case, request):
        return reference.expected(case).outputs(request.outputs).astype(request.dtype)
    def prepare(self, case, request): return lambda: self.kernel(case, request)


class Doubled(Proved):
    def prepare(self, case, request): return lambda: 2 * self.kernel(case, request)

class NotFinite(Proved):
    def prepare(self, case, request): return lambda: self.kernel(case, request) + np.nan

class Cached(Proved):
    def prepare(self, case, request):
        kernel = self.kernel(case, request)
        return lambda: kernel

class Unable(Proved):
    def unsupported(self, case, request): return "it is too small for me"

class Raising(Proved):
    def prepare(self, case, request): raise ZeroDivisionError("of my own making")

class Dying(Proved):
    def prepare(self, case, request): return lambda: os.abort()

class Hanging(Proved):
    def prepare(self, case, request):
        calls = iter([0, 0, 60])
        def call():
            time.sleep(next(calls))
            return self.kernel(case, request)
        return call

class Slow(Proved):
    def prepare(self, case, request):
        def call():
            time.sleep(0.1)
            return self.kernel(case, request)
        return call

class Greedy(Proved):
    def prepare(self, case, request):
        def call():
            held = np.ones((2**26,))
            return self.kernel(case, request) + 0 * held[0].astype(request.dtype)
        return call

class List(Proved):
    def prepare(self, case, request): return lambda: [[1.0]]

class Limit(Doubled):
    kind = "limit"

class Random(Doubled):
    kind = "stochastic"

class Lucky(Proved):
    kind = "stochastic"

GOOD, DOUBLED, NOT_FINITE, CACHED = Proved("good"), Doubled("doubled"), NotFinite("not_finite"), Cached("cached")
UNABLE, RAISING, DYING, HANGING = Unable("unable"), Raising("raising"), Dying("dying"), Hanging("hanging")
SLOW, GREEDY, LIST, LIMIT = Slow("slow"), Greedy("greedy"), List("list"), Limit("limit")
RANDOM, LUCKY = Random("random"), Lucky("lucky")
NOT_A_METHOD = object()
'''

MODELS = '''
import reference

def network(): return reference.MLP((3, 4, 2), parameterization="ntk")
def case(): return reference.random_case("any", network(), 3, 2)
def nothing(): return "a string"
def failing(): raise OSError("no weights here")
def needs_an_argument(x): return x
not_a_function = 3

def torch_model():
    import torch
    return torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2))

def embedding():
    import torch
    return torch.nn.Sequential(torch.nn.Embedding(12, 4), torch.nn.Flatten(), torch.nn.Linear(12, 2))

def last_step():
    import torch

    class LastStep(torch.nn.GRU):
        def forward(self, x): return super().forward(x[:, None])[0][:, -1]

    return LastStep(3, 2, batch_first=True)

def wide_torch_model():
    import torch
    return torch.nn.Linear(7, 2)

def torch_function():
    import torch
    params = {"0.weight": torch.randn(3, 5), "1.weight": torch.randn(5, 2)}
    return lambda params, x: torch.tanh(x @ params["0.weight"]) @ params["1.weight"], params

def equinox_model():
    import equinox, jax
    return equinox.nn.MLP(3, 2, 4, 1, key=jax.random.key(0))
'''


# Importing it makes this process one in which CUDA is there for one framework and missing for another.
HALF_CUDA = METHODS + '''
import bench.measure, bench.methods

bench.methods.missing_device = lambda framework, name: "JAX has no such device here" if framework == "jax" else None
bench.measure.wake = lambda framework, name: None
ELSEWHERE = Proved("elsewhere")
ELSEWHERE.framework = "jax"
'''


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with methods, models and inputs to name on the command line."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "methods.py").write_text(METHODS)
    (folder / "models.py").write_text(MODELS)
    (folder / "half_cuda.py").write_text(HALF_CUDA)
    (folder / "broken.py").write_text("import no_such_module_anywhere\n")
    np.save(folder / "x.npy", np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3))
    np.save(folder / "integers.npy", np.arange(12).reshape(4, 3))
    return folder


def bench(*arguments: str | Path, cwd: Path = ROOT) -> Done:
    return subprocess.run(_command(arguments), cwd=cwd, env=_environment(), capture_output=True, text=True, timeout=300,
                          check=False)


def _command(arguments: tuple[str | Path, ...]) -> list[str]:
    return [sys.executable, "-m", "bench", *map(str, arguments)]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"}


def run_methods(files: Path, out: Path, *objects: str, options: tuple[str, ...] = ()) -> Done:
    """Measure these objects of methods.py, and nothing else, on one small case."""
    names = [name.lower() for name in objects]
    specs = [f"{files}/methods.py:{name}" for name in objects]
    return bench("run", "--profile", "fixtures", "--cases", CASE, "--impl", *specs, "--methods", *names, "--out", out,
                 *options)


def rows(out: Path) -> dict[str, Record]:
    return {record.cell.method: record for record in Store(out).records()}


def assert_usage_error(done: Done, *words: str) -> None:
    assert done.returncode == 2, done.stderr + done.stdout
    assert done.stderr.startswith("error: "), done.stderr
    assert done.stderr.count("\n") == 1, "one line, no traceback"
    for word in words:
        assert word in done.stderr


# What becomes of a cell

@pytest.fixture(scope="module")
def all_kinds(files: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Done, Path]:
    """One run of methods that fail in every way, beside a good one."""
    out = tmp_path_factory.mktemp("out")
    objects = ("GOOD", "DOUBLED", "NOT_FINITE", "CACHED", "UNABLE", "RAISING", "DYING", "HANGING", "LIST", "LIMIT",
               "RANDOM", "LUCKY")
    return run_methods(files, out, *objects, options=("--time-limit", "5")), out


@pytest.mark.parametrize(("method", "status", "reason"), [
    ("good", "ok", ""),
    ("doubled", "wrong", "error"),
    ("not_finite", "nonfinite", "not finite"),
    ("cached", "wrong", "computed anew"),
    ("unable", "unsupported", "it is too small for me"),
    ("raising", "crash", "ZeroDivisionError: of my own making (at"),
    ("dying", "crash", "SIGABRT, in phase: first call"),
    ("hanging", "timeout", "killed after 5 s, in phase: steady state"),
    ("list", "crash", "TypeError"),
    ("limit", "ok", ""),
    ("random", "wrong", ""),
    ("lucky", "ok", ""),
])
def test_every_cell_has_an_answer(all_kinds: tuple[Done, Path], method: str, status: str,
                                  reason: str) -> None:
    row = rows(all_kinds[1])[method]
    assert row.status == status, row
    assert reason in row.reason
    assert bool(row.reason) == (row.status != "ok")


def test_a_failure_is_exit_code_3_and_the_report_is_written(
        all_kinds: tuple[Done, Path]) -> None:
    done, out = all_kinds
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert (out / "report.html").stat().st_size > 1000
    assert "of my own making" in (out / "report.html").read_text()


def test_a_good_row_has_all_figures(all_kinds: tuple[Done, Path]) -> None:
    row = rows(all_kinds[1])["good"]
    assert row.error is not None
    assert row.tolerance is not None
    assert row.error <= row.tolerance
    assert row.checked_against == "proved kernel"
    assert row.setup_s is not None
    assert row.first_call_s is not None
    assert len(row.samples_s) >= 3
    assert row.kernel_bytes == 4 * 2 * 3 * 3 * np.dtype("float32").itemsize, "N1 × N2 × O × O"
    assert row.environment in Store(all_kinds[1]).environments()


def test_what_was_measured_before_a_timeout_is_kept(all_kinds: tuple[Done, Path]) -> None:
    row = rows(all_kinds[1])["hanging"]
    assert row.first_call_s is not None
    assert len(row.samples_s) == 1


def test_limits_and_random_methods_carry_their_kind(all_kinds: tuple[Done, Path]) -> None:
    found = rows(all_kinds[1])
    assert {name: found[name].kind for name in ("good", "limit", "random")} == {
        "good": "exact", "limit": "limit", "random": "stochastic"}
    assert found["limit"].error == pytest.approx(1, rel=0.2), "its distance to the finite kernel, of which it is twice"
    assert found["random"].cell.options == {"proj_dim": 128}
    assert "standard errors" in found["random"].checked_against


def test_stderr_of_a_failure_is_kept(all_kinds: tuple[Done, Path]) -> None:
    assert "Fatal Python error: Aborted" in rows(all_kinds[1])["dying"].stderr


def test_peak_memory_is_net_of_what_was_there(files: Path, tmp_path: Path) -> None:
    done = run_methods(files, tmp_path, "GREEDY", "GOOD")
    assert done.returncode == 0, done.stderr
    found = {name: row.peak_bytes for name, row in rows(tmp_path).items()}
    if found["greedy"] is None or found["good"] is None:
        pytest.skip("this system does not tell the peak memory of a process")
    assert 0.98 * 2**29 < found["greedy"] < 1.05 * 2**29
    assert found["good"] < 2**25


def test_memory_limit(files: Path, tmp_path: Path) -> None:
    done = run_methods(files, tmp_path, "GREEDY", options=("--memory-limit", "0.3"))
    assert done.returncode == 4, done.stderr
    assert rows(tmp_path)["greedy"].status == "oom"
    assert "0.30 GiB" in rows(tmp_path)["greedy"].reason


def test_nothing_measured_is_exit_code_4(files: Path, tmp_path: Path) -> None:
    assert run_methods(files, tmp_path, "UNABLE").returncode == 4


# Going on where it was

def test_rows_that_are_there_are_not_measured_again(files: Path, tmp_path: Path) -> None:
    first = run_methods(files, tmp_path, "GOOD")
    before = rows(tmp_path)["good"]
    again = run_methods(files, tmp_path, "GOOD")
    assert (first.returncode, again.returncode) == (0, 0)
    assert "1 of 1 rows are there already" in again.stdout
    assert rows(tmp_path)["good"] == before
    run_methods(files, tmp_path, "GOOD", options=("--rerun",))
    assert len(Store(tmp_path).records()) == 1
    assert rows(tmp_path)["good"].samples_s != before.samples_s


def test_an_edited_method_is_measured_anew(tmp_path: Path) -> None:
    (tmp_path / "methods.py").write_text(METHODS)
    assert run_methods(tmp_path, tmp_path / "out", "GOOD").returncode == 0
    (tmp_path / "methods.py").write_text(METHODS.replace("astype(request.dtype)\n", "astype(request.dtype) * 3\n"))
    assert run_methods(tmp_path, tmp_path / "out", "GOOD").returncode == 3


@pytest.fixture
def heeded_ctrl_c() -> Iterator[None]:
    """For programs started here; a shell lets what runs in its background, as these tests may, ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded_ctrl_c")
def test_ctrl_c_keeps_what_is_finished(files: Path, tmp_path: Path) -> None:
    arguments = ("run", "--profile", "fixtures", "--cases", CASE, "--impl", f"{files}/methods.py:SLOW",
                 "--methods", "slow", "--replicates", "12", "--out", tmp_path)
    running = subprocess.Popen(_command(arguments), cwd=ROOT, env=_environment(), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, start_new_session=True)
    _wait_for_rows(tmp_path, 2, running)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to the whole group
    _, errors = running.communicate(timeout=60)
    kept = Store(tmp_path).records()
    assert running.returncode == 130, errors
    assert "Traceback" not in errors
    assert f"stopped: {len(kept)} of 12 rows" in errors
    assert 2 <= len(kept) < 12
    assert all(row.status == "ok" for row in kept)
    assert bench("report", "--out", tmp_path).returncode == 0
    assert bench(*arguments).returncode == 0
    finished = Store(tmp_path).records()
    assert sorted(row.replicate for row in finished) == list(range(12))
    assert finished[:len(kept)] == kept


def _wait_for_rows(out: Path, n: int, running: subprocess.Popen[str]) -> None:
    for _ in range(600):
        with suppress(StoreError):  # it is being made
            if len(Store(out).records()) >= n:
                return
        assert running.poll() is None, running.communicate()
        time.sleep(0.1)
    pytest.fail("no rows within a minute")


# Bad input

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
def test_bad_methods(files: Path, tmp_path: Path, spec: str, words: tuple[str, ...]) -> None:
    done = bench("run", "--profile", "fixtures", "--impl", files / spec, "--methods", "good", "--out", tmp_path)
    assert_usage_error(done, *words)


def test_unknown_command_and_choice(tmp_path: Path) -> None:
    for arguments in (("frobnicate",), ("run", "--outputs", "sum"), ("run", "--dtypes", "float16")):
        done = bench(*arguments, "--out", tmp_path)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_folder_that_cannot_be_written_is_said_before_anything_runs(files: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_usage_error(run_methods(files, tmp_path / "file" / "out", "GOOD"), "cannot write", "--out")


def test_results_of_something_else_are_left_alone(files: Path, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("my own notes")
    assert_usage_error(run_methods(files, tmp_path, "GOOD"), "--out")
    assert (tmp_path / FILE_NAME).read_text() == "my own notes"


@pytest.mark.parametrize("command", ["report", "export"])
def test_no_results(tmp_path: Path, command: str) -> None:
    assert_usage_error(bench(command, "--out", tmp_path), "no results", "bench run")


def test_cuda_where_there_is_none(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    done = bench("run", "--device", "cuda", "--methods", "torch_autograd.per_example", "--out", tmp_path)
    assert_usage_error(done, "cuda", "cpu")
    assert Store(tmp_path).records() == []


def test_cuda_where_one_framework_has_it(files: Path, tmp_path: Path) -> None:
    done = bench("run", "--profile", "fixtures", "--cases", CASE, "--methods", "good", "elsewhere", "--device", "cuda",
                 "--impl", f"{files}/half_cuda.py:GOOD", f"{files}/half_cuda.py:ELSEWHERE", "--out", tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    found = rows(tmp_path)
    assert found["good"].status == "ok"
    assert (found["elsewhere"].status, found["elsewhere"].reason) == ("unsupported", "JAX has no such device here")
    alone = bench("run", "--profile", "fixtures", "--cases", CASE, "--methods", "elsewhere", "--device", "cuda",
                  "--impl", f"{files}/half_cuda.py:ELSEWHERE", "--out", tmp_path)
    assert_usage_error(alone, "JAX has no such device here")


def test_integer_inputs(files: Path, tmp_path: Path) -> None:
    """Of no use for the profile's networks; of a model of the user's, the model decides."""
    given = ("--input", files / "integers.npy", "--out", tmp_path, "--methods", "torch_autograd.per_example")
    assert_usage_error(bench("run", *given), "takes floating-point numbers", "astype")
    assert_usage_error(bench("run", *given, "--model", f"{files}/models.py:network"), "floating-point", "astype")
    pytest.importorskip("torch", reason="PyTorch is not installed")
    assert_usage_error(bench("run", *given, "--model", f"{files}/models.py:torch_model"), "integers (int64)",
                       "unless the model embeds tokens", "astype")
    done = bench("run", *given, "--model", f"{files}/models.py:embedding")
    assert done.returncode == 0, done.stderr + done.stdout
    row = rows(tmp_path)["torch_autograd.per_example"]
    assert (row.status, row.info.n1, row.info.n_params) == ("ok", 4, 12 * 4 + 12 * 2 + 2)


def test_a_model_that_a_method_lacks_a_rule_for(files: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    lacking = "torch_func.jacobian_contraction"
    done = bench("run", "--input", files / "x.npy", "--model", f"{files}/models.py:last_step", "--out", tmp_path,
                 "--methods", lacking, "torch_autograd.per_example")
    assert done.returncode == 0, done.stderr + done.stdout
    found = rows(tmp_path)
    assert found["torch_autograd.per_example"].status == "ok"
    assert found[lacking].status == "unsupported"
    assert "torch.func cannot map or differentiate" in found[lacking].reason


def test_more_examples_than_there_are(files: Path, tmp_path: Path) -> None:
    done = bench("run", "--input", files / "x.npy", "--batch", "2", "100000", "--cases", "no-such-case", "--out",
                 tmp_path)
    assert "--batch 100000: x.npy has 4 examples; measured with 2" in done.stdout
    done = bench("run", "--model", f"{files}/models.py:case", "--batch", "100000", "--out", tmp_path, "--methods",
                 "torch_autograd.per_example")
    assert_usage_error(done, "--batch 100000", "has 3 examples")


@pytest.mark.parametrize(("function", "words"), [
    ("networkk", ("no 'networkk'", "network")),
    ("nothing", ("returned a str", "torch.nn.Module")),
    ("failing", ("OSError: no weights here",)),
    ("needs_an_argument", ("TypeError", "argument")),
    ("not_a_function", ("is a int", "function")),
    ("wide_torch_model", ("(4, 3)",)),
])
def test_models_that_cannot_be_used(files: Path, tmp_path: Path, function: str, words: tuple[str, ...]) -> None:
    if function == "wide_torch_model":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    done = bench("run", "--model", f"{files}/models.py:{function}", "--input", files / "x.npy", "--out", tmp_path,
                 "--methods", "torch_autograd.per_example")
    assert_usage_error(done, *words)
    assert ("computing" in done.stdout) == (function == "wide_torch_model"), "it is built before all else"


def test_inputs_that_do_not_fit_a_network(files: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((4, 5), np.float32))
    done = bench("run", "--model", f"{files}/models.py:network", "--input", tmp_path / "x.npy", "--out", tmp_path,
                 "--methods", "explicit_mlp")
    assert_usage_error(done, "(5,)", "(3,)")
    done = bench("run", "--model", f"{files}/models.py:network", "--out", tmp_path, "--methods", "explicit_mlp")
    assert_usage_error(done, "--input")
    assert "computing" not in done.stdout


# One's own model and data

@pytest.mark.parametrize(("function", "method", "given"), [
    ("network", "explicit_mlp", True),
    ("case", "torch_func.jacobian_contraction", False),
    ("torch_model", "torch_func.jacobian_contraction", True),
    ("torch_function", "torch_func.jacobian_contraction", True),
    ("equinox_model", "equinox.exact", True),
])
def test_own_model(files: Path, tmp_path: Path, function: str, method: str, given: bool) -> None:
    pytest.importorskip("torch" if "equinox" not in method else "equinox", reason="its framework is not installed")
    inputs = ("--input", files / "x.npy") if given else ()
    done = bench("run", "--model", f"{files}/models.py:{function}", *inputs, "--methods", method, "--out", tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    row = rows(tmp_path)[method]
    assert row.status == "ok"
    assert (row.info.n1, row.info.n_outputs) == ((4, 2) if given else (3, 2))
    assert "float64" in row.checked_against
    assert row.info.n_params


def test_own_inputs_on_the_networks_of_the_profile(files: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    done = bench("run", "--input", files / "x.npy", "--widths", "5", "--batch", "2", "3", "--methods", "explicit_*",
                 "--outputs", "full", "trace", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    found = Store(tmp_path).records()
    assert {(row.info.n1, row.info.n_outputs, row.info.width, row.cell.outputs) for row in found} == {
        (n, o, 5, outputs) for n in (2, 3) for o in (1, 10) for outputs in ("full", "trace")}
    assert {row.info.data for row in found} == {"x.npy"}


# The other commands, and what an import costs

def test_list() -> None:
    done = bench("list")
    assert done.returncode == 0, done.stderr
    for name in ("explicit_mlp", "equinox.monte_carlo", "quick", "full", "fixtures", CASE, "digits-mlp-w64-o10-n16"):
        assert name in done.stdout


def test_export(all_kinds: tuple[Done, Path], tmp_path: Path) -> None:
    done = bench("export", "--format", "csv", "--out", all_kinds[1])
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("method,")
    assert len(done.stdout.splitlines()) > 12
    assert bench("export", "--format", "json", "--out", all_kinds[1], "--file", tmp_path / "rows.json").returncode == 0
    assert (tmp_path / "rows.json").read_text().startswith("[")


def test_it_runs_from_anywhere(files: Path, tmp_path: Path) -> None:
    done = bench("run", "--profile", "fixtures", "--cases", CASE, "--impl", "methods.py:GOOD", "--methods", "good",
                 "--out", tmp_path, cwd=files)
    assert done.returncode == 0, done.stderr


def test_a_terminal_that_lacks_the_signs(all_kinds: tuple[Done, Path]) -> None:
    command = _command(("report", "--out", all_kinds[1]))
    done = subprocess.run(command, cwd=ROOT, env=_environment() | {"PYTHONIOENCODING": "ascii"}, capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "report: " in done.stdout


def test_a_case_that_cannot_be_built(files: Path, tmp_path: Path) -> None:
    """10¹⁴ weights, but few in the first layer: more than any memory; one line says so."""
    np.save(tmp_path / "x.npy", np.ones((2, 1), np.float32))
    assert_usage_error(bench("run", "--out", tmp_path, "--methods", "torch_autograd.per_example", "--widths", "9999999",
                             "--cases", "*mlp*o1-*", "--input", tmp_path / "x.npy"), "cannot be built", "TiB")


def test_importing_bench_imports_no_framework() -> None:
    program = ("import sys, bench, bench.cli, bench.runner; "
               "print(sorted({'torch', 'jax', 'sklearn', 'plotly', 'equinox'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
