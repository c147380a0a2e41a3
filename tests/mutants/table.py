"""The kill table, docs/mutants.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.mutants.hold import Death
from tests.mutants.mutant import Mutant
from tests.mutants.registry import ITEMS, MUTANTS

PATH = Path(__file__).parents[2] / "docs" / "mutants.md"
REMEDY = "write it anew with `nox -s mutants`"
_LONGEST = 110


def page(deaths: Mapping[str, Death | None]) -> str:
    """The whole file, from the death of each mutant by name; None for a survivor."""
    killed = sum(death is not None for death in deaths.values())
    lines = [
        "# Mutants", "",
        "Each row is a method of this project, or one written for the purpose, with one mistake in it",
        "(`tests/mutants/`), and the first test of the gate that fails on it: the one where the mistake is expected to",
        "show is tried first.",
        "The method without the mistake passes the same test. Written by `nox -s mutants`; not edited.", "",
        f"**{killed} of {len(deaths)} killed.**", "",
        "## Score by item of the list of known bugs", "", "| item | what it is | killed | of |", "|---|---|---|---|"]
    for item, what in (*ITEMS.items(), ("", "none of them")):
        ours = [mutant for mutant in MUTANTS if mutant.item == item]
        dead = sum(deaths[one.name] is not None for one in ours)
        lines.append(f"| {item or '–'} | {what} | {dead} | {len(ours)} |")
    lines += ["", "## Every mutant", "",
              "| mutant | item | framework | architecture | the mistake | killed by | it says |",
              "|---|---|---|---|---|---|---|"]
    return "\n".join([*lines, *(row(mutant, deaths[mutant.name]) for mutant in MUTANTS), ""])


def row(mutant: Mutant, death: Death | None) -> str:
    cells = [*described(mutant), *killed_by(death)]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def described(mutant: Mutant) -> list[str]:
    return [f"`{mutant.name}`", mutant.item or "–", mutant.framework, mutant.architecture, mutant.what]


def killed_by(death: Death | None) -> list[str]:
    if death is None:
        return ["**survived**", ""]
    where = "the summary" if death.test is None else f"{death.test.name} ({death.test.where})".removesuffix(" ()")
    message = death.message if len(death.message) <= _LONGEST else death.message[:_LONGEST - 1] + "…"
    return [where, message]
