"""Scripts to be read from top to bottom: ``python examples/NAME.py``. Each prints what it shows and saves a figure."""
