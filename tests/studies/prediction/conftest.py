"""Without what the extra "studies" brings there is nothing to test here."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("scipy") else ["test_*.py"]
