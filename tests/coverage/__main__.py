"""Write `docs/coverage.md`; exit with 1 where a kernel is wrong: ``python -m tests.coverage``."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

from tests.coverage import jax as of_jax
from tests.coverage import torch as of_torch
from tests.coverage.table import page

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"


def main() -> int:
    rows = [*of_torch.rows(), *of_jax.rows()]
    PAGE.write_text(page(rows, {"torch": version("torch").partition("+")[0], "JAX": version("jax")}))
    wrong = [row for row in rows if row.wrong]
    for row in wrong:
        print(f"wrong: {row}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
