"""What is typed: the command line and the studies of ``method="auto"``."""
