"""Committed pages with tables that scripts make: what stands between two marks is theirs, all else is by hand."""

from __future__ import annotations

import re


def marked(page: str, name: str, table: str) -> str:
    """The page with that between its marks."""
    pattern = rf"(<!-- {name}: begin -->\n).*?(<!-- {name}: end -->)"
    found, times = re.subn(pattern, lambda match: f"{match[1]}{table}\n{match[2]}", page, flags=re.DOTALL)
    if times != 1:
        raise ValueError(f"the page has {times} places for {name}, and needs one")
    return found
