"""`python -m tests.mutation`: mutate the comparison, the gate and the closed form, and write docs/mutation.md.

mutmut changes one operator, constant or argument at a time and runs the tests of that function; what no test notices
survives, and needs an explanation in `tests.mutation.explained`. It works on a copy of the repository, in a temporary
folder. `python -m tests.mutation GROUP …` runs some groups only, and writes nothing.

Exit code 1 where fewer than 90 % are killed, or a survivor is not explained.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from shutil import copy
from tempfile import TemporaryDirectory

from tests.mutation.explained import reason_for

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "mutation.md"
DUE = 0.9


@dataclass(frozen=True)
class Group:
    """Files to mutate, and the tests that are asked about them."""

    name: str
    files: tuple[str, ...]
    tests: tuple[str, ...]


GROUPS = (
    Group("comparison",
          ("reference/compare.py", "reference/structure.py", "reference/statistics.py", "reference/mistakes.py"),
          tuple(f"tests/reference/{name}.py" for name in (
              "test_compare", "test_statistics", "test_comparison_corners"))),
    Group("closed form", ("impls/methods/explicit_mlp.py",),
          ("tests/impls/methods/test_explicit_mlp.py", "tests/mutation/gate_on_mutants.py::test_the_closed_form")),
    Group("gate",
          tuple(f"tests/gate/{name}.py" for name in (
              "checks", "test_values", "test_independence", "test_requests", "test_spread")),
          ("tests/planted/test_gate_asks.py", "tests/mutation/gate_on_mutants.py::test_it_dies_where_expected",
           "tests/mutation/gate_on_mutants.py::test_the_right_pass")),
)


@dataclass(frozen=True)
class Survivor:
    name: str
    removed: str
    added: str

    @property
    def reason(self) -> str | None:
        return reason_for(self.name, self.removed, self.added)


@dataclass(frozen=True)
class Outcome:
    group: Group
    counts: Counter[str]
    """By file, "FILE killed" and "FILE survived"; a timeout, a crash and an error while collecting are kills."""
    survivors: list[Survivor]


def main(names: list[str]) -> int:
    outcomes = [mutated(group) for group in GROUPS if not names or group.name in names]
    text = page(outcomes)
    print(text)
    if not names:
        PAGE.write_text(text)
    unexplained = [one.name for outcome in outcomes for one in outcome.survivors if one.reason is None]
    return 1 if unexplained or score(outcomes) < DUE else 0


def mutated(group: Group) -> Outcome:
    """The group's mutants, generated and run in a copy of the repository."""
    with TemporaryDirectory() as folder:
        sandbox = Path(folder)
        _copy_to(sandbox)
        (sandbox / "setup.cfg").write_text(_settings(group))
        subprocess.run([sys.executable, "-m", "mutmut", "run", "--max-children", "1"], cwd=sandbox, check=True)
        statuses = _statuses(sandbox)
        names = [name for name, status in statuses.items() if _survived(status)]
        survivors = [_survivor(sandbox, name) for name in names]
    counts = Counter(f"{_file_of(name)} {'survived' if _survived(status) else 'killed'}"
                     for name, status in statuses.items())
    return Outcome(group, counts, survivors)


def _copy_to(sandbox: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout.splitlines()
    for name in filter(lambda name: (ROOT / name).is_file(), listed):
        (sandbox / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, sandbox / name)


def _settings(group: Group) -> str:
    """Without pytest's plugins that cost time or write files."""
    lists = {
        "source_paths": ("reference", "impls", "tests"),
        "only_mutate": group.files,
        "pytest_add_cli_args_test_selection": group.tests,
        "pytest_add_cli_args": ("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:benchmark"),
    }
    lines = ["[mutmut]", "use_git_change_detection = False", "track_dependencies = False"]
    for name, values in lists.items():
        lines += [f"{name} =", *(f"    {value}" for value in values)]
    return "\n".join([*lines, ""])


def _statuses(sandbox: Path) -> dict[str, str]:
    lines = _mutmut(sandbox, "results", "--all", "true").splitlines()
    return dict(line.strip().split(": ", 1) for line in lines if ": " in line)


def _survived(status: str) -> bool:
    return status in ("survived", "no tests", "not checked", "skipped", "suspicious")


def _survivor(sandbox: Path, name: str) -> Survivor:
    changed = [line for line in _mutmut(sandbox, "show", name).splitlines()
               if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    removed, added = (" ".join(line[1:].strip() for line in changed if line.startswith(sign)) for sign in "-+")
    return Survivor(name, removed, added)


def _mutmut(sandbox: Path, *args: str) -> str:
    return subprocess.run([sys.executable, "-m", "mutmut", *args], cwd=sandbox, check=True, capture_output=True,
                          text=True).stdout


def _file_of(name: str) -> str:
    """``reference.compare.x__deviation__mutmut_11`` is of reference/compare.py."""
    return name.rpartition(".")[0].replace(".", "/") + ".py"


def score(outcomes: list[Outcome]) -> float:
    counts = sum((outcome.counts for outcome in outcomes), Counter[str]())
    return sum(n for what, n in counts.items() if what.endswith(" killed")) / max(counts.total(), 1)


def page(outcomes: list[Outcome]) -> str:
    lines = ["# Mutation run", "",
             "mutmut changes one operator, constant or argument at a time, messages included, and runs the tests of",
             "that function. Written by `nox -s mutation`; not edited: the explanations stand in",
             "`tests/mutation/explained.py`.", "",
             f"**{100 * score(outcomes):.1f} % killed.**", "", "| file | mutants | killed | survived | tests |",
             "|---|---|---|---|---|"]
    for outcome in outcomes:
        for file in outcome.group.files:
            killed, survived = (outcome.counts[f"{file} {what}"] for what in ("killed", "survived"))
            tests = ", ".join(f"`{test}`" for test in outcome.group.tests)
            lines.append(f"| `{file}` | {killed + survived} | {killed} | {survived} | {tests} |")
    lines += ["", "## Survivors", "", "| in | the change | why it survives |", "|---|---|---|"]
    for one in (one for outcome in outcomes for one in outcome.survivors):
        function = one.name.rpartition("__mutmut_")[0].replace(".x_", ".")
        change = f"`{one.removed}` → `{one.added}`".replace("|", "\\|")
        lines.append(f"| `{function}` | {change} | {one.reason or '**not explained**'} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
