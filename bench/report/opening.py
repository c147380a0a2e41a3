"""The first screen: which method for which network, how sure that is, and what was wrong, in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from bench import units
from bench.records.noise import Weather
from bench.report import markup
from bench.report.labels import Labels
from bench.report.markup import Markup, element
from bench.report.summary import BAD, WORST_FIRST, Entry, Line, Ranking, Total, totals

NAMED = 3
"""Methods that are named for each network, those first that are the quickest most often."""
_LEFT_OUT = ("unsupported", "not_installed")
_NOTHING = "Nothing: no kernel was wrong or not finite, and no method crashed."


def opening(rankings: Sequence[Ranking], labels: Labels, met: Weather, note: str = "") -> Markup:
    """Three questions with their answers, and what is common to all cells; before them `note`, where there is one."""
    if not rankings:
        return element("p", "Nothing has been measured yet: the store holds no records.", class_="lead")
    lines = totals(rankings)
    answers = (("Which method for which network?", _which(rankings)), ("How sure is that?", _how_sure(rankings, met)),
               ("What was wrong?", _wrong(lines)))
    cards = (element("div", element("h2", question), answer, class_="card") for question, answer in answers)
    common = element("p", f"Common to all cells: {labels.common}.", class_="soft") if labels.common else ""
    first = element("p", note, class_="note") if note else ""
    return markup.join([first, element("div", *cards, class_="opening"), common])


def _which(rankings: Sequence[Ranking]) -> Markup:
    networks: dict[str, list[Ranking]] = defaultdict(list)
    for ranking in rankings:
        networks[ranking.group.info.network].append(ranking)
    items = [_of_network(network, some) for network, some in networks.items()]
    if not any(ranking.fastest for ranking in rankings):
        return element("p", "No exact method gave a correct kernel in any cell, so there is no fastest one.")
    return markup.join([element("p", "The fastest correct method:"), element("ul", *items),
                        element("p", "For your own sizes, choose them under “My network”.", class_="soft")])


def _of_network(network: str, rankings: Sequence[Ranking]) -> Markup:
    contested = [ranking for ranking in rankings if ranking.fastest is not None]
    won: dict[Line, list[Ranking]] = defaultdict(list)
    for ranking in contested:
        won[ranking.ranked[0].line].append(ranking)
    order = sorted(won, key=lambda line: -len(won[line]))
    said = [_won(line, won[line]) for line in order[:NAMED]]
    rest = sum(len(won[line]) for line in order[NAMED:])
    said += [f"others in {rest}"] if rest else [] if said else ["no correct kernel of an exact method"]
    return element("li", element("strong", network), f", {_cells(len(contested))}: ", markup.join(said, "; "), ".")


def _won(line: Line, rankings: Sequence[Ranking]) -> str:
    """In how many cells it is the quickest, and in how many of them that is certain."""
    n, alone = len(rankings), sum(len(ranking.leaders) == 1 for ranking in rankings)
    if alone == n:
        return f"{line.label} is certainly the quickest in {n}"
    others = max(len(ranking.leaders) - 1 for ranking in rankings)
    how_many = f"{'up to ' if n - alone > 1 else ''}{others} other{'' if others == 1 else 's'}"
    certainly = f"certainly in {alone}" if alone else "in none of them certainly"
    return f"{line.label} is the quickest in {n}, {certainly}: {how_many} cannot be told apart from it"


def _how_sure(rankings: Sequence[Ranking], met: Weather) -> Markup:
    contested = [ranking for ranking in rankings if ranking.fastest is not None]
    points = [_told_apart(contested), *_checked(entry for ranking in contested for entry in ranking.ranked), str(met)]
    return markup.join(element("p", point, class_="busy" if met.busy and point == str(met) else None)
                       for point in points if point)


def _told_apart(contested: Sequence[Ranking]) -> str:
    if not contested:
        return ""
    alone = sum(len(ranking.leaders) == 1 for ranking in contested)
    counts = sorted({entry.n_replicates for ranking in contested for entry in ranking.ranked})
    processes = f"{counts[0]} process{'' if counts == [1] else 'es'}" if len(counts) == 1 else (
        f"{counts[0]} to {counts[-1]} processes")
    of = f"In {alone} of {_cells(len(contested))} one method is certainly the fastest, from {processes} of each"
    return f"{of}." if alone == len(contested) else (
        f"{of}; in the others methods that cannot be told apart share the place, and more processes (--replicates) "
        "tell more apart.")


def _checked(ranked: Iterable[Entry]) -> list[str]:
    errors = [(entry.error, entry.tolerance) for entry in ranked if entry.error is not None]
    if not errors:
        return []
    largest = max(error for error, _ in errors)
    allowed = max((tolerance for _, tolerance in errors if tolerance is not None), default=None)
    return [f"Every ranked time is that of a kernel which was found right: errors up to {units.error(largest)}"
            + (f", and {units.error(allowed)} is allowed." if allowed else ".")]


def _wrong(lines: Sequence[Total]) -> Markup:
    bad = [line for line in lines if any(line.statuses.get(status) for status in BAD)]
    parts = [_warning(line) for line in bad] or [element("p", _NOTHING)]
    for statuses, what in ((_between(), "gave no answer"), (_LEFT_OUT, "left out")):
        if counts := _counts(lines, statuses):
            parts.append(element("p", f"{counts[0].upper()}{counts[1:]}: {what}, ",
                                 element("a", "for these reasons", href="#reasons"), ".", class_="soft"))
    return markup.join(parts)


def _warning(line: Total) -> Markup:
    counts = ", ".join(f"{status} in {line.statuses[status]}" for status in BAD if line.statuses.get(status))
    return element("div", element("p", element("strong", line.line.label), f": {counts} of "
                                  f"{_cells(sum(line.statuses.values()))}; see ",
                                  element("a", "the reasons", href="#reasons"), "."), class_="note")


def _between() -> tuple[str, ...]:
    """What is neither a method's fault for certain, nor left out beforehand."""
    return tuple(status for status in WORST_FIRST if status not in (*BAD, *_LEFT_OUT, "ok"))


def _counts(lines: Sequence[Total], statuses: Iterable[str]) -> str:
    found = [(status, sum(line.statuses.get(status, 0) for line in lines)) for status in statuses]  # type: ignore[call-overload]
    return ", ".join(f"{status.replace('_', ' ')} in {n}" for status, n in found if n)


def _cells(n: int) -> str:
    return f"{n} cell{'' if n == 1 else 's'}"
