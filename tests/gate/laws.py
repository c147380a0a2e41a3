"""What every kernel obeys whatever the network is, and how a method is held to it.

A law computes a kernel in another way, or of a changed network, and compares it with what follows from one kernel K(U)
of all the examples U of a random network: so that kernel is computed once, and every other one serves one law. Where a
law cannot be asked of a method or of a network it says why (`NotHeld`).

Of random methods those laws are asked that hold for one seed; of limit methods those that do not speak of parameters.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

import numpy as np

from impls import Method
from impls.protocol import Kind
from reference import (
    Layered,
    compare,
    has_limit,
    infinite_width,
    structural_fault,
    tolerance,
)
from tests.gate import changed_cases as changed
from tests.gate.checks import moved, uneven_batch_size
from tests.gate.random_networks import FAMILIES, Family, smooth
from tests.gate.state import global_state
from tests.gate.subject import Malformed, NotHeld, Subject, every, part, rounding_error, tape

Check = Callable[[Subject], str]


@dataclass(frozen=True)
class Law:
    """`check` says how a subject breaks it, or nothing.

    `not_asked` gives reasons by the kind of method. A check that raises `NotHeld` for the network does so before it
    computes anything.
    """

    name: str
    check: Check
    families: tuple[Family, ...]
    """Those in which there are networks to ask."""
    not_asked: Mapping[Kind, str] = field(default_factory=dict)


LAWS: list[Law] = []


def law(*families: Family, **not_asked: str) -> Callable[[Check], Check]:
    def register(check: Check) -> Check:
        reasons: dict[Kind, str] = {kind: not_asked[kind] for kind in get_args(Kind) if kind in not_asked}
        LAWS.append(Law(check.__name__.replace("_", " "), check, families or FAMILIES, reasons))
        return check

    return register


OTHER_PROJECTIONS = "for other examples it may draw other projections"
OTHER_PARAMETERS = "projections of other parameters are other numbers; each estimate is right within its own error"
SAMPLING = "an estimate is judged by its distribution (test_kernel)"
NO_PARAMETERS = "the limit does not depend on the parameters"


@law(stochastic=SAMPLING)
def value(on: Subject) -> str:
    """K(U) is that of the reference's tape; of limit methods, that of its infinite-width kernel."""
    if on.method.kind == "limit":
        if not has_limit(on.case.network):
            raise NotHeld("the reference knows no closed form of its limit")
        return on.fault(on.whole, infinite_width(on.case))
    return compare(on.whole, on.truth, outputs="full", dtype="float64", symmetric=False).reason


@law()
def symmetry_and_positivity(on: Subject) -> str:
    """K(U) is symmetric, and λ_min ≥ −c ε ‖K‖."""
    return structural_fault(on.whole, "full", "float64")


@law(stochastic=OTHER_PROJECTIONS)
def permuted_examples(on: Subject) -> str:
    order = on.shuffled
    return on.fault(on.kernel(changed.selected(on.case, order)), part(on.whole, order, order))


@law(stochastic=OTHER_PROJECTIONS)
def blocks(on: Subject) -> str:
    """K(x1, x2), and in a thorough run K(x1, x1), are blocks of K of x1 and x2 together.

    x2 holds an example of x1 as well.
    """
    columns = np.array([*on.second, on.first[-1]])
    faults = [on.fault(on.kernel(changed.selected(on.case, on.first, columns)), part(on.whole, on.first, columns))]
    if on.thorough:
        faults.append(on.fault(on.kernel(changed.selected(on.case, on.first)), part(on.whole, on.first, on.first)))
    return next(filter(None, faults), "")


@law()
def transposition(on: Subject) -> str:
    """K(x2, x1)[m, n, b, a] = K(x1, x2)[n, m, a, b]."""
    kernel = on.kernel(changed.selected(on.case, on.first, on.second))
    transposed = on.kernel(changed.selected(on.case, on.second, on.first))
    blocks = part(on.whole, on.second, on.first)
    if kernel.ndim != 4:
        return f"K(x1, x2) has shape {kernel.shape}"
    return on.fault(transposed, replace(blocks, full=kernel.transpose(1, 0, 3, 2)))


@law()
def diagonal(on: Subject) -> str:
    """`outputs="diagonal"` holds the entries a = b of "full"."""
    return on.fault(on.kernel(on.case, outputs="diagonal"), every(on.whole), outputs="diagonal")


@law()
def trace(on: Subject) -> str:
    """`outputs="trace"` is their sum."""
    return on.fault(on.kernel(on.case, outputs="trace"), every(on.whole), outputs="trace")


@law()
def batch_size(on: Subject) -> str:
    """Blocks with a smaller last one give the same values, and in a thorough run blocks of one example and of many."""
    for size in (uneven_batch_size(on.case), *((1, 1000) if on.thorough else ())):
        if reason := on.fault(on.kernel(on.case, batch_size=size), every(on.whole)):
            return f"batch_size={size}: {reason}"
    return ""


@law(stochastic=OTHER_PROJECTIONS)
def float32_against_float64(on: Subject) -> str:
    """Where float32 can tell: not where the last digits of parameters and inputs change the kernel by as much."""
    if on.method.kind != "limit" and rounding_error(on.case, on.truth) > tolerance("float32") / 4:
        raise NotHeld("rounding its numbers to float32 changes this kernel by more than a quarter of the tolerance")
    return on.fault(on.kernel(on.case, dtype="float32"), every(on.whole), dtype="float32")


@law(stochastic=OTHER_PARAMETERS, limit=NO_PARAMETERS)
def permuted_outputs(on: Subject) -> str:
    """The rows of the last layer in another order: the output axes are."""
    if (permuted := changed.outputs_permuted(on.case)) is None:
        raise NotHeld("the last layer is tied, or has one row")
    case, order = permuted
    return on.fault(on.kernel(case), every(on.whole[:, :, order][:, :, :, order]))


@law(stochastic=OTHER_PARAMETERS, limit=NO_PARAMETERS)
def reordered_parameters(on: Subject) -> str:
    """Parameters in another order, under other names: the same kernel."""
    return on.fault(on.kernel(changed.reordered_parameters(on.case)), every(on.whole))


@law(stochastic=OTHER_PARAMETERS, limit=NO_PARAMETERS)
def scaled_last_layer(on: Subject) -> str:
    """With c times the last weight K is K_last + c² K_hidden: K(2) = 5 K(1) − 4 K(½)."""
    double, half = (changed.last_weight_scaled(on.case, factor) for factor in (2.0, 0.5))
    if double is None or half is None:
        raise NotHeld("the last layer is tied, or the only one")
    due = every(5 * on.whole - 4 * on.kernel(half))
    return on.fault(on.kernel(double), due)


@law("dense", "conv", stochastic=OTHER_PARAMETERS, limit=NO_PARAMETERS)
def ntk_parameterization(on: Subject) -> str:
    """Twice W_std and b_std with half the parameters: the same function, each derivative doubled."""
    if (case := changed.reparameterized(on.case)) is None:
        raise NotHeld("it is in the standard parameterization")
    return on.fault(on.kernel(case), every(4 * on.whole))


@law("dense", "conv", stochastic=OTHER_PARAMETERS)
def doubled_inputs(on: Subject) -> str:
    """Twice the inputs and b_std, for ReLU: twice the outputs, in the infinitely wide network as well."""
    if (case := changed.inputs_doubled(on.case)) is None:
        raise NotHeld("it is not homogeneous in its inputs")
    return on.fault(on.kernel(case), every(4 * on.whole))


@law("dense", "layered", stochastic=OTHER_PARAMETERS, limit=NO_PARAMETERS)
def sum_over_parameters(on: Subject) -> str:
    """The kernels of the same network with all parameters but some frozen add up; by default two parts, else each."""
    case = changed.as_layers(on.case)
    if not isinstance(case.network, Layered):
        raise NotHeld(f"a {type(case.network).__name__} has no frozen parameters")
    shares = [on.kernel(changed.frozen_but(case, names))
              for names in changed.parts(case, None if on.thorough else 2)]
    return on.fault(np.sum(shares, axis=0), every(on.whole))


@law(stochastic=OTHER_PARAMETERS, limit=NO_PARAMETERS)
def sum_of_components(on: Subject) -> str:
    """What a method says each parameter adds is what it adds, where it says so (`components`)."""
    if on.method.name.startswith("neural_tangents") and not on.thorough:
        raise NotHeld("it compiles a kernel for each parameter; tests/impls/own/test_components.py asks it of one case")
    shares, names = on.components()
    if set(shares) != set(names):
        return f"shares of {', '.join(shares)}, where the parameters are {', '.join(names)}"
    return on.fault(np.sum(list(shares.values()), axis=0), every(on.whole))


@law()
def other_parameters(on: Subject) -> str:
    """Another network of the same shapes, after the first, has its own kernel; of exact methods that of the tape."""
    other = moved(on.case)
    if not smooth(other):
        raise NotHeld("an input of a ReLU of the other network is at 0")
    if np.allclose(tape(other).full, on.truth.full):
        raise NotHeld("the other network has the same kernel: nothing but its last bias counts")
    first, kernel = on.whole, on.kernel(other)
    if np.array_equal(kernel, first):
        return "other parameters and inputs gave the very same kernel"
    if on.method.kind == "exact":
        return compare(kernel, tape(other), outputs="full", dtype="float64", symmetric=True).reason
    return ""


REPETITIONS = 3
"""Compilers that look at the first calls, and recorded CUDA graphs, change what runs in the third or the fourth."""


@law()
def repetition(on: Subject) -> str:
    """What was prepared first gives the same again and again, after all that was computed since."""
    first = every(on.whole)
    faults = (on.fault(on.compute_whole(), first) for _ in range(REPETITIONS))
    return next(filter(None, faults), "")


STATE = "untouched state"


def laws_of(method: Method, family: Family) -> list[Law]:
    return [law for law in LAWS if family in law.families and method.kind not in law.not_asked
            and (law.check is not sum_of_components or hasattr(method, "components"))]


@dataclass(frozen=True)
class Verdict:
    """Of one method on one network: `broken` and `not_held` map names of laws to reasons."""

    held: tuple[str, ...]
    broken: Mapping[str, str]
    not_held: Mapping[str, str]


def judge(on: Subject, laws: Sequence[Law]) -> Verdict:
    """Hold a method to these laws on one network; at the end no global state may have changed.

    What the method raises goes on, with a note that names the law.
    """
    importlib.import_module(on.method.framework)
    held, broken, not_held = [], {}, {}
    before = global_state()
    for law in laws:
        try:
            reason = law.check(on)
        except NotHeld as why:
            not_held[law.name] = str(why)
            continue
        except Malformed as fault:
            return Verdict((), {"form": str(fault)}, {})
        except Exception as error:
            error.add_note(f"law: {law.name}; {on.method.name} on {on.random}")
            raise
        held.append(law.name)
        if reason:
            broken[law.name] = reason
    after = global_state()
    if names := [name for name in after if name in before and after[name] != before[name]]:
        broken[STATE] = f"changed: {', '.join(names)}"
    return Verdict(tuple(held), broken, not_held)
