"""The registry: nothing is imported before it is asked for, and every wrong name, file or package says what to do."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from impls import Method, MethodNotInstalled, RegistryError, framework, load, load_object, names, unsupported
from impls.registry import OPTIONAL, REMEDIES, built_in, check_protocol, quantities
from reference import InputError, Quantity, Request, case
from tests import ROOT

ADAPTER = """
import numpy as np

class Zeros:
    name, framework, kind = "mine.zeros", "numpy", "exact"

    def prepare(self, case, request):
        return lambda: np.zeros((len(case.x1), len(case.x1)), request.dtype)

zeros = Zeros()
"""


def run_python(code: str, *paths: Path) -> str:
    """Standard output of a fresh Python with these directories in front of its path; it must succeed."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [*paths, ROOT]))}
    done = subprocess.run([sys.executable, "-W", "error", "-c", dedent(code)], env=environment, capture_output=True,
                          text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_impls_imports_no_framework() -> None:
    assert run_python("""
        import sys, impls, impls.own.ntk
        impls.names(), [impls.framework(name) for name in impls.names()]
        print(*{"jax", "torch", "equinox", "neural_tangents", "tensorflow"} & set(sys.modules))
    """).split() == []


@pytest.mark.parametrize("name", [name for name, _, _ in built_in()])
def test_every_built_in_method_is_where_the_registry_says(name: str) -> None:
    pytest.importorskip(framework(name), reason=f"{framework(name)} is not installed")
    skip_missing(name)
    method = load(name)
    assert isinstance(method, Method)
    assert (method.name, method.framework) == (name, framework(name))


@pytest.mark.parametrize("module", sorted({module for _, _, module in built_in()}))
def test_no_method_is_left_out_of_the_registry(module: str) -> None:
    pytest.importorskip(next(of for _, of, its_module in built_in() if its_module == module), reason="not installed")
    named = {name for name, _, its_module in built_in() if its_module == module}
    skip_missing(min(named))
    assert {method.name for method in importlib.import_module(module).METHODS} == named


def skip_missing(name: str) -> None:
    """Skip where the method is of an optional package that is not there; the gate reports it."""
    if name in OPTIONAL:
        try:
            load(name)
        except MethodNotInstalled as error:
            pytest.skip(str(error))


def test_unknown_name() -> None:
    with pytest.raises(RegistryError, match=r"unknown method 'equinox.exakt'; did you mean equinox.exact"):
        load("equinox.exakt")
    with pytest.raises(RegistryError, match=r"unknown method 'zzz'; known are neural_tangents\.jac.*, "):
        framework("zzz")


PEERS_OF_TORCH = {"nngeometry": "nngeometry.gram", "backpack": "backpack.batch_grad",
                  "curvlinops": "curvlinops.jacobian_products", "trak": "traker.random_projection"}


@pytest.mark.parametrize("methods", [
    {"jax": "equinox.exact"}, {"equinox": "equinox.monte_carlo"}, {"neural_tangents": "neural_tangents.auto"},
    {"torch": "torch_func.jacobian_contraction"}, PEERS_OF_TORCH], ids=lambda methods: "-".join(methods))
def test_missing_package_comes_with_its_remedy(methods: dict[str, str]) -> None:
    """By missing package. The half that is there keeps working: the other framework is never imported."""
    name = next(iter(methods.values()))
    other = "torch" if framework(name) == "jax" else "jax"
    pytest.importorskip(framework(name), reason=f"{framework(name)} is not installed")
    output = run_python(f"""
        import sys
        from importlib.abc import MetaPathFinder

        class Missing(MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in {list(methods)!r}:
                    raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

        sys.meta_path.insert(0, Missing())
        import impls
        for name in {list(methods.values())!r}:
            try:
                impls.load(name)
            except impls.MethodNotInstalled as error:
                print(error)
        assert {other!r} not in sys.modules
    """)
    assert output.splitlines() == [f"{name} needs {missing}, which is not installed: {REMEDIES[missing]}"
                                   for missing, name in methods.items()]


def test_object_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(ADAPTER)
    monkeypatch.chdir(tmp_path)
    for path in ("mine.py", str(tmp_path / "mine.py")):
        method = load_object(f"{path}:zeros")
        assert method.name == "mine.zeros"
        assert unsupported(method, case("linear"), Request()) is None
        assert method.prepare(case("linear"), Request())().dtype == "float32"


BAD_OBJECTS = {
    "mine.py": (ADAPTER, "takes path/to/file.py:OBJECT, got"),
    "mine.txt:zeros": (ADAPTER, "takes path/to/file.py:OBJECT, got"),
    "absent.py:zeros": (ADAPTER, "there is no file .*absent.py"),
    "mine.py:zeroes": (ADAPTER, "mine.py has no 'zeroes'; did you mean zeros"),
    "mine.py:Zeros": (ADAPTER, "is the class Zeros; name an instance of it, e.g. OBJECT = Zeros()"),
    "mine.py:np": (ADAPTER, "has no attribute 'name'; a method needs name, framework, kind and prepare"),
    "raises.py:zeros": ("1 / 0", "importing raises.py raised ZeroDivisionError: division by zero"),
    "syntax.py:zeros": ("def", "importing syntax.py raised SyntaxError"),
    "needs.py:zeros": ("import no_such_package", "importing needs.py raised ModuleNotFoundError: .*no_such_package"),
    "taken.py:zeros": (ADAPTER.replace("mine.zeros", "equinox.exact"), "the name 'equinox.exact' is taken"),
    "unnamed.py:zeros": (ADAPTER.replace('"mine.zeros"', '""'), "name must be a non-empty string, got ''"),
    "framework.py:zeros": (ADAPTER.replace('"numpy"', '"keras"'), "framework must be 'jax', 'torch' or 'numpy', got"),
    "kind.py:zeros": (ADAPTER.replace('"exact"', '"good"'), "kind must be 'exact', 'stochastic' or 'limit', got"),
    "prepare.py:zeros": (ADAPTER + "Zeros.prepare = 3", "prepare must be callable, got 3"),
    "unsupported.py:zeros": (ADAPTER + "Zeros.unsupported = None", "unsupported must be callable, got None"),
}


@pytest.mark.parametrize("spec", BAD_OBJECTS)
def test_object_that_cannot_be_used(spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, message = BAD_OBJECTS[spec]
    monkeypatch.chdir(tmp_path)
    file = spec.partition(":")[0]
    if file != "absent.py":
        (tmp_path / file).write_text(source)
    with pytest.raises(RegistryError, match=message):
        load_object(spec)
    assert not [name for name in sys.modules if name.startswith("ntk_bench_file_raises")]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Installs a package that has these entry points, each a name and its value, beside the module `of_others`."""
    (tmp_path / "of_others.py").write_text(ADAPTER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "of_others", raising=False)

    def install(package: str, **points: str) -> None:
        directory = tmp_path / f"{package}-1.0.dist-info"
        directory.mkdir()
        (directory / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in points.items()]
        (directory / "entry_points.txt").write_text("\n".join(["[ntk_bench.impls]", *lines]))
        importlib.invalidate_caches()

    yield install
    sys.modules.pop("of_others", None)


def test_entry_point(installed) -> None:
    installed("theirs", **{"mine.zeros": "of_others:zeros"})
    assert names()[-1] == "mine.zeros"
    assert load("mine.zeros").kind == "exact"
    assert framework("mine.zeros") == "numpy"
    assert "of_others" in sys.modules


BAD_POINTS = {
    "other name": ({"mine.other": "of_others:zeros"}, RegistryError, "called 'mine.zeros'; the two names must agree"),
    "no object": ({"mine.zeros": "of_others:absent"}, RegistryError, "there is no of_others:absent"),
    "no module": ({"mine.zeros": "no_such_package:zeros"}, MethodNotInstalled, "needs no_such_package, which is not"),
}


@pytest.mark.parametrize("what", BAD_POINTS)
def test_entry_point_that_cannot_be_used(what: str, installed) -> None:
    points, error, message = BAD_POINTS[what]
    installed("theirs", **points)
    with pytest.raises(error, match=message):
        load(next(iter(points)))


def test_entry_point_with_the_name_of_a_built_in_method(installed) -> None:
    installed("theirs", **{"equinox.exact": "of_others:zeros"})
    with pytest.raises(RegistryError, match=r"'equinox\.exact' .* takes the name of a built-in method"):
        names()


def test_two_packages_with_one_name(installed) -> None:
    installed("theirs", **{"mine.zeros": "of_others:zeros"})
    installed("ours", **{"mine.zeros": "of_others:zeros"})
    with pytest.raises(RegistryError, match="takes the name of 'of_others:zeros'; its package must rename it"):
        names()


@pytest.mark.parametrize("answer", ["", " ", True, 0])
def test_a_refusal_needs_a_reason_in_words(answer: object) -> None:
    class Refuses:
        name, framework, kind = "refuses", "numpy", "exact"

        def unsupported(self, case: object, request: object) -> object:
            return answer

        def prepare(self, case: object, request: object) -> None: ...

    with pytest.raises(RegistryError, match="None or a reason in words"):
        unsupported(Refuses(), case("linear"), Request())  # pyright: ignore[reportArgumentType]


def test_a_kernel_that_a_method_does_not_compute_is_refused_in_one_place() -> None:
    """By `unsupported`, which asks no method that says nothing of its kernels; and by those of the registry itself."""
    asked: list[Request] = []
    method: Any = SimpleNamespace(name="mine", framework="numpy", kind="exact", prepare=print,
                                  unsupported=lambda case, request: asked.append(request))
    for quantity in ("nngp", "conjugate"):
        request = Request(quantity=quantity)
        reason = unsupported(method, case("linear"), request)
        assert reason is not None
        assert reason.startswith(f"it computes 'ntk', and asked for is '{quantity}', which ")
        with pytest.raises(InputError, match=f"explicit_mlp: it computes 'ntk', and asked for is '{quantity}'"):
            load("explicit_mlp").prepare(case("mlp_relu"), request)
    assert unsupported(method, case("linear"), Request()) is None
    assert len(asked) == 1


def test_a_kernel_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(InputError, match="quantity='nnpg' is not one of ntk, nngp, conjugate"):
        Request(quantity="nnpg")  # pyright: ignore[reportArgumentType]
    method = SimpleNamespace(name="mine", framework="numpy", kind="exact", prepare=print, quantities=("nnpg",))
    with pytest.raises(RegistryError, match="quantities must be a tuple of 'ntk', 'nngp', 'conjugate', got"):
        check_protocol(method, "mine")


@pytest.mark.parametrize("name", names(None))
def test_the_registry_says_what_its_methods_compute(name: str) -> None:
    pytest.importorskip(framework(name), reason=f"{framework(name)} is not installed")
    skip_missing(name)
    assert {quantity for quantity in get_args(Quantity) if name in names(quantity)} == set(quantities(load(name)))
