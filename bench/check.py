"""Is the kernel that was timed right? The truth is computed once for a case; each cell is held against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import impls
import reference
from bench.cases import CaseSource, Fixture
from bench.record import CaseInfo, Cell
from bench.user_model import users_code
from bench.worker import Send
from impls.arrays import to_numpy
from impls.own.user_network import UserNetwork
from impls.runtime import count_params
from reference import MLP, Case, Comparison, ConvNet, Expected, Request
from reference.statistics import compare_stochastic

N_CHECKED = 3
"""Examples of x1, and of x2, on which a kernel without a proof is compared: first, last and in between."""

# Whose float64 kernel stands for the truth of a model that only its own framework understands.
WITNESSES = {"torch": "torch_autograd.per_example", "equinox": "equinox.exact", "jax": "equinox.exact"}


@dataclass(frozen=True, eq=False)
class Truth:
    """What every kernel of a case is held against: `expected` on some examples, or on all where these are None."""

    info: CaseInfo
    expected: Expected
    examples1: tuple[int, ...] | None = None
    examples2: tuple[int, ...] | None = None

    def shape(self, outputs: str) -> tuple[int, ...]:
        """Of the whole kernel."""
        n1, n2 = self.info.n1, self.info.n1 if self.info.n2 is None else self.info.n2
        n_outputs = self.expected.full.shape[-1]
        return {"full": (n1, n2, n_outputs, n_outputs), "diagonal": (n1, n2, n_outputs), "trace": (n1, n2)}[outputs]


def find_truth(send: Send, source: CaseSource) -> Truth:
    """Build the case and compute what its kernels are held against. Raises `InputError` where the case cannot run."""
    case = source.build()
    with users_code(case):
        info = _info(source, case)
    send("truth", {"info": info})
    if isinstance(source, Fixture) and reference.has_proof(case):
        return Truth(info, reference.expected(case))
    examples1 = _spread(len(case.x1))
    examples2 = examples1 if case.x2 is None else _spread(len(case.x2))
    compute = _own_framework if isinstance(case.network, UserNetwork) else reference.float64_expected
    with users_code(case):
        expected = compute(case, examples1, examples2)
    return Truth(replace(info, n_outputs=expected.full.shape[-1]), expected, examples1, examples2)


def build(send: Send, source: CaseSource) -> None:
    """Raise what building the case raises: `InputError` where a user's model cannot be had."""
    source.build()


def check(kernel: np.ndarray, truth: Truth, cell: Cell, kind: str, n_checks: int) -> dict[str, Any]:
    """The fields of a `Record` that say whether `kernel` is right; `n_checks` counts a run's stochastic cells."""
    how: dict[str, Any] = {
        "outputs": cell.outputs, "dtype": cell.dtype, "symmetric": truth.info.n2 is None,
        "examples1": truth.examples1, "examples2": truth.examples2, "shape": truth.shape(cell.outputs),
    }
    against = truth.expected.source
    if kind == "exact":
        return _verdict(reference.compare(kernel, truth.expected, **how), against)
    if kind == "limit":
        return _check_limit(kernel, truth, how)
    drawn = compare_stochastic(kernel, truth.expected, proj_dim=cell.options["proj_dim"], n_checks=n_checks, **how)
    if drawn.error is not None:
        against += f"; {drawn.error:.1f} standard errors off at most, {drawn.tolerance:.1f} allowed"
    return _verdict(replace(drawn, error=_distance(kernel, truth, cell.outputs)), against) | {"tolerance": None}


def _verdict(comparison: Comparison, against: str) -> dict[str, Any]:
    return {"status": comparison.status, "reason": comparison.reason, "error": comparison.error,
            "tolerance": comparison.tolerance, "checked_against": against}


def _check_limit(kernel: np.ndarray, truth: Truth, how: dict[str, Any]) -> dict[str, Any]:
    """Another object than the finite kernel: its form and structure are checked, and how far it is from that kernel."""
    outputs, dtype = how["outputs"], how["dtype"]
    against = (f"its own form and structure; the limit is another kernel, and error is its distance to the finite one: "
               f"{truth.expected.source}")
    malformed = reference.check_form(kernel, truth.expected, outputs=outputs, dtype=dtype, shape=how["shape"])
    if malformed is not None:
        return _verdict(malformed, against) | {"tolerance": None}
    fault = reference.structural_fault(kernel.astype(np.float64), outputs, dtype) if how["symmetric"] else ""
    return {"status": "wrong" if fault else "ok", "reason": fault, "error": _distance(kernel, truth, outputs),
            "checked_against": against}


def _distance(kernel: np.ndarray, truth: Truth, outputs: Any) -> float | None:
    if kernel.shape != truth.shape(outputs) or not np.isfinite(kernel).all():
        return None
    part = kernel
    if truth.examples1 is not None and truth.examples2 is not None:
        part = kernel[np.ix_(truth.examples1, truth.examples2)]
    deviation = part.astype(np.float64) - truth.expected.outputs(outputs)
    return float(reference.normalised(deviation, truth.expected.scale(outputs)).max())


def _own_framework(case: Case, examples1: Sequence[int], examples2: Sequence[int]) -> Expected:
    """A user's model in float64, by the plainest method of its framework, on these examples."""
    assert isinstance(case.network, UserNetwork)
    x2 = case.x1 if case.x2 is None else case.x2
    first, second = case.x1[list(examples1)], x2[list(examples2)]
    witness = WITNESSES[case.network.framework]

    def kernel(x1: np.ndarray, x2: np.ndarray | None) -> np.ndarray:
        part = replace(case, x1=x1, x2=x2)
        return to_numpy(impls.load(witness).prepare(part, Request(dtype="float64"))())

    def blocks(x: np.ndarray) -> np.ndarray:
        return np.einsum("nnab->nab", kernel(x, None))

    source = f"{witness} in float64 on examples {tuple(examples1)} of x1 and {tuple(examples2)} of x2"
    return Expected(kernel(first, second), blocks(first), blocks(second), source)


def _spread(n: int) -> tuple[int, ...]:
    return tuple(sorted({round(position) for position in np.linspace(0, n - 1, min(n, N_CHECKED))}))


def _info(source: CaseSource, case: Case) -> CaseInfo:
    return CaseInfo(case=source.name, network=source.network, width=_width(case), n1=len(case.x1),
                    n2=None if case.x2 is None else len(case.x2), n_outputs=case.network.n_outputs,
                    n_params=count_params(case), data=source.data, digest=source.digest)


def _width(case: Case) -> int | None:
    """Of the first hidden layer, or the channels of the first convolution."""
    if isinstance(case.network, ConvNet):
        return case.network.convs[0].channels
    return case.network.widths[1] if isinstance(case.network, MLP) and case.network.n_layers > 1 else None
