"""Spectra of parts of a kernel: by parameter, and by class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float64

from reference import InputError
from studies.matrix import as_array, as_matrix
from studies.spectrum import Spectrum, spectrum


def by_parameter(components: Mapping[str, Any]) -> dict[str, Spectrum]:
    """The spectrum of each parameter's kernel, from ``impls.ntk(…, components=True)``; the kernels sum to the whole."""
    return {name: spectrum(kernel) for name, kernel in components.items()}


def trace_shares(components: Mapping[str, Any]) -> dict[str, float]:
    """Each parameter's share of the trace: of the squared size of all gradients. They sum to 1."""
    traces = {name: float(np.trace(as_matrix(kernel, name))) for name, kernel in components.items()}
    whole = sum(traces.values())
    if not traces:
        raise InputError("there are no components; give those of impls.ntk(…, components=True)")
    if whole == 0:
        raise InputError("all components are zero: the outputs do not depend on the parameters")
    return {name: trace / whole for name, trace in traces.items()}


def by_class(kernel: Any, labels: Any) -> dict[Any, Spectrum]:
    """The spectrum of the kernel among the examples of each class; `labels` is (N,)."""
    array = as_array(kernel, "kernel")
    classes, members = _classes(array, labels)
    return {label: spectrum(array[np.ix_(rows, rows)]) for label, rows in zip(classes, members, strict=True)}


def class_means(kernel: Any, labels: Any) -> Float64[np.ndarray, "C C"]:
    """The mean kernel between the examples of class c and those of class d, (C, C), classes in sorted order.

    Of a kernel (N, N, O, O) that of the trace over outputs. The pairs of an example with itself count.
    """
    array = as_array(kernel, "kernel").astype(np.float64)
    _, members = _classes(array, labels)
    traced = np.trace(array, axis1=2, axis2=3) if array.ndim == 4 else array
    return np.array([[traced[np.ix_(rows, columns)].mean() for columns in members] for rows in members])


def _classes(kernel: np.ndarray, labels: Any) -> tuple[list[Any], list[np.ndarray]]:
    given = np.asarray(labels)
    as_matrix(kernel)
    if given.shape != (len(kernel),):
        raise InputError(f"labels must be ({len(kernel)},), one for each example of the kernel, got {given.shape}")
    if given.dtype.kind == "f" and np.isnan(given).any():
        raise InputError(f"labels has {np.count_nonzero(np.isnan(given))} that are NaN; leave these examples out")
    classes = np.unique(given)
    return classes.tolist(), [np.flatnonzero(given == label) for label in classes]
