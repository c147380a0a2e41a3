"""The order of the packages (.importlinter), which a planted circle and a planted import break; and what pages name."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from tests import ROOT

PACKAGES = ("reference", "impls", "bench", "studies")

LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"

PLANTED = {
    "circle": ("impls/structured/planner.py", "from impls.structured import explain", "No circles BROKEN"),
    "PyTorch in a JAX half": ("impls/structured/jax/contract.py", "import torch", "imports PyTorch BROKEN"),
    "JAX in a PyTorch half": ("impls/own/torch/network.py", "import jax", "imports JAX BROKEN"),
    "PyTorch in what both engines share": ("impls/structured/analysis.py", "import torch", "no framework BROKEN"),
    "a half asked by what both share": ("impls/structured/analysis.py", "from impls.structured.jax import names",
                                        "the structured engines BROKEN"),
    "a method asked by a framework": ("impls/frameworks/arrays.py", "from impls.methods import options",
                                      "Arrows inside impls BROKEN"),
    "bench asked by studies": ("studies/config.py", "from bench import units", "Arrows between the packages BROKEN"),
    "the page asked by a run's record": ("bench/records/store.py", "from bench.report import page",
                                         "Arrows inside bench BROKEN"),
}
"""A file, a line that it may not hold, and what is said of it."""


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", LINT], cwd=folder, capture_output=True, text=True, timeout=120)


def test_arrows_point_one_way_and_make_no_circle() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("planted", PLANTED)
def test_what_breaks_the_order_is_seen(planted: str, tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=lambda folder, names: [
            name for name in names if not (name.endswith(".py") or Path(folder, name).is_dir())])
    shutil.copy(ROOT / ".importlinter", tmp_path)
    file, line, said = PLANTED[planted]
    with (tmp_path / file).open("a") as source:
        source.write(f"\n{line}\n")
    done = lint(tmp_path)
    assert done.returncode == 1
    assert said in done.stdout


def test_all_that_both_engines_share_is_held_to_it() -> None:
    contracts = ConfigParser()
    contracts.read(ROOT / ".importlinter")
    shared = contracts["importlinter:contract:shared"]["source_modules"].split()
    assert {*shared} == {f"impls.{folder}.{path.stem}" for folder in ("structured", "programs")
                         for path in (ROOT / "impls" / folder).glob("[a-z]*.py")}


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_what_a_page_names_is_there(page: str) -> None:
    text = (ROOT / page).read_text()
    named = {name for name in re.findall(r"`([\w./]+)`", text)
             if name.endswith("/") or re.fullmatch(r"(reference|impls|bench|studies|tests|docs)/[\w./]+", name)}
    linked = set(re.findall(r"\]\(([\w./]+)\)", text))
    missing = [name for name in sorted(named) if not (ROOT / name).exists()]
    missing += [name for name in sorted(linked) if not (ROOT / page).parent.joinpath(name).exists()]
    assert named
    assert not missing


@pytest.mark.parametrize("page", ["README.md", "reference/DEFINITION.md", "docs/architecture.md",
                                  "docs/engines.md", "docs/coverage.md", "docs/models.md", "docs/rules.md"])
def test_what_a_page_calls_by_name_is_there(page: str) -> None:
    named = set(re.findall(rf"(?<![\w.])(?:{'|'.join(PACKAGES)})(?:\.[A-Za-z_]\w*)+", (ROOT / page).read_text()))
    assert not [name for name in sorted(named) if not is_there(name)]


def is_there(dotted: str) -> bool:
    """Whether that is a module, or a name that one defines or imports, read as text."""
    place, *rest = ROOT / dotted.partition(".")[0], *dotted.split(".")[1:]
    while rest and (place / rest[0]).is_dir():
        place, rest = place / rest[0], rest[1:]
    if rest and (place / f"{rest[0]}.py").exists():
        place, rest = place / f"{rest[0]}.py", rest[1:]
    if not rest:
        return True
    source = (place if place.suffix else place / "__init__.py").read_text()
    return re.search(rf"^(?:def|class) {rest[0]}\b|^{rest[0]}\b.*=|^from .*\b{rest[0]}\b|^ +{rest[0]},$", source,
                     re.MULTILINE) is not None or rest[0] in ("md", "py", "json", "toml")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_says_its_question(package: str) -> None:
    folders = {path.parent for path in (ROOT / package).rglob("*.py")}
    silent = [str(folder.relative_to(ROOT)) for folder in folders
              if not (folder / "__init__.py").exists() or not (folder / "__init__.py").read_text().startswith('"""')]
    assert not silent
