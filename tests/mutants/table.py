"""The kill table, docs/mutants.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.mutants.hold import Death
from tests.mutants.mutant import Mutant
from tests.mutants.registry import ITEMS, MUTANTS

PATH = Path(__file__).parents[2] / "docs" / "mutants.md"
REMEDY = "write it anew with `nox -s mutants`"
SURVIVED = "**survived**"
_LONGEST = 110


def page(rows: Mapping[str, str]) -> str:
    """The whole file, from the row of each mutant by name."""
    killed = {mutant.name for mutant in MUTANTS if is_killed(rows.get(mutant.name))}
    lines = [
        "# Mutants", "",
        "Each row is a method of this project, or one written for the purpose, with one mistake in it",
        "(`tests/mutants/`), and the first test of the gate that fails on it: the one where the mistake is expected to",
        "show is tried first.",
        "The method without the mistake passes the same test. Written by `nox -s mutants`; not edited.", "",
        f"**{len(killed)} of {len(MUTANTS)} killed.**", "",
        "## Score by item of the list of known bugs", "", "| item | what it is | killed | of |", "|---|---|---|---|"]
    for item, what in (*ITEMS.items(), ("", "none of them")):
        ours = [mutant for mutant in MUTANTS if mutant.item == item]
        lines.append(f"| {item or '–'} | {what} | {sum(one.name in killed for one in ours)} | {len(ours)} |")
    lines += ["", "## Every mutant", "",
              "| mutant | item | framework | architecture | the mistake | killed by | it says |",
              "|---|---|---|---|---|---|---|"]
    return "\n".join([*lines, *(rows[mutant.name] for mutant in MUTANTS if mutant.name in rows), ""])


def rows_before(path: Path) -> dict[str, str]:
    """Those of a file that was written before, by name, of mutants that are what they were."""
    if not path.exists():
        return {}
    lines = path.read_text().splitlines()
    beginnings = {mutant.name: unjudged(mutant) for mutant in MUTANTS}
    return {name: line for name, beginning in beginnings.items() for line in lines if line.startswith(beginning)}


def unjudged(mutant: Mutant) -> str:
    """The beginning of its row: what it is, and not what killed it."""
    return row(mutant, None).partition(SURVIVED)[0]


def is_killed(row: str | None) -> bool:
    return row is not None and SURVIVED not in row


def row(mutant: Mutant, death: Death | None) -> str:
    cells = [*described(mutant), *killed_by(mutant, death)]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def described(mutant: Mutant) -> list[str]:
    return [f"`{mutant.name}`", mutant.item or "–", mutant.framework, mutant.architecture, mutant.what]


def killed_by(mutant: Mutant, death: Death | None) -> list[str]:
    """One that raises what it is not meant to has not been looked at."""
    if death is None:
        return [SURVIVED, ""]
    if death.error is not None and type(death.error) is not mutant.raises:
        return [SURVIVED, f"it raised {death.message}"]
    where = "the summary" if death.test is None else f"{death.test.name} ({death.test.where})".removesuffix(" ()")
    message = death.message if len(death.message) <= _LONGEST else death.message[:_LONGEST - 1] + "…"
    return [where, message]
