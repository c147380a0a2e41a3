"""The runtime check of array shapes is at work, where shapes are named and nowhere else."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from reference import Expected
from tests.shapes import modules_with_shapes


def test_shapes_that_disagree_are_refused() -> None:
    blocks = np.zeros((2, 3, 3))
    Expected(np.zeros((2, 2, 3, 3)), blocks, blocks, "zeros")
    with pytest.raises(TypeCheckError, match="block1"):
        Expected(np.zeros((2, 2, 3, 3)), np.zeros((2, 3, 4)), blocks, "zeros")


def test_only_modules_that_name_shapes_are_hooked() -> None:
    """The hook makes every function of a module dear to call."""
    named, other = (type(sys.modules[name].__loader__) for name in ("reference.expected", "reference.arithmetic"))
    assert named is not other
    assert {"reference.expected", "impls.frameworks.torch.support"} <= set(modules_with_shapes())
