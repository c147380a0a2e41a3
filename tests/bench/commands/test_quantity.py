"""`python -m bench run --quantity`: other kernels in the same rows, which stand beside those of the NTK."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cells.options import Options, method_names
from bench.commands.cli import main
from bench.records.store import Store
from bench.report.report import render
from bench.report.summary import rankings
from reference import InputError

MADE = ("--cases", "mlp_relu", "--out")


def run(out: Path, *arguments: str) -> int:
    return main(["run", "--profile", "fixtures", "--threads", "1", "--again", "0", *arguments, *MADE, str(out)])


def test_rows_of_three_kernels_stand_beside_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is held against its own truth, ranked among its own, and named in the report."""
    assert run(tmp_path, "--methods", "explicit_mlp") == 0
    assert run(tmp_path, "--quantity", "nngp", "--n-samples", "256", "--methods", "torch.nngp",
               "neural_tangents.infinite", "explicit_mlp") == 0
    assert run(tmp_path, "--quantity", "conjugate", "--methods", "torch.conjugate") == 0
    store = Store(tmp_path)
    records = {(record.cell.method, record.cell.quantity): record for record in store.records()}
    assert {key: record.status for key, record in records.items()} == {
        ("explicit_mlp", "ntk"): "ok", ("explicit_mlp", "nngp"): "unsupported", ("torch.nngp", "nngp"): "ok",
        ("neural_tangents.infinite", "nngp"): "ok", ("torch.conjugate", "conjugate"): "ok"}
    assert records["torch.nngp", "nngp"].cell.options == {"n_samples": 256, "quantity": "nngp"}
    assert records["torch.nngp", "nngp"].checked_against.startswith("infinite width, proved; ")
    assert records["torch.conjugate", "conjugate"].checked_against.startswith("conjugate kernel of the last hidden")
    assert "asked for is 'nngp', which neural_tangents.infinite, equinox.nngp" in records["explicit_mlp", "nngp"].reason
    assert [ranking.group.quantity for ranking in rankings(records.values())] == ["conjugate", "nngp", "ntk"]
    page = render(list(records.values()), store.environments())
    assert "conjugate" in page
    assert "n_samples=256" in page
    capsys.readouterr()
    assert main(["list"]) == 0
    assert "ntk, nngp" in capsys.readouterr().out


def test_methods_of_the_kernel_are_measured_unless_others_are_named() -> None:
    assert method_names(Options(profile="fixtures", quantity="conjugate")) == ["equinox.conjugate", "torch.conjugate"]
    assert "torch.conjugate" not in method_names(Options(profile="fixtures"))
    with pytest.raises(InputError, match="--quantity nngp is measured on the described networks"):
        Options(profile="engines", quantity="nngp").adjusted_profile()
