"""Kernels from Jacobians of blocks of examples: between two sets of parameters, of two functions, of x1[n] with x2[n]
alone, and of batches whose examples differ in shape. K[n, m] = J(x1_n) J'(x2_m)ᵀ over the parameters that both have.

Nothing is traced or planned, and no symmetry is assumed but where both sides are the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from impls.frameworks.faces import face
from impls.given.items import Takes, inputs_of
from impls.given.network import OwnNetwork
from impls.given.structure import is_structure, leaves
from impls.own import finite
from impls.own.halves import half
from impls.protocol import Array
from reference import InputError, Request

Pairs = Literal["same"] | None
Parts = dict[str, Array]
"""Of each parameter by its name."""

ROOM = 2**30
"""Bytes for the Jacobians of two blocks, unless `memory_limit` says another number."""

METHODS = {"torch": ("auto", "torch_func.jacobian_contraction", "torch_autograd.per_example"),
           "jax": ("auto", "equinox.exact")}


class Framework(Protocol):
    """What `impls.own.torch.across` and `impls.own.jax.across` have."""

    def jacobian(self, own: OwnNetwork, rows: slice, method: str) -> Parts:
        """(n, O, P_i) of each parameter, of these examples of x1."""
        ...

    def contract(self, left: Array, right: Array, request: Request) -> Array: ...

    def contract_same(self, left: Array, right: Array, request: Request) -> Array:
        """Of example n on the left with example n on the right alone."""
        ...

    def concatenate(self, blocks: Sequence[Array], axis: int) -> Array: ...

    def mirrored(self, block: Array) -> Array: ...


class Side(NamedTuple):
    """A network with its examples: a part for each shape that they have, in their order."""

    parts: list[OwnNetwork]
    names: Mapping[str, str]
    """Its parameters' names, and what they are called on the other side."""

    def blocks(self, size: int | None, room: float) -> list[tuple[OwnNetwork, slice]]:
        """Blocks of examples of one shape whose Jacobians fit into `room`, unless `size` is given."""
        return [(part, rows) for part in self.parts
                for rows in _slices(len(part.x1), size or max(1, int(room // part.jacobian_bytes)))]


def of_one_shape(x: Any, what: str, takes: Takes, inputs: Any) -> list[Any] | None:
    """Batches whose examples differ in shape, one after the other, as the network takes them; None for all others."""
    if is_structure(x) or not hasattr(x, "__iter__") or hasattr(x, "__next__") or hasattr(x, "shape"):
        return None
    shapes = {tuple((path, tuple(array.shape[1:])) for path, array in leaves(batch, "").items())
              for batch in inputs_of(x, what, takes, inputs)}
    return list(inputs_of(x, what, takes, inputs)) if len(shapes) > 1 else None


def kernel(left: Side, right: Side | None, request: Request, *, method: str, pairs: Pairs, components: bool,
           memory_limit: int | None) -> Any:
    """The kernel, or with `components` each parameter's; `right` None means the left side again."""
    _check(left, left if right is None else right, request, method, pairs)
    least = 2 * max(part.jacobian_bytes for side in (left, right or left) for part in side.parts)
    if memory_limit is not None and memory_limit < least:
        raise InputError(f"memory_limit={memory_limit} is not enough: the Jacobians of two examples take {least} bytes")
    room = (ROOM if memory_limit is None else memory_limit) / 2
    made = _same if pairs == "same" else _all
    found = made(_framework(left), left, right, request, method, room)
    for side in (left, right or left):
        for part in side.parts:
            finite.check(found, part, "Jacobians")
    return found if components else _summed(found.values())


def _all(of: Framework, left: Side, right: Side | None, request: Request, method: str, room: float) -> Parts:
    rows = left.blocks(request.batch_size, room)
    columns = rows if right is None else right.blocks(request.batch_size, room)
    found: list[list[Parts]] = []
    for i, row in enumerate(rows):
        first = of.jacobian(*row, method)
        line: list[Parts] = []
        for j, column in enumerate(columns):
            if right is None and j < i:
                line.append({name: of.mirrored(block) for name, block in found[j][i].items()})
                continue
            second = first if right is None and i == j else of.jacobian(*column, method)
            line.append(_contracted(first, second, left, lambda a, b: of.contract(a, b, request)))
        found.append(line)
    return {name: of.concatenate([of.concatenate([block[name] for block in line], 1) for line in found], 0)
            for name in found[0][0]}


def _same(of: Framework, left: Side, right: Side | None, request: Request, method: str, room: float) -> Parts:
    found: list[Parts] = []
    for first, second in _side_by_side(left.blocks(request.batch_size, room),
                                       None if right is None else right.blocks(request.batch_size, room)):
        one = of.jacobian(*first, method)
        other = one if second is None else of.jacobian(*second, method)
        found.append(_contracted(one, other, left, lambda a, b: of.contract_same(a, b, request)))
    return {name: of.concatenate([block[name] for block in found], 0) for name in found[0]}


Block = tuple[OwnNetwork, slice]


def _side_by_side(left: list[Block], right: list[Block] | None) -> Iterator[tuple[Block, Block | None]]:
    """Blocks of equal numbers of examples, where both sides have as many in all."""
    if right is None:
        yield from ((block, None) for block in left)
        return
    left, right = list(left), list(right)
    while left:
        (one, rows), (other, columns) = left.pop(0), right.pop(0)
        n = min(rows.stop - rows.start, columns.stop - columns.start)
        yield (one, slice(rows.start, rows.start + n)), (other, slice(columns.start, columns.start + n))
        if rows.start + n < rows.stop:
            left.insert(0, (one, slice(rows.start + n, rows.stop)))
        if columns.start + n < columns.stop:
            right.insert(0, (other, slice(columns.start + n, columns.stop)))


def _contracted(first: Parts, second: Parts, left: Side, contract: Callable[[Array, Array], Array]) -> Parts:
    return {name: contract(part, second[left.names.get(name, name)]) for name, part in first.items()
            if left.names.get(name, name) in second}


def _check(left: Side, right: Side, request: Request, method: str, pairs: Pairs) -> None:
    one, other = left.parts[0], right.parts[0]
    if method not in METHODS[one.framework]:
        raise InputError(f"method={method!r}: kernels between two networks, of pairs, or of examples of unlike shapes "
                         f"are made from Jacobians; choose one of {', '.join(METHODS[one.framework])}")
    if one.framework != other.framework or one.dtype != other.dtype:
        raise InputError(f"the two networks are {one.dtype} of {one.framework} and {other.dtype} of {other.framework}; "
                         "convert them to one")
    numbers = {part.n_outputs for part in (*left.parts, *right.parts)}
    unlike = {part.n_outputs for part in left.parts}, {part.n_outputs for part in right.parts}
    if max(map(len, unlike)) > 1 or (request.outputs != "full" and len(numbers) > 1):
        raise InputError(f"the outputs number {' and '.join(map(str, sorted(numbers)))}; "
                         + ("outputs='diagonal' and 'trace' need as many on both sides" if max(map(len, unlike)) == 1
                            else "all batches need as many: select one of a fixed shape, by select=..."))
    sizes = [sum(len(part.x1) for part in side.parts) for side in (left, right)]
    if pairs == "same" and sizes[0] != sizes[1]:
        raise InputError(f"pairs='same' takes as many examples in x2 as in x1, got {sizes[0]} and {sizes[1]}")
    if pairs not in (None, "same"):
        raise InputError(f"pairs={pairs!r} is not one of None, 'same'")
    if left is not right:
        _check_names(left, right)


def _check_names(left: Side, right: Side) -> None:
    """Raise `InputError` for parameters of one name and unlike shapes, or none in common; tell of those of one side."""
    ours, theirs = ({name: tuple(p.shape) for name, p in _named(side)} for side in (left, right))
    shared = {name: left.names.get(name, name) for name in ours if left.names.get(name, name) in theirs}
    if not shared:
        raise InputError(f"the two networks share no parameter, so that their kernel is 0: {', '.join(list(ours)[:5])} "
                         f"and {', '.join(list(theirs)[:5])}; parameters are shared by their names")
    for name, other in shared.items():
        if ours[name] != theirs[other]:
            raise InputError(f"parameter {name!r} has the shape {ours[name]} in one network and {theirs[other]} in the "
                             "other one; the kernel is a sum over parameters that are the same")
    alone = [*(name for name in ours if name not in shared), *(n for n in theirs if n not in shared.values())]
    if alone:
        warnings.warn(f"parameters that one of the two networks alone has contribute nothing: {', '.join(alone)}",
                      UserWarning, stacklevel=5)


def _named(side: Side) -> list[tuple[str, Array]]:
    own = side.parts[0]
    return face(own.framework).named(own.params)


def _framework(side: Side) -> Framework:
    return half(side.parts[0].framework).across()


def _summed(parts: Any) -> Array:
    first, *others = parts
    for part in others:
        first = first + part
    return first


def _slices(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
