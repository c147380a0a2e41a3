"""The gate, and the tests of everything else; folders mirror the code."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
"""Of the repository."""
