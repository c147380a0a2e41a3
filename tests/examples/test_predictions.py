"""The examples of predictions run, say what they claim, and save a figure."""

from __future__ import annotations

import struct
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

MISSING = [name for name in ("scipy", "sklearn", "matplotlib", "tyro") if find_spec(name) is None]
pytestmark = [pytest.mark.skipif(bool(MISSING), reason=f"the extra studies is not installed: {', '.join(MISSING)}"),
              pytest.mark.usefixtures("quick_compilation_of_module")]


def is_figure(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000


def test_image_regression(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    from examples.image_regression import Config, main

    found = main(Config(size=16, width=64, frequency=6.0, steps=(2, 40), figure=tmp_path / "figure.png"))
    assert found["trained"][1] > found["trained"][0]
    assert found["predicted"] == pytest.approx(found["trained"], abs=1)  # decibels
    assert max(found["apart"]) < 0.05
    assert is_figure(tmp_path / "figure.png")
    assert "after    40 steps" in capsys.readouterr().out


def test_kernel_against_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    from examples.kernel_against_training import Config, main

    narrow, wide = main(Config(widths=(16, 256), train=40, test=100, steps=60, figure=tmp_path / "figure.png"))
    assert wide.apart < narrow.apart / 3
    assert min(wide.trained, wide.predicted) > 0.4
    assert wide.agree > 0.9
    assert is_figure(tmp_path / "figure.png")
    assert capsys.readouterr().out.count("\n") == 4


@pytest.mark.skipif(find_spec("neural_tangents") is None, reason="neural-tangents is not installed")
def test_infinite_and_empirical_on_files_of_mnists_format(tmp_path: Path) -> None:
    from examples.infinite_and_empirical import Config, main

    write_idx(tmp_path)
    found: dict[str, Any] = main(Config(data=str(tmp_path), train=40, test=60, width=128,
                                        figure=tmp_path / "figure.png"))
    assert found.pop("apart") < 0.5
    assert min(found.values()) > 0.4
    assert is_figure(tmp_path / "figure.png")


def write_idx(folder: Path) -> None:
    """scikit-learn's digits as the four files that MNIST has."""
    from studies.data import load

    data = load("digits")
    for name, images, labels in (("train", data.x_train, data.y_train), ("t10k", data.x_test, data.y_test)):
        for kind, array in (("images-idx3", (images[:, 0] * 255).round()), ("labels-idx1", labels)):
            header = struct.pack(f">HBB{array.ndim}I", 0, 0x08, array.ndim, *array.shape)
            (folder / f"{name}-{kind}-ubyte").write_bytes(header + array.astype(np.uint8).tobytes())
