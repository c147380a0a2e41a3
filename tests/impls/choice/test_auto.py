"""The choice of ``method="auto"``: its cost model, the calibration and its cache, and what does not fit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax", reason="the JAX half is not installed")
pytest.importorskip("equinox", reason="the JAX half is not installed")
pytest.importorskip("torch", reason="the PyTorch half is not installed")

import impls
from impls import MethodNotInstalled, ntk, registry
from impls.choice import auto, calibration, costs
from impls.choice.costs import FACTORS, Facts
from impls.choice.rates import Rates
from impls.protocol import Framework
from reference import MLP, Case, Conv, ConvNet, InputError, Request, random_case
from reference.case import DType
from reference.tolerances import TOLERANCES

RATES = Rates(1e11, 1e11, 1e10, 1e-6)
FRAMEWORKS: tuple[Framework, ...] = ("torch", "jax")


@pytest.fixture
def nothing_kept() -> Iterator[None]:
    """What this process has measured already is forgotten, for this test and after it."""
    calibration._rates.cache_clear()
    yield
    calibration._rates.cache_clear()


def mlp(n1: int = 4, n2: int | None = None, width: int = 16, outputs: int = 3) -> Case:
    return random_case("mlp", MLP((6, width, outputs)), n1, n2)


def facts(case: Case, framework: Framework = "torch", **request: Any) -> Facts:
    return auto.facts_of_case(framework, case, Request(**request))


# --- facts ---


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_operations_of_a_forward_pass_are_counted(framework: Framework) -> None:
    found = facts(mlp(), framework)
    assert (found.matmul_flops, found.convolution_flops) == (2 * (6 * 16 + 16 * 3), 0)
    assert found.n_params == 6 * 16 + 16 + 16 * 3 + 3
    convnet = random_case("convnet", ConvNet((2, 5, 5), (Conv(4, (3, 3)),), (3,), "global"), 2, None)
    found = facts(convnet, framework)
    assert (found.matmul_flops, found.convolution_flops) == (2 * 4 * 3, 2 * 3 * 3 * 4 * 2 * 9)


def test_operations_inside_of_scans_and_branches_are_counted() -> None:
    import jax
    import jax.numpy as jnp

    from impls.choice.jax_half import count

    def f(w: Any, x: Any) -> Any:
        x = jax.lax.scan(lambda h, _: (jnp.tanh(h @ w), None), x, None, length=5)[0]
        return jax.lax.cond(x.sum() > 0, lambda: x @ w @ w, lambda: x @ w)

    assert count(jax.make_jaxpr(f)(jnp.ones((3, 3)), jnp.ones((2, 3))).jaxpr) == (7 * 2 * 2 * 9, 0)


def test_what_cannot_be_written_down_goes_example_by_example(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    class Branches(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(4, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.weight if x.sum() > 0 else x @ self.weight * 2

    monkeypatch.setattr(costs, "seconds", lambda name, *_: 1.0 if name in auto.MAP_EXAMPLES else 2.0)
    x = np.abs(np.random.default_rng(0).standard_normal((3, 4)))
    kernel = ntk(Branches(), x)
    np.testing.assert_allclose(np.einsum("nmaa->nma", kernel.numpy()), np.repeat((x @ x.T)[..., None], 4, 2),
                               rtol=TOLERANCES["float32", "exact"])


# --- costs ---


def test_every_exact_method_for_any_function_has_a_model() -> None:
    """neural_tangents.auto has none: it times nothing itself, and its choice is one of the others."""
    able = {name for name in impls.names() if can_do_any_function(name)}
    assert able - set(FACTORS) == {"neural_tangents.auto"}
    assert set(FACTORS) <= able


def can_do_any_function(name: str) -> bool:
    try:
        method = impls.load(name)
    except MethodNotInstalled:
        return False
    return method.kind == "exact" and hasattr(method, "kernel")


@pytest.mark.parametrize("name", FACTORS)
def test_more_work_takes_longer_and_faster_machines_less(name: str) -> None:
    framework = impls.framework(name)
    small, large = facts(mlp(), framework), facts(mlp(64, 48, width=512), framework)
    assert 0 < costs.seconds(name, small, RATES) < costs.seconds(name, large, RATES)
    faster = Rates(**{key: value / 2 if key == "dispatch_s" else value * 2 for key, value in asdict(RATES).items()})
    np.testing.assert_allclose(costs.seconds(name, large, faster), costs.seconds(name, large, RATES) / 2, rtol=1e-12)


@pytest.mark.parametrize("name", sorted(set(FACTORS) - set(costs.STRUCTURED)))
def test_smaller_blocks_hold_less(name: str) -> None:
    found = facts(mlp(64, 48), impls.framework(name))
    held = [costs.held_bytes(name, found, size) for size in (None, 16, 4, 1)]
    assert held == sorted(held, reverse=True)
    assert held[-1] > 0


def test_a_wide_network_is_for_the_structured_engines() -> None:
    """Where the Jacobians are 100 times larger than all the rest, on any machine that is not absurd."""
    for framework in FRAMEWORKS:
        found = facts(mlp(64, None, width=2048, outputs=10), framework)
        names = [name for name in FACTORS if impls.framework(name) == framework]
        best = min(names, key=lambda name: costs.seconds(name, found, RATES))
        assert best == f"structured_{framework}"


# --- what does not fit ---


def own(case: Case, framework: Framework, **request: Any) -> Any:
    return auto.own_of_case(framework, case, Request(**request))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_what_does_not_fit_is_not_chosen(framework: Framework, monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast it is said to be."""
    monkeypatch.setattr(calibration, "rates", lambda *_: RATES)
    monkeypatch.setattr(costs, "seconds", lambda name, *_: 9.0 if name in costs.STRUCTURED else 1.0)
    problem = own(mlp(32, None, width=256, outputs=10), framework)
    free = auto.candidates(problem, Request(), None)
    assert free[0].name not in costs.STRUCTURED
    tight = auto.candidates(problem, Request(), 100_000)
    assert tight[0].name == f"structured_{framework}"
    assert tight[0].bytes <= 100_000
    for candidate in tight[1:]:
        assert candidate.obstacle or candidate.bytes <= 100_000
    assert any("needs" in candidate.obstacle for candidate in tight)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_blocks_are_made_before_a_method_is_given_up(framework: Framework, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "rates", lambda *_: RATES)
    found = {c.name: c for c in auto.candidates(own(mlp(32), framework), Request(), 50_000)}
    jacobians = found["torch_func.jacobian_contraction" if framework == "torch" else "equinox.exact"]
    assert jacobians.batch_size is not None
    assert 1 <= jacobians.batch_size < 32
    assert jacobians.bytes <= 50_000


def test_free_memory_is_the_limit_where_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "rates", lambda *_: RATES)
    monkeypatch.setattr(auto, "free_memory", lambda *_: 200_000)
    assert all(c.obstacle or c.bytes <= 200_000 for c in auto.candidates(own(mlp(32), "torch"), Request(), None))
    monkeypatch.setattr(auto, "free_memory", lambda *_: 10_000)
    with pytest.raises(InputError, match=r"the kernel itself takes 0\.035\d* MiB, and .* may be used; ask for outputs"):
        auto.candidates(own(mlp(32), "torch"), Request(), None)
    monkeypatch.setattr(auto, "free_memory", lambda *_: None)
    assert not auto.candidates(own(mlp(32), "torch"), Request(), None)[0].obstacle


def test_the_methods_stay_unloaded_until_one_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    original = registry.load
    monkeypatch.setattr(registry, "load", lambda name: (loaded.append(name), original(name))[1])
    monkeypatch.setattr(calibration, "rates", lambda *_: RATES)
    auto.candidates(own(mlp(), "jax"), Request(), None)
    assert set(loaded) == {"structured_jax"}


# --- the calibration and its cache ---


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_machine_is_measured(framework: Framework) -> None:
    found = calibration.measure(framework, "cpu", "float32")
    assert all(value > 0 for value in asdict(found).values())


def measured(monkeypatch: pytest.MonkeyPatch, folder: Path | str, dtype: DType = "float32") -> tuple[Rates, int]:
    """The rates, and how often they were measured in a process that has measured nothing before."""
    count = 0

    def measure(*_: Any) -> Rates:
        nonlocal count
        count += 1
        return RATES

    monkeypatch.setenv(calibration.VARIABLE, str(folder))
    monkeypatch.setattr(calibration, "measure", measure)
    calibration._rates.cache_clear()
    return calibration.rates("torch", "cpu", dtype), count


@pytest.mark.usefixtures("nothing_kept")
def test_the_cache_is_read_and_keeps_what_else_it_holds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    assert measured(monkeypatch, folder) == (RATES, 1)
    assert measured(monkeypatch, folder) == (RATES, 0)
    assert measured(monkeypatch, folder, "float64") == (RATES, 1)
    assert measured(monkeypatch, folder) == (RATES, 0)
    assert [path.name for path in folder.iterdir()] == ["calibration.json"]
    (key, *_), kept = list(json.loads((folder / "calibration.json").read_text())), asdict(RATES)
    assert json.loads((folder / "calibration.json").read_text())[key] == kept
    assert "torch" in key
    assert "1 threads" in key or "threads" in key


@pytest.mark.usefixtures("nothing_kept")
@pytest.mark.parametrize("content", ["", "{", "[]", '"x"', '{"KEY": 3}', '{"KEY": {"matmul_flops": 1}}',
                                     '{"KEY": {"matmul_flops": -1.0, "convolution_flops": 1.0, "bytes": 1.0, '
                                     '"dispatch_s": 1.0}}'])
def test_a_broken_cache_is_measured_anew(content: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measured(monkeypatch, tmp_path)
    path = tmp_path / "calibration.json"
    key = next(iter(json.loads(path.read_text())))
    path.write_text(content.replace("KEY", key.replace('"', "")))
    assert measured(monkeypatch, tmp_path) == (RATES, 1)
    assert measured(monkeypatch, tmp_path) == (RATES, 0)


@pytest.mark.usefixtures("nothing_kept")
def test_no_cache_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert measured(monkeypatch, tmp_path / "file" / "below") == (RATES, 1)  # cannot be written to
    assert measured(monkeypatch, "") == (RATES, 1)
    assert measured(monkeypatch, "") == (RATES, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.usefixtures("nothing_kept")
def test_a_single_call_measures_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    count = 0

    def measure(*_: Any) -> Rates:
        nonlocal count
        count += 1
        return RATES

    monkeypatch.setenv(calibration.VARIABLE, str(tmp_path))
    monkeypatch.setattr(calibration, "measure", measure)
    x = np.ones((4, 6), np.float32)
    network = of_many_outputs()
    ntk(network, x, outputs="trace")
    assert (count, list(tmp_path.iterdir())) == (0, [])
    assert calibration.rates("torch", "cpu", "float32", 1) != RATES
    ntk(network, x, outputs="trace", expect_calls=2)
    assert count == 1
    assert calibration.rates("torch", "cpu", "float32", 1) == RATES  # what was kept


def of_many_outputs() -> Any:
    import torch

    return torch.nn.Sequential(torch.nn.Linear(6, 300))  # worth a trace


def test_the_cache_is_where_the_platform_keeps_its_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert calibration.cache_file(None) == Path("/somewhere/ntk-bench/calibration.json")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert calibration.cache_file(None) == Path("~/.cache/ntk-bench/calibration.json").expanduser()
    assert calibration.cache_file("/else") == Path("/else/calibration.json")
    assert calibration.cache_file("") is None


def test_rates_are_positive_numbers() -> None:
    for value in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="bytes must be a positive number"):
            replace(RATES, bytes=value)
