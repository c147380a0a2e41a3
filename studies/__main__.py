"""``python -m studies``: see `studies.cli`."""

import importlib.util
import sys

if importlib.util.find_spec("tyro") is None:
    sys.exit("python -m studies needs what the extra 'studies' installs, as in: "
             'pip install -c constraints.txt ".[torch,studies]"')

from studies.cli import main

if __name__ == "__main__":
    sys.exit(main())
