"""Replay memory: examples in an array that is allocated once, and the bookkeeping of which are kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import DTypeLike

from bitlearn import streams
from bitlearn.bits import WORD_BITS, Bits, tail_mask
from bitlearn.continual.draws import distinct
from bitlearn.continual.reservoir import MOST, Reservoir, Writes, make
from bitlearn.continual.stored import kind_of, size, types
from bitlearn.continual.stores import InMemory, Mapped
from bitlearn.errors import brief
from bitlearn.nn.frozen import Batch
from bitlearn.ops import check
from bitlearn.rng import Key
from bitlearn.threads import uninterrupted


class ReplayBuffer:
    """A memory of examples, balanced over all classes seen, with reservoir sampling within each class.

    Parameters
    ----------
    capacity : int
        The largest number of examples it holds.
    shape : int or tuple of int
        The shape of one example: the number of its values, or that of a map (height, width, channels).
    classes : int
        How many classes there are so far; `grow` makes room for more.
    dtype : {"bits", "int8", "uint8", "float32"} or dtype
        The type values are stored as. Bits are packed ±1 values: the last axis takes whole words, so a cut whose
        channels fill 64-bit words wastes nothing. Pixels fit uint8, codes int8.
    key : Key, optional
        The stream of random bits that chooses what is kept; by default that of seed 0.
    path : path-like, optional
        A memory-mapped file that holds the memory: created if there is none, otherwise continued as it was left.

    Attributes
    ----------
    examples : ndarray, shape (capacity, ...)
        The stored examples; uint64 words for bits. The first ``len(self)`` rows are in use.

    Raises
    ------
    BlockingIOError
        If another process has locked the file.
    TypeError, ValueError
        If a number is below 1, or there is no such dtype; if the file belongs to another memory or is damaged.

    Notes
    -----
    Places are dealt in rounds, one to each class that has examples left. So classes with enough examples differ by at
    most one place, and places that a rare class leaves free go to the others. Every class is trimmed to its share, not
    only those of new examples. If there are not enough places for a round (the last one, or the first one if there are
    more classes than places), classes get one in a random order fixed by the key: every choice of classes is equally
    likely, whichever came first. A class that gets no place then gets none later.

    Within a class, the examples are a uniform sample of all those seen: see `Reservoir`. Which are kept depends only on
    the key and on the examples in their order: one at a time or all at once, the memory is the same bit for bit.

    An addition takes the same time whatever the capacity, except for the one that fills the memory, and time up to
    linear in the number of classes while a class gains places. An exception from a signal handler, such as that of
    Ctrl-C, finds each addition either complete or not begun.

    A memory in a file survives if its process is killed, in the state after the last addition, which may be ahead of a
    checkpoint: `restore` sets it back. A file raises an error if the process was killed within an addition
    (microseconds), if the machine stopped since the last `flush` or `close`, or if another process truncated or wrote
    to it. No other process can use it meanwhile.

    Examples
    --------
    >>> import bitlearn as bl
    >>> memory = ReplayBuffer(4, 3, classes=2)
    >>> memory.add(bl.Bits(bl.pack(np.ones((6, 3))), 3), np.array([0, 0, 0, 0, 0, 1]))
    >>> len(memory), memory.counts
    (4, array([3, 1]))
    >>> bits, labels = memory.sample(2, Key(0, step=1))
    >>> bits.shape, labels.dtype
    ((2, 3), dtype('int64'))
    >>> pixels = ReplayBuffer(100, (8, 8, 1), classes=10, dtype="uint8")
    >>> pixels.nbytes, pixels.nbytes - 100 * 64 - 100
    (6738, 238)
    """

    def __init__(
        self,
        capacity: int,
        shape: int | tuple[int, ...],
        classes: int,
        *,
        dtype: DTypeLike = "bits",
        key: Key | None = None,
        path: str | os.PathLike[str] | None = None,
    ):
        sizes = shape if isinstance(shape, tuple | list) else (shape,)
        self.capacity = check.count("capacity", capacity, least=1, most=MOST)
        self.shape = tuple(check.count("a size of shape", size, least=1) for size in sizes)
        classes = check.count("classes", classes, least=1, most=MOST)
        if not self.shape:
            raise ValueError("shape must have at least one axis, got none")
        self.kind = kind_of(dtype)
        self.key = Key(0, stream=streams.RESERVOIR) if key is None else key
        if not isinstance(self.key, Key):
            raise TypeError(f"key must be a Key, got {brief(key)}")
        self._types = partial(types, self.capacity, self.shape, dtype=self.kind)
        self._store: InMemory | Mapped
        if path is None:
            self._store = InMemory(self._types, classes)
        else:
            settings = {"capacity": self.capacity, "shape": list(self.shape), "dtype": self.kind}
            settings["key"] = [int(self.key.seed), int(self.key.step), int(self.key.stream)]
            self._store = Mapped(path, settings, self._types, classes)
        try:
            self._use(self._store.arrays)
            if path is not None:
                self._check()
            self.grow(classes)
        except BaseException:
            self.close()
            raise

    types = staticmethod(types)
    size = staticmethod(size)

    # --- its arrays ---

    def _use(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Use the arrays of the store; those with an entry per class are cut to the present number of classes."""
        classes = self._store.classes
        own = {name: arrays[name][:classes] for name in ("ends", "seen")}
        self.examples, self._books = arrays["examples"], Reservoir({**arrays, **own}, self.key)

    @property
    def classes(self) -> int:
        """The number of classes so far."""
        return len(self._books.seen)

    @property
    def labels(self) -> np.ndarray:
        """The class of each place, in the smallest unsigned type that holds the classes, shape (capacity,)."""
        return self._books.labels

    @property
    def seen(self) -> np.ndarray:
        """How many examples of each class have been seen: int64, shape (classes,)."""
        return self._books.seen

    @property
    def counts(self) -> np.ndarray:
        """How many examples of each class it holds: int64, shape (classes,)."""
        return self._books.counts

    @property
    def nbytes(self) -> int:
        """The bytes of examples, labels and bookkeeping at capacity, however many examples there are."""
        return self.size(self.capacity, self.shape, self.classes, self.kind)

    @property
    def file_bytes(self) -> int:
        """The bytes of its file: `nbytes`, a header, and room for more classes. 0 if it has none."""
        return self._store.file_bytes

    def __len__(self) -> int:
        return len(self._books)

    def __repr__(self) -> str:
        return (
            f"ReplayBuffer({len(self)} of {self.capacity} examples of {self.kind} {self.shape}, {self.classes} classes)"
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the live arrays, everything a checkpoint has to hold; `grow` and `restore` may replace them."""
        books = self._books
        found = {name: getattr(books, name) for name in ("labels", "order", "ends", "seen", "added")}
        return {"examples": self.examples} | found

    def _check(self) -> None:
        """Raise ValueError if the arrays hold impossible values."""
        self._books.check()
        n = self.shape[-1]
        if self.kind == "bits" and n % WORD_BITS and (self.examples[..., -1] & ~tail_mask(n)).any():
            raise ValueError(f"examples must have no bit past n={n} values set, got some")

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Restore the contents of `arrays`, by copies: the memory continues as the original would have, bit for bit.

        Parameters
        ----------
        arrays : dict of str to ndarray
            Arrays of a memory with the same capacity, shape, dtype and key, and any number of classes.

        Raises
        ------
        ValueError
            If they belong to another memory, or hold impossible values; nothing is changed then.
        """
        self._store.check(whole=False)
        seen = arrays.get("seen", self.seen)
        classes = len(seen) if seen.ndim else 0
        wanted = self._types(max(classes, 1))
        found = {name: (array.shape, array.dtype) for name, array in arrays.items()}
        for name in {**wanted, **found}:
            if wanted.get(name) != found.get(name):
                raise ValueError(f"{name} of a memory must be {wanted.get(name)}, got {found.get(name)}")
        given = object.__new__(ReplayBuffer)
        given.shape, given.kind, given.examples = self.shape, self.kind, arrays["examples"]
        given._books = Reservoir(arrays, self.key)
        given._check()
        self._take({name: array.copy() for name, array in arrays.items()}, classes)

    def grow(self, classes: int) -> None:
        """Make room for more classes, without examples so far; labels are widened if necessary.

        Parameters
        ----------
        classes : int
            The total number; nothing changes if there are already as many.

        Raises
        ------
        TypeError, ValueError
            If it is not such a number.
        """
        classes = check.count("classes", classes, least=1, most=MOST)
        if classes <= self.classes:
            return
        self._store.check()
        old, wanted, more = self.arrays(), self._types(classes), classes - self.classes
        new = {name: array.astype(wanted[name][1], copy=False) for name, array in old.items()}
        # The list of a class without places ends where the one before it ends.
        new["ends"] = np.append(old["ends"], np.repeat(old["ends"][-1:], more))
        new["seen"] = np.append(old["seen"], np.zeros(more, dtype=np.int64))
        self._take(new, classes)

    def _take(self, arrays: dict[str, np.ndarray], classes: int) -> None:
        """Replace the arrays by ones for this many classes, all or none."""
        store = self._store

        def take() -> None:
            if isinstance(store, InMemory) or classes > store.room:
                store.resize(arrays, classes)
            else:
                make(store.begin())
                for name, array in arrays.items():
                    live = store.arrays[name]
                    if not np.may_share_memory(live, array):
                        live[: len(array)] = array
                make(store.set_classes(classes))
                make(store.end())
            self._use(store.arrays)

        uninterrupted(take)

    def shrunk(self, capacity: int) -> ReplayBuffer:
        """Return a memory with fewer places and a balanced choice of the examples; it continues with the same stream.

        Parameters
        ----------
        capacity : int

        Returns
        -------
        ReplayBuffer
            A memory without a file. It still holds a uniform sample of each class: the key determines which examples
            are left out.
        """
        found = ReplayBuffer(capacity, self.shape, self.classes, dtype=self.kind, key=self.key)
        held, counts = len(self), self.counts
        while counts.sum() > capacity:
            counts[counts.argmax()] -= 1
        drawn = Key(self.key.seed, self.key.step, streams.SHRINKING).permutation(held)
        labels = self.labels[drawn]
        rank = np.empty(held, dtype=np.int64)  # of an example among those of its class, in the drawn order
        for label in np.unique(labels):
            rank[labels == label] = np.arange((labels == label).sum())
        kept = np.sort(drawn[rank < counts[labels]])
        arrays = {name: array.copy() for name, array in found.arrays().items()}
        arrays["examples"][: len(kept)], arrays["labels"][: len(kept)] = self.examples[kept], self.labels[kept]
        arrays["seen"][:], arrays["added"][:] = self.seen, self._books.added
        if len(kept) == capacity:
            arrays["order"][:] = np.argsort(arrays["labels"], kind="stable")
            arrays["ends"][:] = np.cumsum(counts)
        found.restore(arrays)
        return found

    # --- examples ---

    def add(self, x: Batch, labels: np.ndarray) -> None:
        """Add examples in order.

        Parameters
        ----------
        x : Bits or ndarray, shape (count, ...)
            Bits if it stores bits, otherwise an array of the memory's dtype.
        labels : ndarray of int, shape (count,)

        Raises
        ------
        RuntimeError
            If an earlier addition failed half-way.
        TypeError
            If examples have the wrong type, or labels are not integers.
        ValueError
            If shapes do not fit, a label is outside the classes, or another process truncated or wrote to the file;
            nothing is changed then.
        """
        values, labels = self._values(x), check.array("labels", labels)
        if values.shape[1:] != self.examples.shape[1:] or labels.shape != (len(values),):
            given = x.shape if isinstance(x, Bits) else values.shape
            wanted = ", ".join(map(str, self.shape))
            raise ValueError(f"x must have shape (count, {wanted}) and as many labels, got {given} and {labels.shape}")
        if labels.dtype.kind not in "iu":
            raise TypeError(f"labels must be integers, got {labels.dtype}")
        one = len(labels) == 1
        if len(labels):
            low, high = (labels.item(0),) * 2 if one else (int(labels.min()), int(labels.max()))
            if low < 0 or high >= self.classes:
                raise ValueError(f"labels must lie in [0, {self.classes}), got {low} to {high}")
        self._store.check()
        if one:
            self._add_one(low, values)
        elif len(labels):
            uninterrupted(lambda: self._add_all(labels.astype(np.int64), values))

    def _values(self, x: Batch) -> np.ndarray:
        """Return examples as an array of the stored type."""
        if self.kind == "bits":
            if not isinstance(x, Bits):
                raise TypeError(f"x must be Bits, got {brief(x)}")
            return x.words if x.n == self.shape[-1] else np.empty((len(x), 0))
        if not isinstance(x, np.ndarray) or x.dtype != self.examples.dtype or not x.ndim:
            raise TypeError(f"x must be an array of {self.kind}, got {brief(x)}")
        return x

    def _add_one(self, label: int, values: np.ndarray) -> None:
        writes: Writes = self._store.begin()
        slot = self._books.place(label, writes)
        if slot is not None:
            writes.append((self.examples, slot, values[0]))
        writes += self._store.end()
        make(writes)

    def _add_all(self, labels: np.ndarray, values: np.ndarray) -> None:
        make(self._store.begin())
        for rows, slots in self._books.place_all(labels):
            self.examples[slots] = values[rows]
        make(self._store.end())

    def sample(self, count: int, key: Key) -> tuple[Batch, np.ndarray]:
        """Return random examples.

        Parameters
        ----------
        count : int
        key : Key
            The key of this call, used for nothing else.

        Returns
        -------
        x : Bits or ndarray, shape (count, ...)
        labels : ndarray of int64, shape (count,)
            All different up to ``len(self)``; beyond that, each example equally often, plus a remainder. An empty
            memory gives none. The time depends on `count`, not on the memory's size.

        Raises
        ------
        RuntimeError, ValueError
            If `count` is negative; and as `add`.
        """
        count = check.count("count", count)
        self._store.check()
        size = len(self)
        rounds, rest = divmod(count, size) if size else (0, 0)
        index = distinct(rest, size, key)
        if rounds:
            index = np.concatenate([np.tile(np.arange(size), rounds), index])
        found, labels = self.examples.take(index, axis=0), self.labels.take(index).astype(np.int64)
        return Bits(found, self.shape[-1]) if self.kind == "bits" else found, labels

    # --- its file ---

    def flush(self) -> None:
        """Write a memory in a file to disk; from then until the next addition it survives a crash of the machine."""
        self._store.flush()

    def close(self) -> None:
        """Flush and release the memory's file, if it has one."""
        self._store.close()

    def __enter__(self) -> ReplayBuffer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
