"""`python -m tests.mutants`: hold every mutant against the gate, print the kill table and write docs/mutants.md.

Exit code 1 where one survives.
"""

from __future__ import annotations

import sys
import warnings

from tests.shapes import check_shapes

check_shapes()  # as the tests do

from tests.gate.compilation import set_xla_flags  # noqa: E402

set_xla_flags()

from tests.mutants.hold import death  # noqa: E402
from tests.mutants.registry import MUTANTS  # noqa: E402
from tests.mutants.table import PATH, page, row  # noqa: E402


def main() -> int:
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    deaths = {}
    for mutant in MUTANTS:
        deaths[mutant.name] = death(mutant)
        print(row(mutant, deaths[mutant.name]), flush=True)
    PATH.write_text(page(deaths))
    survivors = [name for name, died in deaths.items() if died is None]
    print(f"{len(MUTANTS) - len(survivors)} of {len(MUTANTS)} killed; {PATH.name} written")
    for name in survivors:
        print(f"survived: {name}")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
