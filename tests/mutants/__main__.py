"""`python -m tests.mutants [NAME …]`: hold mutants against the gate, print the kill table and write docs/mutants.md.

All of them, or those whose names fit a pattern; the rows of the others stay, so that it can be done in parts. Exit code
1 where one survives.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
import warnings

from tests.shapes import check_shapes

check_shapes()  # as the tests do

from tests.gate.compilation import set_xla_flags  # noqa: E402

set_xla_flags()

from tests.mutants.hold import death  # noqa: E402
from tests.mutants.registry import MUTANTS  # noqa: E402
from tests.mutants.table import PATH, is_killed, page, row, rows_before  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["*"], help="patterns of names; all, unless given")
    patterns = parser.parse_args().names
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    rows = rows_before(PATH)
    for mutant in MUTANTS:
        if any(fnmatch.fnmatch(mutant.name, pattern) for pattern in patterns):
            rows[mutant.name] = row(mutant, death(mutant))
            print(rows[mutant.name], flush=True)
            PATH.write_text(page(rows))
    left = [mutant.name for mutant in MUTANTS if not is_killed(rows.get(mutant.name))]
    print(f"{len(MUTANTS) - len(left)} of {len(MUTANTS)} killed; {PATH.name} written")
    for name in left:
        print(f"{'survived' if name in rows else 'never held'}: {name}")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
