"""The gate is tested by methods with a mistake each (tests/planted/): it has to fail on them, and to say why."""

from __future__ import annotations

import gc
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.gate.checks import checks
from tests.gate.known_wrong import KnownWrong
from tests.gate.selection import Selection
from tests.gate.state import global_state
from tests.gate.summary import GateSummary

pytest_plugins = ["pytester"]

TESTS = Path(__file__).parents[1]
PLANTED = TESTS / "planted"
GATE = str(TESTS / "gate")
VALUES, STATE = str(TESTS / "gate" / "test_values.py"), str(TESTS / "gate" / "test_state.py")
"""Where one test is asked for, the others need not be collected."""

# One network with biases and two hidden layers (with one, K[n, m] is symmetric in its outputs), N1 ≠ N2 and O = 3.
ONE_CASE = ("-k", "mlp_gelu")


def run_gate(pytester: pytest.Pytester, file: str, name: str, *args: str, part: str = GATE) -> pytest.RunResult:
    """The gate, or a `part` of it, on a planted method, from a directory that is not the repository's."""
    return pytester.runpytest_inprocess(part, "--impl", f"{PLANTED / file}:{name}", "-p", "no:cacheprovider", *args)


def test_a_right_method_passes_every_check(pytester: pytest.Pytester) -> None:
    result = run_gate(pytester, "correct.py", "CORRECT", "-k", "not conv and not test_drawn")
    assert result.ret == pytest.ExitCode.OK
    due = sum("conv" not in check.case.name for check in checks("planted.correct", "exact"))
    result.stdout.re_match_lines([rf"planted.correct +{due} +0 +0 +[1-9]\d* +\d+ +0"])


def test_a_right_random_method_passes(pytester: pytest.Pytester) -> None:
    result = run_gate(pytester, "stochastic.py", "RIGHT", "-k", "mlp_relu or mlp_few")
    assert result.ret == pytest.ExitCode.OK


@pytest.mark.parametrize(("name", "reason"), [
    ("BIASES_FORGOTTEN", "*error 0.6* entries are wrong*"),  # 1
    ("SUM_OVER_ALL_PAIRS", "*it looks like the sum over all pairs of outputs*"),  # 7
    ("MEAN_FOR_TRACE", "*it looks like the mean over outputs for the sum*"),  # 9
    ("TRACE_FOR_DIAGONAL", "*error 2* entries are wrong*"),  # 9 and 10
    ("OUTPUTS_TRANSPOSED", "*it looks like the output axes transposed*"),  # 16
    ("INPUTS_SWAPPED", "*that would be the shape of x1 and x2 swapped*"),  # 16
    ("OUTPUTS_BEFORE_X2", "*that would be the shape of the layout (N1, O, N2, O)*"),  # 16
    ("TF32_PRODUCTS", "*error 0.000[1-9]* > 1e-12*"),  # 18
    ("FLOAT16_SUMS", "*error 0.00* > 1e-12*"),  # 18
    ("FLOAT32_INSIDE", "*error *e-0[78] > 1e-12*"),  # 18
    ("FLOAT32_ALWAYS", "*the kernel has dtype float32, asked for was float64*"),  # 18
    ("NOT_FINITE", "*1 of 72 entries are not finite, the first at (1, 3, 2, 2) (nan)*"),  # 21
    ("BARELY_ASYMMETRIC", "*x2 = x1, but the kernel is not symmetric*"),  # 21
    ("NOT_POSITIVE", "*error 0.* entries are wrong*"),  # 21
    ("NO_OUTPUT_AXES", "*it looks like output 0 only*"),
    ("LAST_BLOCK_DROPPED", "*batch_size=3: error *"),
    ("STALE_PARAMETERS", "*a second network, after a first: error *"),
    ("INPUTS_OVERWRITTEN", "*the method changed its inputs: x1*"),
    ("A_LIST", "*a method returns an array of NumPy, JAX or PyTorch, got list*"),
    ("RAISES", "*RuntimeError: no kernel today*"),
])
def test_a_planted_mistake_fails_and_is_named(pytester: pytest.Pytester, name: str, reason: str) -> None:
    result = run_gate(pytester, "exact.py", name, *ONE_CASE)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"E {reason}"])


@pytest.mark.parametrize(("name", "reason"), [
    ("TENTH_TOO_LARGE", "*standard errors off*the best constant factor is 1.1*"),
    ("DOUBLED", "*standard errors off*the best constant factor is [12].*"),
    ("NOT_DIVIDED", "*standard errors off*the best constant factor is 8[0-9][0-9][0-9]*"),  # 14
    ("ONE_KEY_FOR_ALL", "*another seed gave the very same estimate*"),  # 20
    ("OTHER_PROJECTIONS_FOR_X2", "*x2 = x1, but the kernel is not symmetric*"),  # 11
])
def test_a_random_method_with_a_mistake_fails_and_is_named(pytester: pytest.Pytester, name: str, reason: str) -> None:
    result = run_gate(pytester, "stochastic.py", name, *ONE_CASE)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"E {reason}"])


@pytest.mark.parametrize(("name", "failed"), [
    ("RIGHT_LIMIT", 0), ("LIMIT_OF_RELU_WITHOUT_BIAS", 12), ("LIMIT_OF_GELU_WITHOUT_BIAS", 12)])
def test_a_limit_that_is_two_percent_off_fails(pytester: pytest.Pytester, name: str, failed: int) -> None:
    """In every form, of those cases only."""
    result = run_gate(pytester, "laws.py", name, "-k", "test_kernel and (limit_relu or limit_gelu)", part=VALUES)
    result.assert_outcomes(passed=48 - failed, failed=failed)
    if failed:
        result.stdout.fnmatch_lines(["E *error 0.02 > *every entry is off by the factor 1.02"])


def test_the_kernel_of_another_case_fails(pytester: pytest.Pytester) -> None:
    result = run_gate(pytester, "exact.py", "CACHED_BY_SIZE", "-k", "test_kernel and (mlp_wide or mlp_relu)",
                      part=VALUES)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["E *error * entries are wrong*"])


def test_a_changed_generator_fails(pytester: pytest.Pytester) -> None:
    result = run_gate(pytester, "exact.py", "GENERATOR_RESEEDED", "-k", "global_state", part=STATE)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["E *AssertionError: by the call*", "E *numpy.random.get_state()*"])


def test_a_changed_default_dtype_fails_though_torch_is_imported_late(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the planted method changes PyTorch's settings")
    done = gate_elsewhere(tmp_path, "--impl", f"{PLANTED / 'exact.py'}:LEAVES_FLOAT64", "-k", "global_state")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    assert "torch.get_default_dtype()" in done.stdout


def test_a_refusal_without_a_reason_fails(pytester: pytest.Pytester) -> None:
    result = run_gate(pytester, "exact.py", "SKIPS_WITHOUT_REASON", *ONE_CASE)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["E *unsupported must return None or a reason in words, got ''"])


def test_a_method_that_skips_everything_fails(pytester: pytest.Pytester) -> None:
    result = run_gate(pytester, "exact.py", "SKIPS_ALL")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    due = len(checks("planted.SKIPS_ALL", "exact"))
    result.stdout.fnmatch_lines([
        f"*{due} skipped: supports nothing",
        f"GATE FAILED: planted.SKIPS_ALL: no check ran, {due} were skipped",
    ])
    outcomes = result.parseoutcomes()
    assert outcomes.keys() == {"passed", "skipped"}
    assert outcomes["passed"] == 1  # that it is installed


@pytest.mark.parametrize(("spec", "message"), [
    ("nowhere.py:METHOD", "*--impl * there is no file *nowhere.py*"),
    (f"{PLANTED / 'correct.py'}:CORRECTED", "*has no 'CORRECTED'; did you mean CORRECT*"),
    (f"{PLANTED / 'correct.py'}:Correct", "*is the class Correct; name an instance*"),
    (f"{PLANTED / 'correct.py'}", "*--impl takes path/to/file.py:OBJECT*"),
    ("explicit_mpl", "*unknown method 'explicit_mpl'; did you mean explicit_mlp*"),
    ("mine", "A method from outside the registry is given as path/to/file.py:OBJECT."),
    (f"{PLANTED / 'exact.py'}:INCOMPLETE", "*has no attribute 'kind'*"),
])
def test_an_impl_that_cannot_be_used_is_a_usage_error(pytester: pytest.Pytester, spec: str, message: str) -> None:
    result = pytester.runpytest_inprocess(GATE, "--impl", spec)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


def test_a_method_of_the_registry_by_its_name(pytester: pytest.Pytester) -> None:
    pytest.importorskip("torch", reason="the method computes with PyTorch")
    result = pytester.runpytest_inprocess(GATE, "--impl", "explicit_mlp", "-p", "no:cacheprovider", *ONE_CASE)
    result.stdout.fnmatch_lines(["explicit_mlp *"])
    assert result.ret == pytest.ExitCode.OK


def test_an_impl_that_raises_on_import_is_a_usage_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(broken="1 / 0")
    result = pytester.runpytest_inprocess(GATE, "--impl", "broken.py:METHOD")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--impl *ZeroDivisionError*"])


def test_an_impl_that_exits_on_import_is_a_usage_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(script="raise SystemExit(0)")
    result = pytester.runpytest_inprocess(GATE, "--impl", "script.py:METHOD")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--impl *SystemExit*"])


@pytest.mark.parametrize("raised", ["pytest.skip('no')", "pytest.xfail('no')", "pytest.exit('no', returncode=0)",
                                    "raise hypothesis.errors.UnsatisfiedAssumption"])
def test_a_method_can_end_no_test(pytester: pytest.Pytester, raised: str) -> None:
    """Nor the run."""
    pytester.makepyfile(ends=(
        "import hypothesis.errors, pytest\n"
        "from tests.planted.correct import Correct\n\n"
        "class Ends(Correct):\n"
        "    name = 'ends'\n"
        "    def prepare(self, case, request):\n"
        f"        {raised}\n\n"
        "ENDS = Ends()\n"))
    result = pytester.runpytest_inprocess(VALUES, "--impl", "ends.py:ENDS", "-p", "no:cacheprovider", "-k",
                                          "mlp_gelu and test_kernel and trace")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(["E *what it cannot do it says in `unsupported`"])


@pytest.mark.parametrize(("name", "workers"), [("AT_IMPORT", ()), ("IN_PREPARE", ()), ("IN_THE_CALL", ("-n", "1"))])
def test_a_method_that_ends_the_process_fails(tmp_path: Path, name: str, workers: tuple[str, ...]) -> None:
    """Though its exit status is that of success: that of the child, where the file is imported and where a test runs,
    and that of a worker. Whether `prepare` or the call ends a process is one to it."""
    file = PLANTED / ("ends_at_import.py" if name == "AT_IMPORT" else "ends.py")
    one_check = ("-k", "linear and float64-trace and not symmetric")
    done = gate_elsewhere(tmp_path, "--impl", f"{file}:{name}", *one_check, *workers)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    if workers:
        assert "crashed while running" in done.stdout
    else:
        assert "GATE FAILED: the run did not come to its end: its process exited with status 0" in done.stderr


def test_a_run_that_came_to_its_end_has_its_own_status(tmp_path: Path) -> None:
    """The child's, for a usage error as well; `test_a_relative_path_and_two_workers` ends with that of success."""
    done = gate_elsewhere(tmp_path, "--impl", f"{PLANTED / 'correct.py'}:NOTHING", "-k", "no_such_test")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR, done.stdout + done.stderr
    assert "GATE FAILED" not in done.stderr


@pytest.mark.parametrize("change", [
    "signal.signal(signal.SIGUSR1, signal.SIG_IGN)", "os.umask(0o027)", "sys.path.insert(0, 'elsewhere')",
    "gc.set_threshold(7)", "setattr(sys, 'excepthook', print)", "logging.root.addHandler(logging.NullHandler())"])
def test_global_state_is_more_than_settings(monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(logging.root, "handlers", list(logging.root.handlers))
    handler, threshold, mask = signal.getsignal(signal.SIGUSR1), gc.get_threshold(), os.umask(0o022)
    before = global_state()
    try:
        exec(change)
        after = global_state()
    finally:
        signal.signal(signal.SIGUSR1, handler)
        gc.set_threshold(*threshold)
        os.umask(mask)
    assert len([name for name in before if before[name] != after[name]]) == 1


def test_an_unknown_framework_is_a_usage_error(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess(GATE, "--frameworks", "jax,mxnet")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--frameworks: unknown mxnet; known are jax, torch, numpy*"])


def gate_elsewhere(folder: Path, *args: str, python_path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The gate as a user runs it: a process of its own, started in `folder`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    if python_path is not None:
        environment["PYTHONPATH"] = str(python_path)
    command = [sys.executable, "-m", "pytest", GATE, "-p", "no:cacheprovider", *args]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_relative_path_and_two_workers(tmp_path: Path) -> None:
    """Checks are counted across workers, and a file beside the caller is found."""
    mine = "from tests.planted.correct import Correct\n\nMINE = Correct()\nMINE.name = 'mine'\n"
    (tmp_path / "mine.py").write_text(mine)
    done = gate_elsewhere(tmp_path, "--impl", "mine.py:MINE", "-n", "2", *ONE_CASE)
    assert done.returncode == pytest.ExitCode.OK, done.stdout + done.stderr
    counts = next(line.split() for line in done.stdout.splitlines() if line.startswith("mine "))
    assert counts[1:] == ["12", "0", "0", "2", "0", "0"]


def test_a_framework_that_is_missing_fails(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('No module named torch', name='torch')\n")
    done = gate_elsewhere(tmp_path, "--frameworks", "torch", python_path=tmp_path)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    reason = "explicit_mlp cannot be loaded: MethodNotInstalled: explicit_mlp needs torch, which is not installed"
    assert reason in done.stdout


def test_an_optional_package_that_is_missing_is_reported_and_fails_where_it_is_asked_for(
        pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="the optional packages are for PyTorch")
    for name in [name for name in sys.modules if name.partition(".")[0] == "nngeometry"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "impls.methods.nngeometry", raising=False)
    monkeypatch.setitem(sys.modules, "nngeometry", None)  # importing it raises ModuleNotFoundError
    args = (GATE, "--frameworks", "torch", "-k", "test_installed and nngeometry", "-p", "no:cacheprovider")
    result = pytester.runpytest_inprocess(*args)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines([
        "NOT INSTALLED: nngeometry.gram: optional, and not there: nngeometry.gram needs nngeometry*"])
    result = pytester.runpytest_inprocess(*args, "--require-all")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*nngeometry.gram cannot be loaded: MethodNotInstalled*"])


@pytest.fixture
def known_to_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = KnownWrong("planted.*", lambda case: True, "numpy", np.__version__, "it forgets")
    monkeypatch.setattr("tests.gate.known_wrong.KNOWN_WRONG", (entry,))


@pytest.mark.usefixtures("known_to_be_wrong")
def test_what_is_known_to_be_wrong_is_counted_apart(pytester: pytest.Pytester) -> None:
    result = run_gate(pytester, "exact.py", "BIASES_FORGOTTEN", *ONE_CASE)
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(xfailed=14)
    result.stdout.re_match_lines([r" +12 known to be wrong: numpy .*: it forgets"])


@pytest.mark.usefixtures("known_to_be_wrong")
def test_what_is_no_longer_wrong_fails(pytester: pytest.Pytester) -> None:
    result = run_gate(pytester, "correct.py", "CORRECT", *ONE_CASE)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=14)
    result.stdout.fnmatch_lines(["*XPASS(strict)*it forgets*"])


@pytest.mark.usefixtures("known_to_be_wrong")
def test_a_crash_is_not_what_was_expected(pytester: pytest.Pytester) -> None:
    result = run_gate(pytester, "exact.py", "RAISES", *ONE_CASE)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=14)


def test_only_what_was_selected_is_held_to_account(pytester: pytest.Pytester) -> None:
    result = run_gate(pytester, "correct.py", "CORRECT", "-k", "global_state", part=STATE)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("GATE FAILED*")


def test_a_case_that_every_method_skips_fails_the_whole_gate() -> None:
    summary = GateSummary(Selection(("numpy",), "cpu"))
    summary.selection.names = ["one", "other"]
    for method, case, outcome in (("one", "easy", "passed"), ("one", "hard", "skipped"), ("other", "hard", "skipped")):
        summary.checks[method][outcome] += 1
        summary.cases[case][outcome] += 1
    assert summary.empty() == ["other: no check ran, 1 was skipped", "case hard: every method skipped it"]


def test_a_method_that_supports_few_cases_may_be_alone(pytester: pytest.Pytester) -> None:
    """A case that no method ran on fails a whole gate only, not that of one method."""
    (pytester.path / "few.py").write_text(
        "from tests.planted.correct import Correct\n\n"
        "class Few(Correct):\n"
        "    name = 'few'\n"
        "    def unsupported(self, case, request):\n"
        "        return None if case.name == 'linear' else 'linear alone'\n\n"
        "FEW = Few()\n")
    result = pytester.runpytest_inprocess(GATE, "--impl", "few.py:FEW", "-p", "no:cacheprovider", "-k", "linear or mlp")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.re_match_lines([r"few +12 +108 +0 +2 +18 +0", r" +108 skipped: linear alone"])


HALF = """
from tests.planted.correct import Correct

class Some(Correct):
    name = 'some'
    def unsupported(self, case, request):
        return None if case.name.startswith({names!r}) else 'not this one'

SOME = Some()
"""


@pytest.mark.parametrize(("names", "says"), [(("mlp", "conv"), False), (("mlp_relu",), True)])
def test_a_method_that_leaves_out_more_than_half_is_said_to_prove_little(
        pytester: pytest.Pytester, names: tuple[str, ...], says: bool) -> None:
    """And it fails with --require-all alone."""
    (pytester.path / "some.py").write_text(HALF.format(names=names))
    due = [check.case.name for check in checks("some", "exact") if check.id.endswith("float64-full")]
    ran, of = sum(name.startswith(names) for name in due), len(due)
    for strict in ((), ("--require-all",)):
        result = pytester.runpytest_inprocess(VALUES, "--impl", "some.py:SOME", "-p", "no:cacheprovider", "-k",
                                              "test_kernel and float64-full and not symmetric", *strict)
        assert result.ret == (pytest.ExitCode.TESTS_FAILED if says and strict else pytest.ExitCode.OK)
        result.stdout.fnmatch_lines([f"coverage: some: {ran} of {of} checks of the stored cases"])
        line = f"PROVES LITTLE: some ran {ran} of {of} checks, the others it does not support"
        assert (line in result.stdout.lines) is says


def test_half_is_not_less_than_half() -> None:
    summary = GateSummary(Selection(("numpy",), "cpu"))
    for method, passed, skipped in (("half", 2, 2), ("less", 1, 2)):
        for counts in (summary.checks, summary.drawn):
            counts[method].update(passed=passed, skipped=skipped)
    assert summary.proves_little() == [
        "less ran 1 of 3 checks, the others it does not support",
        "less ran 1 of 3 drawn dimensions, the others it does not support"]
