"""``python -m bench``: see `bench.commands.cli`."""

import importlib.util
import io
import sys

if importlib.util.find_spec("tyro") is None:
    sys.exit("python -m bench needs what the extra 'bench' installs, as in: "
             'pip install -c constraints.txt ".[torch,bench]"')

from bench.commands.cli import main

if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):  # a terminal without "≈" or "☃" gets "?", and the run goes on
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    sys.exit(main())
