"""The README's Python runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
BLOCKS = [block for block in PYTHON if re.search(r"# .*shape \(", block)]
STUDIES = [block for block in PYTHON if block not in BLOCKS]
"""Of a network and data of the reader's: their comments say no shapes."""


NEEDED = ("torch", "jax", "torch")
"""By which framework each block is."""


def test_the_readme_has_a_block_for_each_framework() -> None:
    assert [("torch" in block, "jax" in block) for block in BLOCKS] == [(name == "torch", name == "jax")
                                                                        for name in NEEDED]


@pytest.mark.parametrize(("block", "framework"), list(zip(BLOCKS, NEEDED, strict=True)))
def test_a_block_gives_the_shapes_that_its_comments_say(block: str, framework: str,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(framework, reason="the block is for this framework")
    if "studies" in block:
        pytest.importorskip("scipy", reason="the extra studies is not installed")
    monkeypatch.setenv("NTK_BENCH_CACHE", "")  # nothing into the user's cache
    names: dict[str, object] = {}
    shapes = []
    for line in block.splitlines():
        exec(compile(line, "README.md", "exec"), names)
        if said := re.search(r"# .*shape (\(.*?\))", line):
            assert str(tuple(getattr(names[line.partition(" = ")[0]], "shape", ()))) == said[1], line
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
