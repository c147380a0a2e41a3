"""A twin is its method under another name, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

import impls
import reference
from bench.cells import twins
from impls import RegistryError
from impls.frameworks.arrays import to_numpy
from reference import Request

FILE = twins.__file__


def test_a_twin_computes_what_its_method_computes():
    pytest.importorskip("torch")
    method, twin = impls.load("explicit_mlp"), impls.load_object(f"{FILE}:explicit_mlp")
    assert (twin.name, twin.framework, twin.kind) == ("explicit_mlp.twin", method.framework, method.kind)
    case = next(case for case in reference.cases() if impls.unsupported(method, case, Request()) is None)
    assert np.array_equal(to_numpy(twin.prepare(case, Request())()), to_numpy(method.prepare(case, Request())()))
    other = next(case for case in reference.cases() if impls.unsupported(method, case, Request()) is not None)
    assert impls.unsupported(twin, other, Request()) == impls.unsupported(method, other, Request())


def test_nobody_has_no_twin():
    with pytest.raises(RegistryError, match="nobody"):
        impls.load_object(f"{FILE}:nobody")
