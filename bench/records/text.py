"""Text from outside, such as a method's message, made fit to be stored, printed and shown."""

from __future__ import annotations

MOST = 4000
"""Characters of one text that are kept."""


def storable(text: str, most: int = MOST) -> str:
    """`text`, cut in the middle to `most` characters, printable. What it returns, it returns unchanged."""
    shown = printable(text if len(text) <= 2 * most else f"{text[:most]}{text[-most:]}")
    if len(shown) <= most and len(text) <= 2 * most:
        return shown
    gap = f" … ({len(text)} characters) … "
    half = (most - len(gap)) // 2
    return shown[:half] + gap + shown[-half:]


def printable(text: str) -> str:
    """`text` with what neither UTF-8 nor a terminal takes, lone surrogates and control characters, as escapes."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
