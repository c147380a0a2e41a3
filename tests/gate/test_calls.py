"""One kernel after another: what a method keeps from one call must not show in the next, nor in what it gave before.

Cases that look alike, one after the other and in turn; the sixth call and later ones; results that their owner writes
to; arrays whose entries are changed in place, and arrays that share memory; another thread, and two at a time.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache, partial
from itertools import product
from typing import get_args

import numpy as np

from impls import Method
from reference import Case, Request, round_to_float32
from reference.case import DType, Outputs
from tests.gate import lookalikes
from tests.gate.calls import Kept, given, spoil
from tests.gate.checks import copied, moved, skip_unsupported, with_arrays
from tests.gate.drawn import Draws, arrays_of, told
from tests.gate.selection import Selection
from tests.gate.test_independence import plain_request

ONE_AT_A_TIME = ("backpack.batch_grad",)
"""BackPACK has hooks of the whole process: beside itself it raises."""

N_CALLS = 40
"""Of what was prepared once: beyond 5, 10, 16 and 32."""


def test_cases_that_look_alike(exact_method: Method, selection: Selection) -> None:
    """One after the other, prepared anew; then all that was prepared, called again in turn; nothing is overwritten."""
    request, kept, seed = plain_request(exact_method, selection), Kept(exact_method), selection.gate_seed
    cases = alike(seed)
    if not selection.alone and exact_method.framework == "jax":  # each is compiled anew
        some = Draws(seed, exact_method.name).rng.choice(list(cases)[1:], 2, replace=False)
        cases = {what: case for what, case in cases.items() if what in ("the first", *some)}
    skip_unsupported(exact_method, cases["the first"], request)
    prepared = []
    with told("cases of one name and one shape", seed):
        for what, case in cases.items():
            calls = given(exact_method, copied(case), request)
            prepared.append((what, case, calls))
            kept.hold(f"it shares with the first {what}", calls(), case, request)
        for what, case, calls in reversed(prepared):
            kept.hold(f"called again; it shares with the first {what}", calls(), case, request)
        kept.hold_still()


@cache
def alike(seed: int) -> dict[str, Case]:
    """The same for every method, so that the truth is computed once."""
    return lookalikes.lookalikes(Draws(seed, "lookalikes"))


def test_other_constants(exact_method: Method, selection: Selection) -> None:
    request, kept = plain_request(exact_method, selection), Kept(exact_method)
    for case in lookalikes.other_constants(Draws(selection.gate_seed, "constants")):
        skip_unsupported(exact_method, case, request)
        with told("after other constants", selection.gate_seed):
            kept.hold("all else being equal", given(exact_method, copied(case), request)(), case, request)


def test_all_forms_in_turn(method: Method, selection: Selection) -> None:
    """Outputs, dtypes, blocks, x2 = x1 and not, of two networks that share all shapes, in an order that is drawn; the
    owner of a kernel writes to it; and each is computed again."""
    draw, kept = Draws(selection.gate_seed, f"forms of {method.name}"), Kept(method)
    plain = plain_request(method, selection)
    case = small_case(draw)
    skip_unsupported(method, case, plain)
    networks = (case, moved(case))
    forms = [(replace(plain, outputs=outputs, dtype=dtype, batch_size=size), symmetric)
             for outputs, dtype, size, symmetric in product(get_args(Outputs), get_args(DType), (None, 2),
                                                            (False, True))]
    n_forms = (2 if method.framework == "jax" else 6) * (2 if selection.alone else 1)
    prepared = []
    with told("forms in turn", selection.gate_seed):
        for i in draw.rng.permutation(len(forms))[:n_forms]:
            (request, symmetric), network = forms[i], networks[int(draw.rng.integers(2))]
            network = network.with_symmetry() if symmetric else network
            calls = given(method, copied(network), request)
            first = kept.hold(f"{request.outputs} in {request.dtype}", calls(), network, request)
            prepared.append((calls, network, request, first))
        kept.hold_still()
        for result in kept.results:
            spoil(result[1])
        for calls, network, request, first in prepared:
            kept.hold("after its owner wrote to the first", calls(), network, request, first)


def test_many_calls(method: Method, selection: Selection) -> None:
    """Of one preparation; and as many preparations of small networks, each with numbers of its own, as there are
    calls in all of the stored cases for one of them."""
    draw, kept, request = Draws(selection.gate_seed, "calls"), Kept(method), plain_request(method, selection)
    case = small_case(draw)
    skip_unsupported(method, case, request)
    calls, first = given(method, copied(case), request), None
    with told("one preparation, called again and again", selection.gate_seed):
        for i in range(N_CALLS):
            first = kept.hold(f"call {i + 1}", calls(), case, request, first)
        kept.hold_still()


def test_changed_in_place(exact_method: Method, selection: Selection) -> None:
    """A method prepared anew sees what the arrays hold now: parameters, x1, x2, each in turn; and all of them where
    sums, entries and ends are what they were."""
    draw, request = Draws(selection.gate_seed, "in place"), plain_request(exact_method, selection)
    case, kept = copied(small_case(draw)), Kept(exact_method)
    skip_unsupported(exact_method, case, request)
    changes: list[tuple[str, Callable[[], None]]] = [
        (f"{name} is changed", partial(_scaled_in_place, array)) for name, array in arrays_of(case).items()]
    changes.append(("entries of all arrays change their places", partial(_turned_in_place, case)))
    if not selection.alone and exact_method.framework == "jax":
        changes = [draw.one_of(*changes)]
    with told("arrays changed in place", selection.gate_seed):
        for what, change in [("nothing is changed", lambda: None), *changes]:
            change()
            now = copied(case)
            kept.hold(what, given(exact_method, case, request)(), now, request)


def _scaled_in_place(array: np.ndarray) -> None:
    array[...] = round_to_float32(array * -0.75)


def _turned_in_place(case: Case) -> None:
    """All but the first and the last entry of each array."""
    for array in arrays_of(case).values():
        array.flat[1:-1] = np.roll(array.flat[1:-1], 1)


def test_shared_memory(exact_method: Method, selection: Selection) -> None:
    """x2 that begins where x1 does, that is x1, and that is a part of it, is an x2 like any other; so where x1 is a
    part of x2."""
    draw, request = Draws(selection.gate_seed, "shared"), plain_request(exact_method, selection)
    case, kept = small_case(draw), Kept(exact_method)
    skip_unsupported(exact_method, case, request)
    x = case.x1
    views = {"x2 is the first examples of x1": (x, x[:2]), "x2 is x1 itself": (x, x),
             "x2 is every second of x1": (x, x[::2]), "x2 is all of x1 but the first": (x, x[1:]),
             "x1 is a part of x2": (x[1:], x), "x2 is x1 from its end": (x, x[::-1])}
    if not selection.alone:
        views = dict([draw.one_of(*views.items())])
    for what, (x1, x2) in views.items():
        shared = replace(case, x1=x1, x2=x2)
        with told(what, selection.gate_seed):
            kept.hold("in one memory", given(exact_method, shared, request)(), shared, request)


def test_arrays_as_users_have_them(method: Method, selection: Selection) -> None:
    """Read-only, every second row of a larger array, the first axis last in memory, one entry of two, after an offset,
    backwards, and all parameters in one vector: the same kernel."""
    draw, kept, request = Draws(selection.gate_seed, "memory"), Kept(method), plain_request(method, selection)
    case = small_case(draw)
    skip_unsupported(method, case, request)
    ways = dict(MEMORY)
    if not selection.alone and method.framework == "jax":
        ways = {what: MEMORY[what] for what in draw.rng.permutation(list(MEMORY))[:2].tolist()}
    due = kept.hold("as it is drawn", given(method, copied(case), request)(), case, request)
    for what, change in ways.items():
        changed = change(case)
        with told(f"arrays {what}", selection.gate_seed), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # PyTorch's, of what it shares
            kept.hold(what, given(method, changed, request)(), case, request, due)
            assert all(np.array_equal(array, arrays_of(case)[name]) for name, array in arrays_of(changed).items()), (
                "the method changed its inputs")


def _read_only(array: np.ndarray) -> np.ndarray:
    locked = array.copy()
    locked.flags.writeable = False
    return locked


def _every_second(array: np.ndarray) -> np.ndarray:
    """The entries between them are others."""
    larger = np.repeat(array, 2, axis=0)
    larger[1::2] = 5.0
    return larger[::2]


def _last_axis_strided(array: np.ndarray) -> np.ndarray:
    return np.stack([array, array + 1], axis=-1)[..., 0]


def _after_an_offset(array: np.ndarray) -> np.ndarray:
    return np.concatenate([np.full(3, 9.0), array.ravel()])[3:].reshape(array.shape)


def _backwards(array: np.ndarray) -> np.ndarray:
    """Views of what lies in memory the other way round, as `x[::-1]` gives them: strides below 0."""
    everywhere = (slice(None, None, -1),) * array.ndim
    return array[everywhere].copy()[everywhere]


def _in_one_vector(case: Case) -> Case:
    """All parameters are views of one array, as optimisers hold them."""
    flat = np.concatenate([array.ravel() for array in case.params.values()])
    ends = np.cumsum([array.size for array in case.params.values()])
    parts = zip(case.params.items(), np.split(flat, ends[:-1]), strict=True)
    return replace(copied(case), params={name: part.reshape(array.shape) for (name, array), part in parts})


def _each(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Case], Case]:
    return lambda case: with_arrays(case, change)


MEMORY: dict[str, Callable[[Case], Case]] = {
    "that are read-only": _each(_read_only), "that are every second row": _each(_every_second),
    "in Fortran's order": _each(np.asfortranarray), "with other numbers between theirs": _each(_last_axis_strided),
    "after an offset": _each(_after_an_offset), "backwards": _each(_backwards), "in one vector": _in_one_vector}


def test_another_thread(method: Method, selection: Selection) -> None:
    """Prepared here and called there; prepared and called there; and two networks at a time, of the same shapes."""
    draw, kept, request = Draws(selection.gate_seed, "threads"), Kept(method), plain_request(method, selection)
    case = small_case(draw)
    skip_unsupported(method, case, request)
    calls = given(method, copied(case), request)
    with told("in another thread", selection.gate_seed), ThreadPoolExecutor(2) as threads:
        first = kept.hold("prepared and called here", calls(), case, request)
        kept.hold("called there", threads.submit(calls).result(), case, request, first)
        there = threads.submit(lambda: given(method, copied(case), request)()).result()
        kept.hold("prepared and called there", there, case, request, first)
        if method.kind == "exact" and method.name not in ONE_AT_A_TIME:
            _two_at_a_time(kept, case, request, threads)
        kept.hold_still()


def _two_at_a_time(kept: Kept, case: Case, request: Request, threads: ThreadPoolExecutor) -> None:
    """Each thread calls its own, which both begin together."""
    pair, together = (case, moved(case)), threading.Barrier(2)
    prepared = [given(kept.method, copied(one), request) for one in pair]

    def call(i: int) -> list:
        together.wait()
        return [prepared[i]() for _ in range(3)]

    for results, one in zip(threads.map(call, range(2)), pair, strict=True):
        for result in results:
            kept.hold("beside another network", result, one, request)


def small_case(draw: Draws) -> Case:
    return draw.case(draw.dense(4, draw.between(5, 9), 3), *lookalikes.SMALL)
