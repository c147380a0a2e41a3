"""What the gate asks of methods of other kernels than the NTK, and what they are held against.

Four forms of a request, with every kind of outputs, dtype, and x2 = x1 or not, are asked for on one case, the other
cases in one form each: how a method treats these does not depend on the layers. Averages over initialisations are held
against what is proved of one hidden layer, and of two networks without a proof against the tape's own draws; of all
such comparisons a run fails a right method with a probability of `FALSE_ALARM_LEVEL`, beside that of random
projections.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from impls import Method
from impls.protocol import Framework
from reference import Case, Comparison, Quantity, Request, case, cases, compare, conjugate, infinite_width, seed_of
from reference.case import Device, DType, Outputs
from reference.initialisations import Initialised, compare_average, initialised
from tests.gate.checks import LAYERED_FORMS, Form
from tests.gate.limit import limit_tolerance
from tests.gate.selection import Selection

N_SAMPLES: Mapping[Framework, int] = {"jax": 16384, "torch": 2048, "numpy": 2048}
"""Initialisations asked of a method, as many as take a second or two: of mlp_relu 2,048 find it when all variances are
a quarter too large, 16,384 when they are a tenth."""
N_DRAWS = 2048
"""Of the tape, where nothing is proved; where it is, a quarter of it tells the spread of one draw."""
FEW = 16

AVERAGED = ("mlp_relu", "mlp_erf_ntk_no_bias", "mlp_sin_no_bias", "conv_ntk", "weight_norm", "mlp_tanh_ntk")
"""Cases of stochastic methods: one hidden layer, a single example, a convolution, and two that are not proved."""

LIMITS = (*AVERAGED[:4], "mlp_relu_deep", "mlp_gelu", "mlp_one_output", "conv_pool_dense")

LAYERS: Mapping[str, tuple[str, ...]] = {
    "mlp_relu_deep": ("dense2:input", "dense1", "dense0:input"),
    "conv_pool_dense": ("conv0", "dense0:input", "conv0:input"),
    "tied_dense": ("middle#2", "middle:input"), "fourier_siren": ("second:input", "fourier"),
}
"""Features that are asked for by name, beside the last hidden ones of every case."""


@dataclass(frozen=True)
class QuantityCheck:
    """One kernel that a method has to get right."""

    method: str
    quantity: Quantity
    case: Case
    form: Form
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dtype(self) -> DType:
        return self.form[1]

    @property
    def outputs(self) -> Outputs:
        return self.form[2]

    @property
    def id(self) -> str:
        own = "".join(f"-{value}" for value in self.options.values() if isinstance(value, str))
        symmetric = "-symmetric" if self.case.symmetric else ""
        return f"{self.method}-{self.quantity}-{self.case.name}-{self.dtype}-{self.outputs}{symmetric}{own}"

    def request(self, device: Device) -> Request:
        return Request(self.outputs, self.dtype, device, seed=seed_of(self.id), options=self.options,
                       quantity=self.quantity)


def quantity_checks(selection: Selection) -> list[QuantityCheck]:
    """All that are due of the methods of other kernels."""
    return [check for quantity, found in selection.others.items() for method in found.values()
            for check in checks_of(method, quantity)]


def checks_of(method: Method, quantity: Quantity) -> list[QuantityCheck]:
    """By what is asked for: features of layers, draws, or neither."""
    if quantity == "conjugate":
        last = [(each.name, {}) for each in cases()]
        named = [(name, {"layer": layer}) for name, layers in LAYERS.items() for layer in layers]
        return _in_forms(method, quantity, [*last, *named], all_of="mlp_relu")
    if method.kind == "stochastic":
        options = {"n_samples": N_SAMPLES[method.framework]}
        return _in_forms(method, quantity, [(name, options) for name in AVERAGED], all_of="mlp_relu")
    return _in_forms(method, quantity, [(name, {}) for name in LIMITS], all_of="mlp_relu")


def _in_forms(method: Method, quantity: Quantity, asked: list[tuple[str, dict[str, Any]]],
              all_of: str) -> list[QuantityCheck]:
    found: list[QuantityCheck] = []
    for i, (name, options) in enumerate(asked):
        for form in LAYERED_FORMS if name == all_of else (LAYERED_FORMS[i % len(LAYERED_FORMS)],):
            of = case(name).with_symmetry() if form[0] else case(name)
            found.append(QuantityCheck(method.name, quantity, of, form, options))
    return found


def judge(kernel: Any, check: QuantityCheck, method: Method, n_checks: int = 1) -> Comparison:
    """The comparison that is due; `n_checks` averages share the false alarms of a run."""
    how: dict[str, Any] = {"outputs": check.outputs, "dtype": check.dtype, "symmetric": check.case.symmetric}
    if check.quantity == "conjugate":
        return compare(kernel, conjugate(check.case, check.options.get("layer")), **how)
    if method.kind == "stochastic":
        return compare_average(kernel, truth_of_average(check.case.name, check.case.symmetric), **how,
                               n_samples=check.options["n_samples"], n_checks=n_checks)
    return compare(kernel, infinite_width(check.case, "nngp"), **how, kind=limit_tolerance(check.case))


@cache
def truth_of_average(name: str, symmetric: bool) -> Initialised:
    of = case(name).with_symmetry() if symmetric else case(name)
    truth = initialised(of, N_DRAWS // 4, seed_of(name))
    return truth if np.isinf(truth.n_draws) else initialised(of, N_DRAWS, seed_of(name))
