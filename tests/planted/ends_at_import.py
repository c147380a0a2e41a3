"""A right method, in a file that ends the process that imports it."""

import os

from tests.planted.correct import CORRECT as AT_IMPORT  # noqa: F401

os._exit(0)
