"""How it is measured: processes from a fork server, memory, threads, and the run over all cells."""
