"""Names for groups: what differs between them is said each time, what is common to all only once."""

from __future__ import annotations

from collections.abc import Sequence

from bench import units
from bench.report.summary import Group

_HEADINGS = ("network", "data", "N", "O", "width", "quantity", "kernel", "dtype", "device", "threads",
             "duet", "machine")


def axes(group: Group) -> dict[str, str]:
    """Heading to text, for everything that tells groups apart; "N" is N1, or N1 × N2 where x2 ≠ x1."""
    info = group.info
    batch = str(info.n1) if info.n2 is None else f"{info.n1} × {info.n2}"
    values = (info.network, info.data, batch, _size(info.n_outputs), _size(info.width), group.quantity, group.outputs,
              group.dtype, group.device, str(group.threads), group.duet, group.environment[:8])
    return dict(zip(_HEADINGS, values, strict=True))


class Labels:
    """The names of these groups. `columns` are the headings that differ between them."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self._axes = {group: axes(group) for group in groups}
        texts = {heading: {text[heading] for text in self._axes.values()} for heading in _HEADINGS}
        self.columns = [heading for heading in _HEADINGS if len(texts[heading]) > 1]
        self._constant = {heading: next(iter(texts[heading])) for heading in _HEADINGS if len(texts[heading]) == 1}
        if len({tuple(self.row(group)) for group in groups}) < len(set(groups)):
            self.columns.insert(0, "case")

    def row(self, group: Group) -> list[str]:
        """One text for each of `columns`."""
        texts = {"case": group.info.case, **self._axes[group]}
        return [texts[heading] for heading in self.columns]

    def name(self, group: Group) -> str:
        """A short name, "MLP · N 32 · O 10 · width 256"."""
        return " · ".join(_words(heading, text) for heading, text in zip(self.columns, self.row(group), strict=True)
                          if text != units.NONE) or group.info.case or group.info.network

    @property
    def common(self) -> str:
        """What all groups share, "digits, float32, full kernel, cpu, 1 thread"; empty where there are no groups."""
        shared = [_words(heading, text) for heading, text in self._constant.items()
                  if heading != "machine" and (heading, text) != ("quantity", "ntk") and text not in ("", units.NONE)]
        if all(group.info.n2 is None for group in self._axes):
            shared.append("x2 = x1")
        return ", ".join(shared) if self._axes else ""


def _words(heading: str, text: str) -> str:
    if heading in ("N", "O", "width", "machine"):
        return f"{heading} {text}"
    if heading == "duet":
        return f"{text} at the same moment" if text else units.NONE
    if heading == "kernel":
        return f"{text} kernel"
    if heading == "threads":
        return f"{text} thread{'' if text == '1' else 's'}"
    return text


def _size(value: int | None) -> str:
    return units.NONE if value is None else str(value)
