"""Writes docs/rules.md; ends with what the rows leave out."""

from __future__ import annotations

import sys

from tests.rules.table import PAGE, faults, page

if found := faults():
    sys.exit("\n".join(found))
PAGE.write_text(page(), "utf-8")
