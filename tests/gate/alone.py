"""`python -m tests.gate.alone ASKED KERNEL`: one kernel in a process without pytest.

ASKED holds a pickled (method, case, request), the method as ``--impl`` takes it; the kernel is written to KERNEL.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np

from impls import load, load_object
from impls.frameworks.arrays import to_numpy


def main(asked: str, kernel: str) -> None:
    spec, case, request = pickle.loads(Path(asked).read_bytes())
    method = load_object(spec) if ":" in spec or spec.endswith(".py") else load(spec)
    np.save(kernel, to_numpy(method.prepare(case, request)()))


if __name__ == "__main__":
    main(*sys.argv[1:])
