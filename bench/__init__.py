"""How fast and how big: cells, processes, statistics, store, report, and the command line ``python -m bench``."""
