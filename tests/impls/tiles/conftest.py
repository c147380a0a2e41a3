"""What several modules of tests begin with."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="package")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that the tests leave as it is."""
    from impls import ntk
    from tests.impls.tiles.networks import TILE, X, torch_network

    path = tmp_path_factory.mktemp("finished") / "K.zarr"
    ntk(torch_network(), X, outputs="trace", out=path, tile=TILE)
    return path
