"""The shared cases and their stored kernels."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reference import (
    MLP,
    Case,
    InputError,
    StoreError,
    case,
    cases,
    expected,
    has_proof,
    kernel,
    random_case,
    round_to_float32,
    store,
)
from reference.__main__ import main
from reference.regenerate import sources_digest


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the stored kernels that the store reads and writes instead of its own."""
    folder = shutil.copytree(store.FOLDER, tmp_path / "kernels")
    monkeypatch.setattr(store, "FOLDER", folder)
    return folder


def edit(folder: Path, name: str, *keys: str, value: object) -> None:
    entry = json.loads((folder / f"{name}.json").read_text())
    target = entry
    for key in keys[:-1]:
        target = target[key]
    target[keys[-1]] = value
    (folder / f"{name}.json").write_text(json.dumps(entry))


def test_cases_have_distinct_names_and_are_made_anew() -> None:
    first, second = cases(), cases()
    assert len({one.name for one in first}) == len(first) >= 16
    for one, other in zip(first, second, strict=True):
        assert store.digests(one) == store.digests(other)
        assert one.x1 is not other.x1
        assert one.x2 is not None


def test_an_unknown_case_gets_the_nearest_names() -> None:
    with pytest.raises(InputError, match=r"unknown case 'mlp_rellu'; known are e.g. mlp_relu"):
        case("mlp_rellu")


@pytest.mark.parametrize("shared", cases(), ids=lambda shared: shared.name)
def test_stored_kernels_are_of_these_cases_and_sources(shared: Case) -> None:
    assert shared.x2 is not None
    n1, n2, n_outputs = len(shared.x1), len(shared.x2), shared.network.n_outputs
    assert has_proof(shared)
    assert has_proof(shared.with_symmetry())
    assert kernel(shared).shape == (n1, n2, n_outputs, n_outputs)
    assert kernel(shared, "diagonal").shape == (n1, n2, n_outputs)
    assert kernel(shared.with_symmetry(), "trace").shape == (n1, n1)
    assert store.read(shared.name)["provenance"]["sources_sha256"] == sources_digest()
    np.testing.assert_array_equal(expected(shared).block1, expected(shared.with_symmetry()).block2)


def test_no_entry_exceeds_its_scale() -> None:
    for shared in cases():
        truth = expected(shared)
        for outputs in ("full", "diagonal", "trace"):
            assert (np.abs(truth.outputs(outputs)) <= truth.scale(outputs) * (1 + 1e-15)).all()


def test_other_parameters_or_inputs_have_no_proof() -> None:
    shared = case("linear")
    others = [
        replace(shared, name="other"),
        replace(shared, x1=round_to_float32(shared.x1 + 1)),
        replace(shared, x2=shared.x1),
        replace(shared, params=dict(shared.params) | {"dense0.bias": np.zeros(3)}),
        replace(shared, network=MLP((5, 3), "tanh")),
        random_case("mine", MLP((2, 3)), 2, None),
    ]
    for other in others:
        assert not has_proof(other)
        with pytest.raises(InputError, match=r"has no proved kernel; reference.float64_expected"):
            expected(other)


def test_a_stale_or_missing_or_broken_file_says_how_to_mend_it(copy: Path) -> None:
    edit(copy, "linear", "digests", "x1", value="0")
    with pytest.raises(StoreError, match=r"'linear' was proved for another x1; regenerate .* `nox -s kernels`"):
        kernel(case("linear"))
    (copy / "mlp_relu.json").unlink()
    with pytest.raises(StoreError, match=r"'mlp_relu' is not stored at .*; regenerate"):
        kernel(case("mlp_relu"))
    (copy / "mlp_gelu.json").write_text("{")
    with pytest.raises(StoreError, match=r"not valid JSON .*; regenerate"):
        kernel(case("mlp_gelu"))


def test_the_stored_kernels_are_the_proved_ones() -> None:
    assert main(["regenerate", "--check"]) == 0


def test_whatever_differs_is_found_and_mended(copy: Path, monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    few = ["linear", "mlp_gelu", "mlp_relu", "mlp_erf_ntk_no_bias"]
    monkeypatch.setattr("reference.regenerate.names", lambda: few)
    monkeypatch.setattr("reference.regenerate.cases", lambda: [case(name) for name in few])
    for file in copy.iterdir():
        if file.stem not in few:
            file.unlink()
    values = store.read("mlp_gelu")["kernels"]["x1_x2"]["values"]
    edit(copy, "mlp_gelu", "kernels", "x1_x2", "values", value=[np.nextafter(values[0], np.inf), *values[1:]])
    edit(copy, "mlp_relu", "provenance", "sources_sha256", value="0")
    edit(copy, "mlp_erf_ntk_no_bias", "digests", "model", value="0")
    (copy / "linear.json").rename(copy / "gone.json")
    assert main(["regenerate", "--check"]) == 1
    found = capsys.readouterr().err
    for line in ("mlp_gelu: kernels differs", "mlp_relu: was proved by other sources",
                 "mlp_erf_ntk_no_bias: digests differs", "linear: the kernel of case 'linear' is not stored",
                 "gone: stored, but there is no such case"):
        assert line in found
    assert len(found.splitlines()) == 5

    assert main(["regenerate"]) == 0
    assert "gone: removed" in capsys.readouterr().out
    assert main(["regenerate", "--check"]) == 0
