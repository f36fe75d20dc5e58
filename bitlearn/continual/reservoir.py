"""Which examples a balanced memory of fixed size keeps, and where: the bookkeeping of a replay memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import starmap
from operator import setitem
from typing import Any

import numpy as np

from bitlearn import streams
from bitlearn.continual.draws import words
from bitlearn.rng import Key
from bitlearn.safetensors import Types

#: The largest capacity and number of classes: 32-bit words choose among them.
MOST = 2**32 - 1
#: Bytes of the random priority of a class, which is not stored in a file but derived from the key.
PRIORITY_BYTES = 4
#: Examples placed at a time, to bound the working memory.
_BLOCK = 512
#: Assignments that are made together: an array, an index, and a value.
Writes = list[tuple[np.ndarray, Any, Any]]


class Reservoir:
    """Decides for each example of a stream where a memory stores it, if at all.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        The bookkeeping, with the types from `types`; changed in place.
    key : Key
        The stream of random bits: the n-th example overall uses word n.

    Notes
    -----
    Examples are processed one by one, so nothing depends on how they are divided into calls. While places are free, an
    example takes the next one. From then on ``order`` lists the places by class, and ``ends[c]`` is where those of
    class c end in the list.

    A class with ``seen`` examples so far has the pairs ``(r, c)``, ``1 <= r <= seen``. The memory holds as many
    examples of a class as it has pairs among the first `capacity` of all pairs, ordered by r, then by the class's
    random priority, then by c. So a new example may bring its class a place from the largest class, which loses a
    random example. Otherwise its class is a reservoir, which it enters by Algorithm R (Vitter, "Random sampling with a
    reservoir", ACM TOMS 1985): the m-th example replaces number ``floor(word * m / 2**32)`` of the k held ones if this
    is below k. Either way the held examples of a class remain a uniform sample of all it had (bias: ``m / 2**32``, with
    m counted up to 2**32 - 1).

    A step costs a few reads and writes; one that takes a place from another class takes time linear in the number of
    classes.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], key: Key):
        self.labels, self.order = arrays["labels"], arrays["order"]
        self.ends, self.seen, self.added = arrays["ends"], arrays["seen"], arrays["added"]
        self._stream = key.as_words()
        classes = len(self.seen)
        self.priority = words(key.at(streams.CLASS_PRIORITY).as_words(), 0, classes)

    @staticmethod
    def types(capacity: int, classes: int) -> Types:
        """Return the shape and dtype of each array by name, with integers as narrow as possible."""
        return {
            "labels": ((capacity,), np.min_scalar_type(classes - 1)),
            "order": ((capacity,), np.min_scalar_type(capacity - 1)),
            "ends": ((classes,), np.min_scalar_type(capacity)),
            "seen": ((classes,), np.dtype(np.int64)),
            "added": ((1,), np.dtype(np.int64)),
        }

    def __len__(self) -> int:
        return min(len(self.labels), self.added.item(0))

    @property
    def counts(self) -> np.ndarray:
        """How many examples of each class are held: int64, shape (classes,)."""
        if self.added.item(0) < len(self.labels):
            return self.seen.copy()
        counts = self.ends.astype(np.int64)
        counts[1:] -= self.ends[:-1]
        return counts

    def check(self) -> None:
        """Raise ValueError if the arrays hold impossible values."""
        size, capacity, classes = len(self), len(self.labels), len(self.seen)
        labels, seen = self.labels[:size], self.seen
        if self.added[0] < 0 or seen.min() < 0 or seen.sum(dtype=object) != self.added[0]:
            raise ValueError("a memory must have seen as many examples as were added, got other numbers")
        if size and labels.max() >= classes:
            raise ValueError(f"labels of a memory must be below {classes}, got {labels.max()}")
        held = np.bincount(labels, minlength=classes)
        if (held > seen).any() or (size < capacity and (held != seen).any()):
            raise ValueError("a memory must hold examples that were added to it, got others")
        if size == capacity and not (
            np.array_equal(self.ends, np.cumsum(held))
            and np.array_equal(np.sort(self.order), np.arange(capacity))
            and np.array_equal(self.labels[self.order], np.repeat(np.arange(classes), held))
        ):
            raise ValueError("a memory must list its places by class, got another list")

    # --- one example ---

    def place(self, label: int, writes: Writes) -> int | None:
        """Decide on one example of a class.

        Parameters
        ----------
        label : int
        writes : list
            The assignments to make, for `make`, are appended to it.

        Returns
        -------
        int or None
            The example's place, or None if it is not kept.
        """
        number, capacity = self.added.item(0), len(self.labels)
        if number >= capacity:
            return self._step(writes, label, words(self._stream, number, 1).item(0))
        writes += (
            (self.labels, number, label),
            (self.seen, label, self.seen.item(label) + 1),
            (self.added, 0, number + 1),
        )
        if number + 1 == capacity:
            self._list(writes, np.array([label]))
        return number

    def _step(self, writes: Writes, label: int, word: int, ranks: np.ndarray | None = None) -> int | None:
        """Plan what an example changes in a full memory; return its place, or None if it is not kept.

        `ranks` are those of the classes, updated for the next step; without them they are computed when needed.
        """
        ends, count = self.ends, self.seen.item(label) + 1
        start = ends.item(label - 1) if label else 0
        held, slot = ends.item(label) - start, None
        if held == count - 1 and (donor := self._donor(label, count, ranks)) is not None:
            slot = self._transfer(writes, donor, label, word)
        elif (place := word * min(count, MOST) >> 32) < held:
            slot = self.order.item(start + place)
        writes += (self.seen, label, count), (self.added, 0, self.added.item(0) + 1)
        return slot

    def _ranks(self) -> np.ndarray:
        """Return for each class the rank of its last pair."""
        return self.counts.astype(np.uint64) << np.uint64(32) | self.priority

    def _donor(self, label: int, count: int, ranks: np.ndarray | None) -> int | None:
        """Return the class that loses a place to one with this many examples so far, or None."""
        ranks = self._ranks() if ranks is None else ranks
        largest = len(ranks) - 1 - int(ranks[::-1].argmax())  # the last one if several are equal
        mine = count << 32 | self.priority.item(label)
        if (mine, label) > (ranks.item(largest), largest):
            return None
        ranks[largest] -= np.uint64(2**32)
        ranks[label] = mine
        return largest

    def _transfer(self, writes: Writes, donor: int, label: int, word: int) -> int:
        """Plan to move a random place from one class to another, and return it."""
        order, ends = self.order, self.ends
        start, end = ends.item(donor - 1) if donor else 0, ends.item(donor)
        chosen = start + (word * (end - start) >> 32)
        slot = order.item(chosen)
        # In `order`, the place at the donor's near end fills the slot of the chosen one. Each class in between shifts
        # by one slot: the place at its far end moves to its near end. A class without places shares a slot with the
        # next one; of several places written to a slot the last one stays, that of the class nearer to `label`.
        if label < donor:
            span, moved = slice(label, donor), ends[label:donor] + 1
            rooms = ends[label:donor][::-1].astype(np.intp)
        else:
            span, moved = slice(donor, label), ends[donor:label] - 1
            rooms = moved.astype(np.intp)
        handed = order.take(rooms)
        handed[:-1] = handed[1:]
        handed[-1] = slot
        writes += (
            (order, chosen, order.item(rooms.item(0))),
            (order, rooms, handed),
            (ends, span, moved),
            (self.labels, slot, label),
        )
        return slot

    def _list(self, writes: Writes, last: np.ndarray) -> None:
        """Plan to list by class the places of a memory that the last labels fill."""
        every = self.labels.copy()
        every[len(every) - len(last) :] = last
        ends = np.cumsum(np.bincount(every, minlength=len(self.ends)))
        writes += (self.order, slice(None), np.argsort(every, kind="stable")), (self.ends, slice(None), ends)

    # --- many examples ---

    def place_all(self, labels: np.ndarray) -> Iterator[tuple[np.ndarray | slice, np.ndarray | slice]]:
        """Decide on many examples in the same way, and yield which of them go to which places, some at a time.

        Parameters
        ----------
        labels : ndarray of int64, shape (count,)

        Yields
        ------
        rows, slots : ndarray of int, or slice
            If several rows have the same place, the last one stays.
        """
        number = self.added.item(0)
        filling = max(min(len(self.labels) - number, len(labels)), 0)
        if filling:
            first, stop = labels[:filling], number + filling
            writes: Writes = [(self.labels, slice(number, stop), first), (self.added, 0, stop), self._counted(first)]
            if stop == len(self.labels):
                self._list(writes, first)
            make(writes)
            yield slice(filling), slice(number, stop)
        for at in range(filling, len(labels), _BLOCK):
            rows, slots = self._block(labels[at : at + _BLOCK])
            yield at + rows, slots

    def _counted(self, labels: np.ndarray) -> tuple[np.ndarray, slice, np.ndarray]:
        return self.seen, slice(None), self.seen + np.bincount(labels, minlength=len(self.seen))

    def _block(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Decide on examples for a full memory; return those that are kept, and their places."""
        number, held = self.added.item(0), self.counts
        drawn = words(self._stream, number, len(labels))
        if (held == self.seen)[labels].any():  # some class may still gain places
            ranks, pairs = self._ranks(), zip(labels.tolist(), drawn.tolist(), strict=True)
            found = [self._at_once(label, word, ranks) for label, word in pairs]
            kept = np.array([(row, slot) for row, slot in enumerate(found) if slot is not None], dtype=np.intp)
            return kept.reshape(-1, 2)[:, 0], kept.reshape(-1, 2)[:, 1]
        # For each example, how many of its class there have been, including itself.
        by_class = np.argsort(labels, kind="stable")
        sizes = np.bincount(labels, minlength=len(held))
        count = np.empty(len(labels), dtype=np.int64)
        count[by_class] = np.arange(1, len(labels) + 1) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        count = np.minimum(count + self.seen[labels], MOST).astype(np.uint64)
        place = (drawn * count >> np.uint64(32)).astype(np.int64)
        rows = np.flatnonzero(place < held[labels])
        slots = self.order[(self.ends - held)[labels[rows]] + place[rows]]
        make([self._counted(labels), (self.added, 0, number + len(labels))])
        return rows, slots

    def _at_once(self, label: int, word: int, ranks: np.ndarray) -> int | None:
        writes: Writes = []
        slot = self._step(writes, label, word, ranks)
        make(writes)
        return slot


def make(writes: Writes) -> None:
    """Make assignments in order, in a single C call that no signal handler can interrupt."""
    deque(starmap(setitem, writes), maxlen=0)
