"""The runtime check of array shapes is at work, where shapes are named and nowhere else."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from reference import Expected
from tests import ROOT
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


def test_they_define_no_function_inside_another() -> None:
    """Which the hook would compile anew each time."""
    inside = [f"{name}: {inner.name}" for name in modules_with_shapes()
              for outer in ast.walk(ast.parse(Path(ROOT, *name.split(".")).with_suffix(".py").read_text()))
              if isinstance(outer, ast.FunctionDef)
              for inner in ast.walk(outer) if isinstance(inner, ast.FunctionDef) and inner is not outer]
    assert inside == []
