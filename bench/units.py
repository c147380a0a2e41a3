"""Numbers as people read them: three significant digits, and the unit that fits."""

from __future__ import annotations

import math

NONE = "–"
"""Where nothing was measured."""

_TIME_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_BYTE_UNITS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B"))


def significant(value: float) -> str:
    """Three significant digits without an exponent; whole numbers from 100 on."""
    if value == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{decimals}f}"
    # 9.996 rounds up to 10.00, which has a digit too many.
    return f"{value:.{decimals - 1}f}" if decimals and len(text.strip("-").replace(".", "").lstrip("0")) > 3 else text


def seconds(value: float | None) -> str:
    """`value` in seconds as "12.3 µs", "1.23 ms", "4.56 s"."""
    if value is None:
        return NONE
    size, unit = next((pair for pair in _TIME_UNITS if abs(value) >= 0.9995 * pair[0]), _TIME_UNITS[-1])
    return f"{significant(value / size)} {unit}"


def memory(value: float | None) -> str:
    """`value` in bytes as "512 B", "12.3 MiB", "1.23 GiB"."""
    if value is None:
        return NONE
    size, unit = next((pair for pair in _BYTE_UNITS if abs(value) >= pair[0]), _BYTE_UNITS[-1])
    return f"{significant(value / size)} {unit}"


def times(value: float | None) -> str:
    """A ratio as "1.00×", "12.3×", "1234×"."""
    return NONE if value is None else f"{significant(value)}×"


def error(value: float | None) -> str:
    """A relative error as "1.2e-07"; an exact agreement as "0"."""
    if value is None:
        return NONE
    return "0" if value == 0 else f"{value:.1e}"


def percent(value: float | None) -> str:
    """A fraction as "±4%"."""
    return "" if value is None else f"±{100 * value:.0f}%"


def count(value: int | None) -> str:
    """A whole number with thin spaces between the thousands."""
    return NONE if value is None else f"{value:,}".replace(",", "\u2009")


def tick(text: str) -> str:
    """A figure's tick: "10 ms", where a table says "10.0 ms"."""
    number, _, unit = text.partition(" ")
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number} {unit}".strip()


def time_ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Powers of ten that cover [low, high], in seconds; not every one where that would be more than `most`."""
    return _powers(10.0, math.log10(low), math.log10(high), most)


def memory_ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Powers of two that cover [low, high], in bytes, `most` at the most."""
    return _powers(2.0, math.log2(low), math.log2(high), most)


def _powers(base: float, low: float, high: float, most: int) -> list[float]:
    first, last = math.floor(low), max(math.ceil(high), math.floor(low) + 1)
    step = max(1, math.ceil((last - first) / (most - 1)))
    return [base**power for power in range(first, last + step, step)]
