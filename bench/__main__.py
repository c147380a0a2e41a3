"""``python -m bench``: see `bench.cli`."""

import io
import sys

from bench.cli import main

if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):  # a terminal without "≈" or "☃" gets "?", and the run goes on
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    sys.exit(main())
