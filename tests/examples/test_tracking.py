"""The examples of tracking and of components run, say what they claim, and save a figure."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

MISSING = [name for name in ("torch", "scipy", "sklearn", "matplotlib", "tyro") if find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


def test_plasticity(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from examples.plasticity import Config, main

    found = main(Config(rates=(0.02, 0.2), tasks=4, steps=60, width=32, probe=24, figure=tmp_path / "figure.png"))
    small, large = found[0.02], found[0.2]
    assert small.accuracy[-1] > large.accuracy[-1]
    assert large.inactive[-1] > 2 * small.inactive[-1]
    assert large.rank[-1] < small.rank[-1]
    assert (len(small.accuracy), len(small.rank)) == (4, 5)
    assert is_figure(tmp_path / "figure.png")
    assert capsys.readouterr().out.count("learning rate") == 2


def test_convnet_components(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from examples.convnet_components import Config, main

    found = main(Config(channels=8, probe=20, steps=60, figure=tmp_path / "figure.png"))
    for shares, alignments, _ in found.values():
        assert list(shares) == list(alignments) == ["conv1", "conv2", "conv3", "linear", "output"]
        assert sum(shares.values()) == pytest.approx(1)
    before, after = found["before training"], found["after training"]
    assert before.shares["output"] > after.shares["output"]
    assert after.alignments["linear"] > before.alignments["linear"]
    assert is_figure(tmp_path / "figure.png")
    assert "of the trace" in capsys.readouterr().out


def is_figure(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000
