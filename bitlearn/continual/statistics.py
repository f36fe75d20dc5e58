"""Exact sums of features by class and by pair, in integers as narrow as possible; what was added can be subtracted."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

import numpy as np

from bitlearn.continual import packed
from bitlearn.continual.packed import bytes_of, read, widened

Label = int | str

#: The most examples that may be counted; 255**2 times as many fit in 7 bytes.
MOST_EXAMPLES = 2**39
#: Bytes of working memory per pair of features while its sum is changed or read.
PAIR_WORK = 14
#: The least working memory in bytes.
LEAST_BLOCK = 1024
#: What an example counts if counts are halved with the sums: a class with less than one example left is dropped.
FADING_UNIT = 2**16


def blocks(features: int, work: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of rows of a matrix's lower triangle, each with as many pairs as this much working memory allows."""
    first = 0
    while first < features:
        last = first + 1
        while last < features and (last + 1 - first) * (last + 1) * PAIR_WORK <= work:
            last += 1
        yield first, last
        first = last


def least_block(features: int) -> int:
    """Return the least working memory for blocks of rows of a matrix for this many features."""
    return max(LEAST_BLOCK // 2, features * PAIR_WORK)


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
        The largest number of examples held at a time. It determines the width of integers, so that no sum can overflow.
    unit : int
        What an example counts in `counts`.

    Notes
    -----
    Sums of up to ``examples * largest`` and products of up to ``examples * largest**2`` take the fewest whole bytes
    that hold them, possibly 3. The lower triangle of the symmetric matrix of products is stored row by row, so the sums
    of the first features come first. Classes are stored in the order of their labels, and only if they have examples,
    so equal sets of examples have equal bytes.

    Examples
    --------
    >>> found = Statistics(2, 1, pairs=True, examples=100)
    >>> codes = np.array([[1, 0, 1], [1, 1, 1]], dtype=np.uint8)
    >>> found.admit(["a", "b"])
    >>> found.change(codes, np.array([1, 0, 1]), 1, work=1024)
    True
    >>> found.labels, found.class_sums().tolist(), found.products().tolist()
    (['a', 'b'], [[0, 1], [2, 2]], [[2, 2], [2, 3]])
    """

    def __init__(self, features: int, largest: int, *, pairs: bool, examples: int, unit: int = 1):
        self.features, self.largest, self.examples, self.unit = features, largest, examples, unit
        self.labels: list[Label] = []
        self.counts = np.zeros(0, dtype=np.int64)
        self.sums = np.zeros((0, features, bytes_of(examples * largest)), dtype=np.uint8)
        half = features * (features + 1) // 2 if pairs else 0
        self.pairs = np.zeros((half, bytes_of(examples * largest**2)), dtype=np.uint8)

    @staticmethod
    def pair_bytes(features: int, largest: int, examples: int) -> int:
        """Return the bytes of the sums of products of this many features."""
        return features * (features + 1) // 2 * bytes_of(examples * largest**2)

    @staticmethod
    def class_bytes(features: int, largest: int, examples: int, classes: int) -> int:
        """Return the bytes of the counts and sums of this many features and classes."""
        return classes * (features * bytes_of(examples * largest) + 8)

    @property
    def weight(self) -> float:
        """How many examples are held; a fraction remains after halving."""
        return int(self.counts.sum()) / self.unit

    @property
    def count(self) -> int:
        """How many whole examples are held."""
        return int(self.counts.sum()) // self.unit

    @property
    def nbytes(self) -> int:
        """The bytes of all sums and counts."""
        return sum(array.nbytes for array in self.arrays().values())

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the live arrays, which the next change may replace."""
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

    def rows_of_products(self, first: int, last: int) -> np.ndarray:
        """Return rows of the lower triangle, float64 (last - first, last), with 0 above the diagonal."""
        block, found, start = np.zeros((last - first, last)), read(self._place(first, last)), 0
        for row, end in zip(block, range(first + 1, last + 1), strict=True):
            row[:end] = found[start : start + end]
            start += end
        return block

    def _place(self, first: int, last: int) -> np.ndarray:
        return self.pairs[first * (first + 1) // 2 : last * (last + 1) // 2]

    def fit(self, features: int, examples: int) -> None:
        """Keep only the first features, in integers for this many examples, in the same memory."""
        classes = len(self.labels)
        self.sums = packed.relaid(self.sums, classes, features, bytes_of(examples * self.largest))
        if len(self.pairs):
            half, width = features * (features + 1) // 2, bytes_of(examples * self.largest**2)
            pairs = self.pairs
            pairs.resize((1, *pairs.shape), refcheck=False)
            pairs = packed.relaid(pairs, 1, half, width)
            pairs.resize(pairs.shape[1:], refcheck=False)
            self.pairs = pairs
        self.features, self.examples = features, examples

    def admit(self, labels: list[Label]) -> None:
        """Make room for classes, some of which may already be known."""
        for label in sorted(set(labels) - set(self.labels)):
            at, classes = bisect_left(self.labels, label), len(self.labels)
            self.labels.insert(at, label)
            self.counts = np.insert(self.counts, at, 0)
            self.sums = packed.relaid(self.sums, classes + 1, self.features, self.sums.shape[-1])
            for row in range(classes, at, -1):
                self.sums[row] = self.sums[row - 1]
            self.sums[at] = 0

    def _drop(self, kept: np.ndarray) -> None:
        """Keep only some classes."""
        for to, row in enumerate(np.flatnonzero(kept)):
            self.sums[to] = self.sums[row]
        self.labels = [label for label, keep in zip(self.labels, kept, strict=True) if keep]
        self.counts = self.counts[kept]
        self.sums.resize((len(self.labels), *self.sums.shape[1:]), refcheck=False)

    def change(self, codes: np.ndarray, rows: np.ndarray, sign: int, *, work: int) -> bool:
        """Add examples of known classes or subtract them; the caller makes sure that `examples` is not exceeded.

        Parameters
        ----------
        codes : ndarray of uint8, shape (features, count)
            Codes of at most 256 examples.
        rows : ndarray of int, shape (count,)
            The class of each example, as an index into `labels`.
        sign : {1, -1}
        work : int
            Bytes of working memory for blocks of pairs.

        Returns
        -------
        bool
            Whether no sum fell below 0; if one did, the opposite change restores everything.

        Notes
        -----
        Products are summed in float32 by the machine's BLAS: all partial sums are integers below
        ``256 * 255**2 < 2**24``, which float32 represents exactly, so the order of summation does not matter.
        """
        fits = True
        for row in np.flatnonzero(np.bincount(rows, minlength=1)):
            members = rows == row
            self.counts[row] += sign * self.unit * int(members.sum())
            found = codes[:, members].sum(axis=1, dtype=np.uint32)
            fits &= self.counts[row] >= 0 and packed.change(self.sums[row], found, sign)
        if len(self.pairs):
            real = codes.astype(np.float32)
            for first, last in blocks(self.features, work):
                place, start = self._place(first, last), 0
                found = np.empty(len(place), dtype=np.uint32)
                for row, end in zip(real[first:last] @ real[:last].T, range(first + 1, last + 1), strict=True):
                    found[start : start + end] = row[:end]
                    start += end
                fits &= packed.change(place, found, sign)
        return bool(fits)

    def merge(self, other: Statistics, *, work: int) -> None:
        """Add other statistics, of the same features or of more that begin with these."""
        self.admit(other.labels)
        for row, label in enumerate(other.labels):
            at = self.labels.index(label)
            self.counts[at] += other.counts[row]
            packed.change(self.sums[at], read(other.sums[row, : self.features]), 1)
        some = max(1, work // PAIR_WORK)
        for first in range(0, len(self.pairs), some):
            place = slice(first, min(first + some, len(self.pairs)))
            packed.change(self.pairs[place], read(other.pairs[place]), 1)

    def halve(self) -> None:
        """Halve all sums and counts, rounding down; classes with less than one example left are dropped."""
        self.counts >>= 1
        packed.halve(self.sums)
        packed.halve(self.pairs)
        self._drop(self.counts >= self.unit)

    def settle(self) -> bool:
        """Drop classes without examples; return whether the rest could be sums of examples."""
        empty = self.counts == 0
        if (self.counts < 0).any() or self.sums[empty].any() or not self._possible():
            return False
        self._drop(~empty)
        return True

    def valid(self) -> bool:
        """Whether labels and sums could come from examples, as far as counts, sums and the diagonal show."""
        alike = len({type(label) for label in self.labels}) <= 1 and len(set(self.labels)) == len(self.labels)
        return (
            alike
            and self.labels == sorted(self.labels)
            and bool((self.counts >= self.unit).all())
            and self.count <= self.examples
            and self._possible()
        )

    def _possible(self) -> bool:
        """Whether sums are in the range that counts allow, and squares between the sums and `largest` times these."""
        # Halving rounds each sum down separately, so sums may be off by 1 per class, and pairs still contain dropped
        # classes.
        largest, slack = self.largest, 0 if self.unit == 1 else 2 * self.largest**2
        total = np.zeros(self.features, dtype=np.int64)
        for count, stored in zip(self.counts.tolist(), self.sums, strict=True):
            found = read(stored)
            if (found > count // self.unit * largest + slack).any():
                return False
            total += found
        if not len(self.pairs):
            return True
        most, count = self.count * largest**2 + slack * (len(self.labels) + 1), 0
        for first, last in blocks(self.features, least_block(self.features)):
            found = read(self._place(first, last))
            if (found > most).any():
                return False
            ends = np.cumsum(np.arange(first + 1, last + 1)) - 1
            diagonal, part = found[ends].astype(np.int64), total[first:last]
            spare = slack * (len(self.labels) + 1)
            if (part > diagonal + spare).any() or (diagonal > largest * part + spare).any():
                return False
            count = last
        return count == self.features
