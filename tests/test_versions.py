"""What pyproject.toml claims of frameworks is what `nox -s tests_versions` proves: nothing beyond either end."""

from __future__ import annotations

import ast
import tomllib
from typing import Any

import pytest

from tests import ROOT


def table(name: str) -> dict[str, Any]:
    """Of the noxfile, read without nox, which the tests do not need."""
    for statement in ast.parse((ROOT / "noxfile.py").read_text()).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name:
            return ast.literal_eval(statement.value)
    raise AssertionError(f"noxfile.py has no {name}")


def proved() -> dict[str, dict[str, str]]:
    return table("VERSIONS")


def claimed(framework: str) -> tuple[list[int], list[int]]:
    """(first, first no longer claimed) of ``framework>=…,<…``."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (claim,) = [one for one in extras[framework] if one.startswith(f"{framework}>=")]
    first, _, end = claim.removeprefix(f"{framework}>=").partition(",<")
    return numbers(first), numbers(end)


def numbers(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]


@pytest.mark.parametrize("framework", ["jax", "torch"])
def test_claims_end_where_the_proofs_do(framework: str) -> None:
    first, end = claimed(framework)
    lowest = numbers(proved()["lowest"][framework])
    newest = max(numbers(versions[framework]) for versions in proved().values())
    assert lowest == [*first, 0], "the first release that is claimed is the lowest that is proved"
    assert newest[:2] == [end[0], end[1] - 1], "the claim ends with the minor release of the newest that is proved"


def test_every_python_that_is_claimed_has_proofs_of_both_ends() -> None:
    """What needs a later Python is there beside what does not, never in its place."""
    later = table("NEEDS_PYTHON")
    assert later.keys() < proved().keys()
    assert not {"lowest", "newest"} & later.keys()


def test_the_newest_is_what_ci_runs() -> None:
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    newest = proved()["newest"]
    assert {name: pins[name] for name in newest} == newest
