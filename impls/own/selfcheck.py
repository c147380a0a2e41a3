"""A structured engine's kernel against products of the untouched function: uᵀ K[i, j] v = ⟨J_iᵀ u, J_jᵀ v⟩.

Two backward passes of the function itself, of one example each, cost next to nothing beside the kernel and share no
code with the engine: neither its tracing, nor its rules, nor its contractions. Two examples and two random directions
are enough, as a wrong rule is wrong for nearly all of them. Where x2 = x1 the mirrored entry is due as well. A kernel
that fails is computed anew from Jacobians.

What this cannot see: a fault in other examples alone, as in a block of the middle, or of an example with itself alone;
in a diagonal, of outputs that were not drawn, and so in the trace of many outputs; and in batches other than the first.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from impls import registry
from impls.choice.costs import CHECKED_OUTPUTS
from impls.frameworks.arrays import to_numpy
from impls.given.batches import OwnBatches
from impls.given.network import OwnNetwork
from impls.own.finite import precision
from impls.own.halves import half
from reference import Request
from reference.case import Outputs
from reference.tolerances import tolerance

SLACK = 10.0
"""How many tolerances, and how many times what rounding of the parameters does, an engine may be off: several draws of
a direction differ by such factors, and a wrong rule is off by 1e4 times as much."""

DRAWN = 2
"""Of the outputs, where the diagonal is asked for."""

DRAWS = 3
"""Of rounding errors, where a kernel is off by more than the tolerance."""

WHOLE, MIRRORED, SHARE = "uᵀKv", "the mirrored vᵀKu", "the share of {} in uᵀKv"
"""What is compared."""

JACOBIANS = {"torch": "torch_autograd.per_example", "jax": "equinox.exact"}
"""What computes the kernel where the engine did not."""


def checked(name: str, kernel: Any, own: OwnNetwork, request: Request, say: Callable[[str], None],
            compute: Callable[[str, Request], Any]) -> Any:
    """`kernel`, or where it is wrong, one from Jacobians (`compute`), with a warning that names the parameters.

    Of a dict of kernels their sum is checked, and each by itself.
    """
    begin = time.perf_counter()
    try:
        with precision(own):
            wrong = _wrong(name, kernel, own, request)
    except Exception as error:  # of the function's own backward pass, as that of jax.lax.while_loop
        say(f"ntk: {name} could not check itself ({type(error).__name__}: {str(error).strip().splitlines()[:1]})")
        return kernel
    say(f"ntk: {name} checked itself in {time.perf_counter() - begin:.3g} s: {wrong or 'right'}")
    if wrong is None:
        return kernel
    other = JACOBIANS[own.framework]
    warnings.warn(f"{name} computed a wrong kernel of this network: {wrong}. It is computed by {other} instead; please "
                  "report the network", RuntimeWarning, stacklevel=5)
    return compute(other, replace(request, options={}))


def wrong_product(own: OwnNetwork, x1: Any, x2: Any, u: np.ndarray, v: np.ndarray, product: np.ndarray) -> str | None:
    """In a line, how Σ uᵀ K v differs from that of backward passes, or None. u (k, N1, O), v (k, N2, O), of few
    examples; `product`, K v, is like u."""
    pairs = [(x1[i:i + 1], x2[j:j + 1], u[:, i], v[:, j]) for i in range(len(x1)) for j in range(len(x2))]

    def due(rounded: int | None = None) -> tuple[float, float]:
        shares, scales = zip(*(half(own.framework).products(own._replace(first=None), *pair, rounded=rounded)
                               for pair in pairs), strict=True)
        return sum(sum(share.values()) for share in shares), sum(scales)

    found = float((u * product).sum())
    value, scale = due()
    off, allowed = abs(found - value), SLACK * tolerance(own.dtype) * scale
    if off <= allowed or off <= allowed + SLACK * max(abs(due(seed)[0] - value) for seed in range(DRAWS)):
        return None
    if off <= _allowed_inside(own, x1[:1], scale):
        return None
    return f"uᵀKv of {len(x1)} and {len(x2)} examples is {found:.6g}, and {value:.6g} by backward passes"


def _wrong(name: str, kernel: Any, own: OwnNetwork, request: Request) -> str | None:
    """What is wrong, in a line, or None. Where two examples are off by no more than rounding of the kernel's largest
    entry, as saturated units are (1 − tanh² is what rounding left of 1), the examples of that entry tell."""
    places = _places(own)
    fault = _fault(name, kernel, own, request, places)
    if fault is None:
        return None
    largest, size = _largest(kernel)
    if largest != places and fault.off <= SLACK * float(np.finfo(own.dtype).eps) * size:
        fault = _fault(name, kernel, own._replace(first=None), request, largest)
    return fault and fault.line


Directions = tuple[np.ndarray, np.ndarray]
"""Rows u and v."""


class _Fault(NamedTuple):
    off: float
    line: str


def _fault(name: str, kernel: Any, own: OwnNetwork, request: Request, places: tuple[int, int],
           directions: Directions | None = None) -> _Fault | None:
    """Of the engine, in the examples with these numbers, along `directions` or those that are due."""
    witness = half(own.framework).products
    (i, j), (x1, x2) = places, _examples(own, places)
    if request.outputs == "trace" and own.framework == "torch" and own.n_outputs > CHECKED_OUTPUTS:
        return _fault_of_trace(name, kernel, own._replace(x1=x1, x2=x2), request, places)
    u, v = directions or _directions(own, request.outputs)
    parts, scale = witness(own, x1, x2, u, v)
    found = _found(kernel, i, j, u, v, request.outputs, itself=own.x2 is None)
    due = _due(parts, found)
    allowed = SLACK * tolerance(own.dtype) * scale
    if (worst := _worst(found, due, allowed)) is None:
        return None
    others = [_due(witness(own, x1, x2, u, v, rounded=seed)[0], found) for seed in range(DRAWS)]
    moved = max(abs(other[what] - due[what]) for other in others for what in due)
    if (worst := _worst(found, due, allowed + SLACK * moved)) is None:  # the network, not the engine: it amplifies
        return None
    allowed = max(allowed, _allowed_inside(own, x1, scale))
    if (worst := _worst(found, due, allowed)) is None:
        return None
    if request.outputs == "full" and directions is None and not _is_linear(own, x1, x2, u, v, due[WHOLE], allowed):
        return _fault(name, kernel, own._replace(first=None), request, places, _of_single_outputs(own))
    line = f"{worst} of examples {i} and {j} is {found[worst]:.6g}, and {due[worst]:.6g} by two backward passes"
    layers = _layers(name, own, x1, x2, parts, u, v, request, allowed) if worst == WHOLE else ""
    return _Fault(abs(found[worst] - due[worst]), f"{line}; the share of {layers} differs" if layers else line)


def _allowed_inside(own: OwnNetwork, x: Any, scale: float) -> float:
    """What may be off where a network of float64 computes a part in fewer bits: each order of the same operations then
    rounds in its own way, by a unit of float32 and not of float64. Otherwise nothing beside what is allowed anyway."""
    inside = own.dtype == "float64" and half(own.framework).fewer_bits(own, x)
    return SLACK * tolerance("float32") * scale if inside else 0.0


def _is_linear(own: OwnNetwork, x1: Any, x2: Any, u: np.ndarray, v: np.ndarray, due: float, allowed: float) -> bool:
    """Whether backward passes scale as what is pulled back. One that clips gradients does not, and K, whose entries are
    those of single outputs, has no uᵀKv."""
    witness, own = half(own.framework).products, own._replace(first=None)
    for factor in (1 / 16, 16):
        for left, right in ((factor * u, v), (u, factor * v)):
            found = sum(witness(own, x1, x2, left, right)[0].values())
            if abs(found - factor * due) > factor * allowed:
                return False
    return True


def _of_single_outputs(own: OwnNetwork) -> Directions:
    """Two of them, with each other."""
    some = np.eye(own.n_outputs)[np.random.default_rng(0).permutation(own.n_outputs)[:DRAWN]]
    return some, some[::-1]


def _found(kernel: Any, i: int, j: int, u: np.ndarray, v: np.ndarray, outputs: Outputs, *,
           itself: bool) -> dict[str, float]:
    """uᵀ K[i, j] v by what it is: of the whole kernel, and where that is a dict, of each parameter. `itself`, where
    x2 = x1: vᵀ K[j, i] u as well."""
    found = {WHOLE: _applied(kernel, i, j, u, v, outputs)}
    if isinstance(kernel, dict):
        found |= {SHARE.format(name): _applied(each, i, j, u, v, outputs) for name, each in kernel.items()}
    return {**found, MIRRORED: _applied(kernel, j, i, v, u, outputs)} if itself else found


def _due(parts: Mapping[str, float], found: Mapping[str, float]) -> dict[str, float]:
    """What `found` has to be."""
    whole = sum(parts.values())
    due = {WHOLE: whole, MIRRORED: whole, **{SHARE.format(name): part for name, part in parts.items()}}
    return {what: due[what] for what in found}


def _worst(found: Mapping[str, float], due: Mapping[str, float], allowed: float) -> str | None:
    """What is off by more, or not a number; the whole kernel before its parts."""
    return next((what for what in found if not abs(found[what] - due[what]) <= allowed), None)


def _fault_of_trace(name: str, kernel: Any, two: OwnNetwork, request: Request, places: tuple[int, int]
                    ) -> _Fault | None:
    """As `_fault`, by the engine's diagonal for the two examples, of which some outputs are checked: a backward pass
    for each takes longer."""
    diagonal = replace(request, outputs="diagonal", batch_size=None, options={})
    method: Any = registry.load(name)
    pair = method.kernel(two.f, two.params, two.x1, two.x2, diagonal)
    if (fault := _fault(name, pair, two, diagonal, (0, 0))) is not None:
        return fault
    entries = np.asarray(to_numpy(pair[0, 0]), np.float64)
    found = _applied(_whole(kernel), *places, *_directions(two, "trace"), "trace")
    off = abs(found - entries.sum())
    if off <= SLACK * tolerance(two.dtype) * len(entries) * np.abs(entries).max():
        return None
    i, j = places
    return _Fault(off, f"the trace of examples {i} and {j} is {found:.6g}, and {entries.sum():.6g} by its diagonal")


def _largest(kernel: Any) -> tuple[tuple[int, int], float]:
    """The two examples of the kernel's largest entry, and its size."""
    sizes = np.abs(np.asarray(to_numpy(_whole(kernel)), np.float64))
    i, j, *_ = np.unravel_index(int(sizes.argmax()), sizes.shape)
    return (int(i), int(j)), float(sizes.max())


def _whole(kernel: Any) -> Any:
    return sum(kernel.values()) if isinstance(kernel, dict) else kernel


def _layers(name: str, own: OwnNetwork, x1: Any, x2: Any, parts: Mapping[str, float], u: np.ndarray, v: np.ndarray,
            request: Request, allowed: float) -> str:
    """The parameters whose share is wrong, the worst first."""
    method: Any = registry.load(name)
    asked = replace(request, batch_size=None, options={})
    try:
        shares = method.components(own.f, own.params, x1, x2, asked)
    except Exception:  # an engine that is wrong may fail as well; which layer it is stays unknown
        return ""
    errors = {each: abs(_applied(share, 0, 0, u, v, request.outputs) - parts[each]) for each, share in shares.items()}
    worst = sorted((each for each in errors if not errors[each] <= allowed), key=lambda each: -errors[each])
    return ", ".join(worst[:3]) + (f" and {len(worst) - 3} more" if len(worst) > 3 else "")


def _places(own: OwnNetwork) -> tuple[int, int]:
    """The first of x1 and the last of x2, or of its first batch."""
    right = own.x1 if own.x2 is None else own.x2
    return 0, len(next(iter(right)) if isinstance(right, OwnBatches) else right) - 1


def _examples(own: OwnNetwork, places: tuple[int, int]) -> tuple[Any, Any]:
    """Those of x1 and x2 with these numbers, each a batch of one."""
    return _example(own.x1, places[0]), _example(own.x1 if own.x2 is None else own.x2, places[1])


def _example(x: Any, place: int) -> Any:
    for batch in x if isinstance(x, OwnBatches) else [x]:
        if place < len(batch):
            return batch[place:place + 1]
        place -= len(batch)
    raise IndexError(place)


def _directions(own: OwnNetwork, outputs: Outputs) -> Directions:
    """Rows u and v: two random ones, u that of which a gradient is known if there is one; some outputs, the same in
    both; each output, as the trace is a sum over them."""
    draw, n_outputs = np.random.default_rng(0), own.n_outputs
    if outputs == "full":
        u = draw.standard_normal((1, n_outputs)) if own.first is None else to_numpy(own.first.cotangent).reshape(1, -1)
        return u, draw.standard_normal((1, n_outputs))
    one = np.eye(n_outputs)
    one = one if outputs == "trace" else one[draw.permutation(n_outputs)[:DRAWN]]
    return one, one


def _applied(kernel: Any, i: int, j: int, u: np.ndarray, v: np.ndarray, outputs: Outputs) -> float:
    """Σ uᵀ K[i, j] v over the rows; of a dict of kernels, of their sum."""
    if isinstance(kernel, dict):
        return sum(_applied(each, i, j, u, v, outputs) for each in kernel.values())
    entry = np.asarray(to_numpy(kernel[i, j]), np.float64)
    if outputs == "trace":
        return float(entry)
    return float(np.einsum("ka,ab,kb", u, entry, v)) if outputs == "full" else float(u.sum(0) @ entry)
