"""Exact sums of features by class and by pair, in integers no wider than they need; what is added can be taken off."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

from bitlearn.continual.features import overlaps, planes
from bitlearn.ops.packing import pack

Label = int | str

#: Features whose pairs are formed at a time: bounds the work memory.
_ROWS = 64
#: More examples than any count; 255**2 times as many fit 7 bytes.
MOST_EXAMPLES = 2**39
_UNITS = {"B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def budget_bytes(budget: int | str) -> int:
    """Return a number of bytes, given so or with a unit.

    Raises
    ------
    ValueError
        Where it is neither.

    Examples
    --------
    >>> budget_bytes("32 KiB"), budget_bytes("1.5MiB"), budget_bytes(100)
    (32768, 1572864, 100)
    """
    text = str(budget).strip()
    number = text.rstrip("BKMGIbkmgi")
    try:
        return int(float(number) * _UNITS[text[len(number) :].upper() or "B"])
    except (KeyError, ValueError, OverflowError):
        raise ValueError(f"memory_budget must be bytes, or a number of KiB or MiB, got {budget!r}") from None


def _bytes_of(most: int) -> int:
    """Return how many bytes hold integers from 0 to `most`."""
    return -(-most.bit_length() // 8)


def narrowed(values: np.ndarray, width: int) -> np.ndarray:
    """Return integers in so many bytes each, the lowest first, along a new last axis."""
    return np.ascontiguousarray(values, dtype="<i8")[..., None].view(np.uint8)[..., :width]


def widened(stored: np.ndarray) -> np.ndarray:
    """Return the int64 of what `narrowed` gave."""
    whole = np.zeros((*stored.shape[:-1], 8), dtype=np.uint8)
    whole[..., : stored.shape[-1]] = stored
    return whole.view("<i8")[..., 0]


class Statistics:
    """Counts, sums of features by class, and sums of the products of features by pair.

    Parameters
    ----------
    features : int
    largest : int
        The largest code of a feature, ``2**bits - 1``.
    pairs : bool
        Whether products are summed.
    examples : int
        The most examples that are held at a time. It sets the width of an integer: no sum can overflow.

    Notes
    -----
    Sums of up to ``examples * largest`` and products of up to ``examples * largest**2`` take the fewest whole bytes
    that hold them, 3 among them. Of the symmetric matrix of products the lower half is kept, row after row. Classes are
    kept in the order of their labels, and none without examples, so equal sets of examples have equal bytes.

    Examples
    --------
    >>> found = Statistics(2, 1, pairs=True, examples=100)
    >>> found.add(np.array([[1, 1], [0, 1], [1, 1]], dtype=np.uint8), ["a", "b"], np.array([1, 0, 1]))
    >>> found.labels, found.class_sums().tolist(), found.products().tolist()
    (['a', 'b'], [[0, 1], [2, 2]], [[2, 2], [2, 3]])
    """

    def __init__(self, features: int, largest: int, *, pairs: bool, examples: int):
        self.features, self.largest, self.examples = features, largest, examples
        self.labels: list[Label] = []
        self.counts = np.zeros(0, dtype=np.int64)
        self.sums = np.zeros((0, features, _bytes_of(examples * largest)), dtype=np.uint8)
        half = features * (features + 1) // 2 if pairs else 0
        self.pairs = np.zeros((half, _bytes_of(examples * largest**2)), dtype=np.uint8)

    @staticmethod
    def size(features: int, largest: int, *, pairs: bool, examples: int, classes: int) -> int:
        """Return the bytes that statistics of so many features and classes take."""
        half = features * (features + 1) // 2 * _bytes_of(examples * largest**2) if pairs else 0
        return half + classes * (features * _bytes_of(examples * largest) + 8)

    @property
    def count(self) -> int:
        """How many examples are held."""
        return int(self.counts.sum())

    @property
    def nbytes(self) -> int:
        """The bytes of all sums and counts."""
        return sum(array.nbytes for array in self.arrays().values())

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the live arrays."""
        return {"counts": self.counts, "sums": self.sums, "pairs": self.pairs}

    def class_sums(self) -> np.ndarray:
        """Return the sums of the features of each class, (classes, features) of int64."""
        return widened(self.sums)

    def products(self) -> np.ndarray:
        """Return the sums of products of features, (features, features) of int64."""
        result = np.zeros((self.features, self.features), dtype=np.int64)
        lower = np.tri(self.features, dtype=bool)
        result[lower] = widened(self.pairs)
        result.T[lower] = result[lower]
        return result

    def _rows(self, labels: list[Label]) -> list[int]:
        """Return the rows of some classes, with room made for those that are new."""
        for label in sorted(set(labels) - set(self.labels)):
            at = bisect_left(self.labels, label)
            self.labels.insert(at, label)
            self.counts = np.insert(self.counts, at, 0)
            self.sums = np.insert(self.sums, at, 0, axis=0)
        return [self.labels.index(label) for label in labels]

    def add(self, codes: np.ndarray, labels: list[Label], classes: np.ndarray) -> None:
        """Add examples; the caller keeps to `examples`.

        Parameters
        ----------
        codes : ndarray of uint8, shape (rows, features)
        labels : list of int or of str
            Those of the examples, each once.
        classes : ndarray of int, shape (rows,)
            Which label each example has.
        """
        rows, members = self._rows(labels), classes == np.arange(len(labels))[:, None]
        bits = planes(codes, self.largest, axis=0)
        weights = 1 << np.arange(len(bits))
        self.counts[rows] += members.sum(axis=1)
        found = np.tensordot(weights, np.stack([overlaps(pack(members), plane) for plane in bits]), axes=1)
        self.sums[rows] = narrowed(widened(self.sums[rows]) + found, self.sums.shape[-1])
        for first in range(0, self.features if len(self.pairs) else 0, _ROWS):
            last = min(first + _ROWS, self.features)
            block = np.zeros((last - first, last), dtype=np.int64)
            for i, left in enumerate(bits):
                for j, right in enumerate(bits):
                    block += overlaps(left[first:last], right[:last]) << (i + j)
            lower = np.tri(last - first, last, first, dtype=bool)
            place = slice(first * (first + 1) // 2, last * (last + 1) // 2)
            self.pairs[place] = narrowed(widened(self.pairs[place]) + block[lower], self.pairs.shape[-1])

    def merge(self, other: Statistics) -> None:
        """Add what other statistics of the same features hold."""
        rows = self._rows(other.labels)
        self.counts[rows] += other.counts
        self.sums[rows] = narrowed(widened(self.sums[rows]) + widened(other.sums), self.sums.shape[-1])
        # Some rows at a time: whole, the sums would be 8 bytes each, three times over.
        for first in range(0, len(self.pairs), _ROWS * self.features):
            place = slice(first, first + _ROWS * self.features)
            self.pairs[place] = narrowed(widened(self.pairs[place]) + widened(other.pairs[place]), self.pairs.shape[-1])

    def without(self, other: Statistics) -> Statistics:
        """Return these statistics less others.

        Raises
        ------
        ValueError
            Where what is left cannot be sums of examples.
        """
        refused = ValueError("x and y must be examples that were learned, got some that were not")
        if not set(other.labels) <= set(self.labels):
            raise refused
        counts, sums, rows = self.counts.copy(), self.class_sums(), self._rows(other.labels)
        counts[rows] -= other.counts
        sums[rows] -= other.class_sums()
        pairs, kept = widened(self.pairs) - widened(other.pairs), counts > 0
        result = Statistics(self.features, self.largest, pairs=bool(len(pairs)), examples=self.examples)
        result.labels = [label for label, keep in zip(self.labels, kept, strict=True) if keep]
        result.counts = counts[kept]
        if (counts < 0).any() or sums[~kept].any() or not _possible(result.counts, sums[kept], pairs, self.largest):
            raise refused
        result.sums = narrowed(sums[kept], self.sums.shape[-1]).copy()
        result.pairs = narrowed(pairs, self.pairs.shape[-1]).copy()
        return result

    def valid(self) -> bool:
        """Whether labels and sums could come from examples, as far as counts, sums and the diagonal tell."""
        alike = len({type(label) for label in self.labels}) <= 1 and len(set(self.labels)) == len(self.labels)
        return (
            alike
            and self.labels == sorted(self.labels)
            and bool((self.counts > 0).all())
            and self.count <= self.examples
            and _possible(self.counts, self.class_sums(), widened(self.pairs), self.largest)
        )


def _possible(counts: np.ndarray, sums: np.ndarray, pairs: np.ndarray, largest: int) -> bool:
    """Whether sums lie between what counts allow, and squares between the sums and `largest` times these."""
    fit = (sums >= 0).all() and (sums <= counts[:, None] * largest).all()
    if len(pairs):
        total = sums.sum(axis=0)
        diagonal = pairs[np.cumsum(np.arange(1, len(total) + 1)) - 1]
        fit &= (pairs >= 0).all() and (pairs <= counts.sum() * largest**2).all()
        fit &= (total <= diagonal).all() and (diagonal <= largest * total).all()
    return bool(fit)
