"""The README's Python runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
BLOCKS = [block for block in PYTHON if "from impls import" in block]
STUDIES = [block for block in PYTHON if block not in BLOCKS]
"""Of a network and data of the reader's."""


def test_the_readme_has_a_block_for_each_framework() -> None:
    assert [("torch" in block, "jax" in block) for block in BLOCKS] == [(True, False), (False, True)]


@pytest.mark.parametrize("block", BLOCKS, ids=["torch", "jax"])
def test_a_block_gives_the_shapes_that_its_comments_say(block: str, request: pytest.FixtureRequest,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(request.node.callspec.id, reason="the block is for this framework")
    monkeypatch.setenv("NTK_BENCH_CACHE", "")  # nothing into the user's cache
    names: dict[str, object] = {}
    shapes = []
    for line in block.splitlines():
        exec(compile(line, "README.md", "exec"), names)
        if said := re.search(r"# .*shape (\(.*?\))", line):
            assert str(tuple(getattr(names["K"], "shape", ()))) == said[1], line
            shapes.append(said[1])
    assert shapes


@pytest.mark.parametrize("block", STUDIES, ids=[str(i) for i in range(len(STUDIES))])
def test_a_block_about_studies_is_python_whose_imports_are_there(block: str) -> None:
    for package in ("torch", "jax", "sklearn", "scipy", "matplotlib"):
        pytest.importorskip(package, reason="the block needs all that the studies install")
    compile(block, "README.md", "exec")
    imports = [line for line in block.splitlines() if line.startswith(("from ", "import "))]
    assert any(line.startswith("from studies") for line in imports)
    exec("\n".join(imports), {})
