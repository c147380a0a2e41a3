"""Examples of the user's own that come in batches: a list of arrays, or a PyTorch DataLoader."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from impls.given.network import OwnNetwork, check_finite
from impls.protocol import Array
from reference import InputError

REMEDY = "give one array, or batches that can be read again: a list of arrays, or a DataLoader that does not shuffle"


def is_batches(x: Any, what: str) -> bool:
    """Whether `x` holds arrays rather than being one. Raises `InputError` for what can be read only once."""
    if hasattr(x, "shape"):
        return False
    if isinstance(x, Iterator):
        raise InputError(f"{what} is a {type(x).__name__}, which can be read only once, and batches are read several "
                         f"times; {REMEDY}")
    return isinstance(x, Iterable) and not isinstance(x, str | bytes | dict)


class OwnBatches:
    """Re-iterable: each batch as `convert` makes it, of a pair (x, y) its x. Its length is the number of examples.

    Reads all of them once to check them; `summary` of a batch is compared whenever it is read again. `join`: several
    laid end to end. Raises `InputError` for batches of no or of unlike examples, with infinities, or that change.
    """

    def __init__(self, source: Iterable[Any], what: str, convert: Callable[[Any, str], Array],
                 summary: Callable[[Array], float], join: Callable[[list[Array]], Array]) -> None:
        self.source, self.what, self.convert, self.summary, self.join = source, what, convert, summary, join
        self.known: list[tuple[int, float]] = []
        self.shape: tuple[int, ...] = ()
        """Of one example."""
        for batch in self._read():
            found = summary(batch)
            check_finite(found - found == 0, what)
            self._check_shape(tuple(batch.shape))
            self.known.append((len(batch), found))
        if not self.known:
            raise InputError(f"{what} holds no batch; it needs at least one example")

    def __len__(self) -> int:
        return sum(size for size, _ in self.known)

    def __iter__(self) -> Iterator[Array]:
        seen = 0
        for batch in self._read():
            if seen == len(self.known) or self.known[seen] != (len(batch), self.summary(batch)):
                raise InputError(f"the batches of {self.what} change from one reading to the next; does the DataLoader "
                                 f"shuffle? {REMEDY}")
            seen += 1
            yield batch
        if seen < len(self.known):
            raise InputError(f"{self.what} held {len(self.known)} batches when it was read first, and now {seen}; "
                             f"{REMEDY}")

    def __getitem__(self, number: int) -> Array:
        """One batch of a source that gives single ones, as a list does."""
        batch = self._converted(self.source[number])  # pyright: ignore[reportIndexIssue]  the caller knows its source
        if self.known[number] != (len(batch), self.summary(batch)):
            raise InputError(f"batch {number} of {self.what} has changed since it was read first; {REMEDY}")
        return batch

    def examples(self, rows: slice) -> Array:
        """These examples, of such a source: the batches that hold some of them are read."""
        found: list[Array] = []
        begun = 0
        for number, (size, _) in enumerate(self.known):
            first, last = max(rows.start - begun, 0), min(rows.stop - begun, size)
            if first < last:
                found.append(self[number][first:last])
            begun += size
        return found[0] if len(found) == 1 else self.join(found)

    def _read(self) -> Iterator[Array]:
        return map(self._converted, self.source)

    def _converted(self, batch: Any) -> Array:
        return self.convert(batch[0] if isinstance(batch, Sequence) and len(batch) else batch, self.what)

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        if not shape or 0 in shape:
            raise InputError(f"{self.what} has an empty batch (shape {shape}); each needs at least one example")
        if self.known and shape[1:] != self.shape:
            raise InputError(f"{self.what} must hold examples of one shape, got {self.shape} and {shape[1:]}")
        self.shape = shape[1:]


def in_batches(own: OwnNetwork) -> bool:
    """Whether x1 or x2 are batches, and no array."""
    return isinstance(own.x1, OwnBatches) or isinstance(own.x2, OwnBatches)
