"""What every kernel of a case is held against, and how far it may be from that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

import reference
from bench.cells.cases import CaseSource, Fixture
from bench.cells.user_model import users_code
from bench.records.record import CaseInfo, Send
from bench.truth.conditioning import Conditioning, conditioning
from bench.truth.probe import Probe, probe
from bench.truth.projections import Projection, draw, pull
from bench.truth.witnesses import Finding, consistent, forward_kernel, hear, rows_of
from impls.given.user_network import UserNetwork
from impls.networks.size import count_params
from reference import MLP, Case, ConvNet, Expected
from reference.case import DType, Outputs
from reference.initialisations import Initialised
from reference.tolerances import tolerance

N_SPREAD, N_RANDOM = 3, 2
"""Examples of x1, and of x2, on which a kernel without a proof is compared: first, last and between; and by chance."""
MOST_NUMBERS = 1 << 27
"""Of the Jacobians of these; beyond, the ones by chance are left out."""

PARTLY_FLOAT32 = "the network computes partly in float32"


@dataclass(frozen=True, eq=False)
class Truth:
    """`expected` on some examples, or on all where these are None, where the kernel is proved."""

    info: CaseInfo
    expected: Expected
    examples1: tuple[int, ...] | None = None
    examples2: tuple[int, ...] | None = None
    conditionings: dict[DType, Conditioning] = field(default_factory=dict)
    projections: dict[Outputs, Projection] = field(default_factory=dict)
    float32_inside: bool = False
    doubt: float = 0.0
    """By how much two witnesses differ, normalised, where nothing says which one is right."""
    undecided: str = ""
    """What each of them says."""
    initialised: Initialised | None = None
    """Of an NNGP: what averages over initialisations are held against; `expected` is the limit of infinite width."""
    is_relu: bool = False
    """Whether that limit has the closed form of ReLU, which loses half the digits."""

    def shape(self, outputs: str) -> tuple[int, ...]:
        """Of the whole kernel."""
        n1, n2 = self.info.n1, self.info.n1 if self.info.n2 is None else self.info.n2
        n_outputs = self.expected.full.shape[-1]
        return {"full": (n1, n2, n_outputs, n_outputs), "diagonal": (n1, n2, n_outputs), "trace": (n1, n2)}[outputs]


def find_truth(send: Send, source: CaseSource, outputs: Sequence[Outputs] = ("full",),
               dtypes: Sequence[DType] = ("float32",), seed: int = 0) -> Truth:
    """Build the case and compute what its kernels are held against. Raises `InputError` where the case cannot run."""
    case = source.build()
    with users_code(case):
        info = info_of(source, case)
    send("truth", {"info": info})
    if isinstance(source, Fixture) and reference.has_proof(case):
        return Truth(info, reference.expected(case))
    with users_code(case):
        return _unproved(case, info, outputs, dtypes, seed)


def _unproved(case: Case, info: CaseInfo, outputs: Sequence[Outputs], dtypes: Sequence[DType], seed: int) -> Truth:
    probed = probe(case)
    own = isinstance(case.network, UserNetwork)
    examples1, examples2 = _examples(case, probed, seed)
    inside = probed.float32_inside()
    float64: list[DType] = ["float64"] if own else []
    wanted: list[DType] = list(dict.fromkeys([*dtypes, *float64]))
    if not own:
        expected, finding, undecided = reference.float64_expected(case, examples1, examples2), Finding("reverse"), ""
        drawn = _projections(probed, expected, outputs, seed)
        found: dict[DType, Conditioning] = {
            dtype: conditioning(probed, dtype, (examples1, examples2), drawn, seed) for dtype in wanted}
    else:
        first, second = _jacobians(probed, examples1, examples2)
        expected = _expected(first, second, case, examples1, examples2)
        drawn = _projections(probed, expected, outputs, seed)
        found = {dtype: conditioning(probed, dtype, (examples1, examples2), drawn, seed) for dtype in wanted}
        expected, finding, undecided = _settled(probed, expected, first, second, examples1, examples2,
                                                found["float64"].tolerance, seed)
        drawn = [each for each in drawn if _stands(probed, each, found["float64"], seed)]
    info = replace(info, n_outputs=expected.full.shape[-1])
    return Truth(info, expected, examples1, examples2, found, {each.outputs: each for each in drawn}, inside,
                 finding.doubt, undecided)


def _examples(case: Case, probed: Probe, seed: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    room = MOST_NUMBERS // max(1, probed.n_params * probed.n_outputs)
    n_random = N_RANDOM if room >= 2 * (N_SPREAD + N_RANDOM) else 0
    rng = np.random.default_rng(seed)
    examples1 = rows_of(len(case.x1), N_SPREAD, n_random, rng)
    return examples1, examples1 if case.x2 is None else rows_of(len(case.x2), N_SPREAD, n_random, rng)


def _jacobians(probed: Probe, examples1: Sequence[int], examples2: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    outputs = range(probed.n_outputs)
    first = probed.jacobian(probed.examples(1, examples1), outputs)
    return first, first if probed.same else probed.jacobian(probed.examples(2, examples2), outputs)


def _expected(first: np.ndarray, second: np.ndarray, case: Case, examples1: Sequence[int],
              examples2: Sequence[int]) -> Expected:
    network = case.network
    assert isinstance(network, UserNetwork)
    source = (f"reverse mode of {network.framework}, one example at a time, in float64 on examples {tuple(examples1)} "
              f"of x1 and {tuple(examples2)} of x2")
    full = np.einsum("nap,mbp->nmab", first, second, optimize=True)
    block1, block2 = (np.einsum("nap,nbp->nab", each, each, optimize=True) for each in (first, second))
    return Expected(full, block1, block2, source)


def _settled(probed: Probe, expected: Expected, first: np.ndarray, second: np.ndarray, examples1: Sequence[int],
             examples2: Sequence[int], allowed: float, seed: int) -> tuple[Expected, Finding, str]:
    """What is to be believed after both witnesses were heard, and what each says where that is not known."""
    x1, x2 = probed.examples(1, examples1), probed.examples(2, examples2)
    findings = [hear(probed, x1, first, allowed, seed)]
    if not probed.same:
        findings.append(hear(probed, x2, second, allowed, seed + 1))
    worst = next((f for f in findings if not f.believed), next((f for f in findings if f.believed == "forward"),
                                                                 findings[0]))
    if worst.believed == "reverse":
        return replace(expected, source=expected.source + worst.note), worst, ""
    try:
        block1, block2 = (np.einsum("nnab->nab", forward_kernel(probed, x, x)) for x in (x1, x2))
        other = Expected(forward_kernel(probed, x1, x2), block1, block2,
                         "forward mode, several examples in a batch, in float64" + worst.note)
    except Exception as error:  # there is no second value to be had
        return expected, worst, f"no second witness ({type(error).__name__}: {error}){worst.note}"
    if worst.believed == "forward":
        return other, worst, ""
    furthest = int(np.argmax(np.abs(expected.full - other.full)))
    where = tuple(int(i) for i in np.unravel_index(furthest, expected.full.shape))
    place = (examples1[where[0]], examples2[where[1]], *where[2:])
    return expected, worst, (f"at {place} reverse mode, one example at a time, gives {expected.full[where]:.9g}, and "
                             f"forward mode, several in a batch, {other.full[where]:.9g}{worst.note}")


def _projections(probed: Probe, expected: Expected, outputs: Sequence[Outputs], seed: int) -> list[Projection]:
    scales = tuple(np.sqrt(np.einsum("naa->a", block) / len(block)) for block in (expected.block1, expected.block2))
    drawn = (draw(probed, each, (scales[0], scales[1]), seed) for each in dict.fromkeys(outputs))
    return [each for each in drawn if each is not None and np.isfinite(each.values).all()]


def _stands(probed: Probe, drawn: Projection, float64: Conditioning, seed: int) -> bool:
    """Whether batches are differentiated as they should be: else a projection is no evidence against a kernel."""
    if not probed.in_batches:
        return True
    rng = np.random.default_rng(seed)
    allowed = max(tolerance("float64"), float64.tolerance)
    return all(consistent(probed, probed.examples(which), u, pull(probed, which, u), allowed, seed)
               for which in (1, 2) for u in (rng.standard_normal((len(probed.examples(which)), probed.n_outputs)),))


def info_of(source: CaseSource, case: Case) -> CaseInfo:
    """What the report needs to know of it."""
    return CaseInfo(case=source.name, network=source.network, width=_width(case), n1=len(case.x1),
                    n2=None if case.x2 is None else len(case.x2), n_outputs=case.network.n_outputs,
                    n_params=count_params(case), data=source.data, digest=source.digest)


def _width(case: Case) -> int | None:
    """Of the first hidden layer, or the channels of the first convolution."""
    if isinstance(case.network, ConvNet):
        return case.network.convs[0].channels
    return case.network.widths[1] if isinstance(case.network, MLP) and case.network.n_layers > 1 else None
