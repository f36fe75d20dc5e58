"""Replay memory: packed bits and labels in arrays that are allocated once."""

from __future__ import annotations

import numpy as np

from bitlearn.bits import WORD, Bits, words_for
from bitlearn.rng import Key


def quotas(seen: np.ndarray, capacity: int) -> np.ndarray:
    """Return how many examples of each class a balanced memory holds.

    Parameters
    ----------
    seen : ndarray of int, shape (classes,)
        How many there have been of each class.
    capacity : int

    Returns
    -------
    ndarray of int64, shape (classes,)
        They sum to ``min(capacity, seen.sum())``. Classes of which there were enough differ by at most 1, the lower
        labels having the more; what a rare class leaves free goes to the others.

    Examples
    --------
    >>> quotas(np.array([9, 2, 9, 0]), 10)
    array([4, 2, 4, 0])
    """
    result = np.zeros(len(seen), dtype=np.int64)
    left = min(capacity, int(seen.sum()))
    while left:
        open_classes = np.flatnonzero(result < seen)
        each = left // len(open_classes)
        if each == 0:
            result[open_classes[:left]] += 1
            break
        more = np.minimum(each, seen[open_classes] - result[open_classes])
        result[open_classes] += more
        left -= int(more.sum())
    return result


class ReplayBuffer:
    """A memory of packed examples, balanced over all classes seen, with reservoir sampling inside a class.

    Parameters
    ----------
    capacity : int
        How many examples it holds at most.
    shape : int or tuple of int
        The shape of one example's ±1 values: their number, or that of a map (height, width, channels). Each run of
        the last axis is packed into whole words, so a cut whose channels fill 64-bit words wastes nothing.
    classes : int

    Raises
    ------
    ValueError
        Where a number is below 1.

    Notes
    -----
    Whenever examples come in, every class is trimmed to its share, not only those that came in, so the capacity is
    never passed. Inside a class this is Algorithm R (Vitter, "Random sampling with a reservoir", ACM TOMS 1985): at all
    times what is stored of a class is a uniform sample of what there was of it (up to ``seen / 2**32``). A share never
    grows while examples of its class are missing, so trimming keeps that.

    Examples
    --------
    >>> import bitlearn as bl
    >>> memory = ReplayBuffer(4, 3, classes=2)
    >>> memory.add(bl.Bits(bl.pack(np.ones((6, 3))), 3), np.array([0, 0, 0, 0, 0, 1]), Key(0))
    >>> len(memory), np.bincount(memory.labels[: len(memory)])
    (4, array([3, 1]))
    >>> bits, labels = memory.sample(2, Key(0, step=1))
    >>> bits.shape, labels.dtype
    ((2, 3), dtype('int64'))
    """

    def __init__(self, capacity: int, shape: int | tuple[int, ...], classes: int):
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        for name, value in (("capacity", capacity), ("shape", min(shape, default=0)), ("classes", classes)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.shape = shape
        # `full`, not `zeros`: pages that nobody wrote to would not be there yet.
        self.words = np.full((capacity, *shape[:-1], words_for(shape[-1])), 0, dtype=WORD)
        self.labels = np.full(capacity, 0, dtype=np.min_scalar_type(classes - 1))
        self.seen = np.full(classes, 0, dtype=np.int64)

    @property
    def capacity(self) -> int:
        """How many examples it holds at most."""
        return len(self.labels)

    @property
    def nbytes(self) -> int:
        """The bytes of bits, labels and counts, which do not depend on how many examples there are."""
        return sum(array.nbytes for array in self.arrays().values())

    def __len__(self) -> int:
        return min(self.capacity, int(self.seen.sum()))

    def grow(self, classes: int) -> None:
        """Take more classes, of which nothing was seen yet."""
        seen = np.full(classes, 0, dtype=np.int64)
        seen[: len(self.seen)] = self.seen
        self.seen, self.labels = seen, self.labels.astype(np.min_scalar_type(classes - 1))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the live arrays, all that a checkpoint has to hold: filling them restores the memory."""
        return {"words": self.words, "labels": self.labels, "seen": self.seen}

    def add(self, bits: Bits, labels: np.ndarray, key: Key) -> None:
        """Take in examples, and trim every class to its share.

        Parameters
        ----------
        bits : Bits, shape (count, ...)
        labels : ndarray of int, shape (count,)
        key : Key
            Of this call, and for nothing else.

        Raises
        ------
        TypeError
            Where labels are not integers.
        ValueError
            Where shapes do not fit or a label is outside the classes; nothing is changed then.
        """
        labels = np.asarray(labels)
        if bits.shape[1:] != self.shape or labels.shape != (len(bits),):
            raise ValueError(
                f"bits must have shape (count, {', '.join(map(str, self.shape))}) and as many labels, got {bits.shape} "
                f"and labels {labels.shape}"
            )
        if labels.dtype.kind not in "iu":
            raise TypeError(f"labels must be integers, got {labels.dtype}")
        classes = len(self.seen)
        if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
            raise ValueError(f"labels must lie in [0, {classes}), got {labels.min()} to {labels.max()}")
        labels = labels.astype(np.int64)
        random = key.words(self.capacity + len(labels)).astype(np.uint64)
        size, seen = len(self), self.seen + np.bincount(labels, minlength=classes)
        share = quotas(seen, self.capacity)
        slots = [self._trimmed(np.flatnonzero(self.labels[:size] == c), share[c], random) for c in range(classes)]
        used = np.zeros(self.capacity, dtype=bool)
        for kept in slots:
            used[kept] = True
        # As many are free as the classes that grow need: what leaves makes room, and no gap stays.
        free = np.flatnonzero(~used)
        for label, kept in enumerate(slots):
            wanted = share[label] - len(kept)
            place = np.concatenate([kept, free[:wanted]])
            free = free[wanted:]
            self._stream(place, len(kept), np.flatnonzero(labels == label), bits, random[self.capacity :], label)
        self.seen[...] = seen

    @staticmethod
    def _trimmed(slots: np.ndarray, share: int, random: np.ndarray) -> np.ndarray:
        """Return a random choice of `share` of the slots."""
        return slots[np.argsort(random[slots], kind="stable")[:share]]

    def _stream(
        self, place: np.ndarray, filled: int, rows: np.ndarray, bits: Bits, random: np.ndarray, label: int
    ) -> None:
        """Pass a class's new rows through its reservoir, the slots `place`, of which `filled` hold something."""
        if not len(place):
            return
        start = len(place) - filled
        # The count of examples up to and with each: one of number m stays with probability len(place) / m.
        number = self.seen[label] + 1 + np.arange(start, len(rows))
        drawn = (random[rows[start:]] * number.astype(np.uint64)) >> np.uint64(32)
        chosen = drawn < len(place)
        target = np.concatenate([np.arange(filled, len(place)), drawn[chosen].astype(np.int64)])
        source = np.concatenate([rows[:start], rows[start:][chosen]])
        # Of several rows for one slot the last stays, as it would one by one.
        _, last = np.unique(target[::-1], return_index=True)
        last = len(target) - 1 - last
        self.words[place[target[last]]] = bits.words[source[last]]
        self.labels[place[target[last]]] = label

    def sample(self, count: int, key: Key) -> tuple[Bits, np.ndarray]:
        """Return random examples.

        Parameters
        ----------
        count : int
        key : Key
            Of this call, and for nothing else.

        Returns
        -------
        bits : Bits, shape (count, ...)
        labels : ndarray of int64, shape (count,)
            All different up to ``len(self)``; beyond that each example the same number of times, but for the rest.
            None from an empty memory.

        Raises
        ------
        ValueError
            Where `count` is negative.
        """
        if count < 0:
            raise ValueError(f"count must be at least 0, got {count}")
        size = len(self)
        rounds, rest = divmod(count, size) if size else (0, 0)
        index = np.concatenate([np.tile(np.arange(size), rounds), key.permutation(size)[:rest]])
        return Bits(self.words[index], self.shape[-1]), self.labels[index].astype(np.int64)
