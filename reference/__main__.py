"""`python -m reference regenerate [--check]`: prove the stored kernels anew, or compare them with what is stored."""

from __future__ import annotations

import argparse
import sys

from reference.regenerate import differences, regenerate


def main(arguments: list[str] | None = None) -> int:
    """0 where all went well, 1 where `--check` found a difference (each is printed)."""
    parser = argparse.ArgumentParser(prog="python -m reference")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("regenerate", help="prove all kernels anew")
    command.add_argument("--check", action="store_true", help="write nothing; compare with what is stored, bit by bit")
    if not parser.parse_args(arguments).check:
        regenerate()
        return 0
    found = differences()
    for line in found:
        print(line, file=sys.stderr)
    print(f"{len(found)} differences" if found else "the stored kernels are the proved ones, bit by bit")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
