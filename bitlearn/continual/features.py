"""Few-bit features that need no fitting: they are drawn from a seed and do not depend on data."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from bitlearn import streams
from bitlearn.bits import WORD, WORD_BITS, Bits, ones
from bitlearn.continual.slopes import Slopes
from bitlearn.ops.matmul import hamming
from bitlearn.ops.packing import pack, popcount, unpack
from bitlearn.rng import Key

#: The input of a learner of exact sums: codes, or bits from inside a network.
Inputs = np.ndarray | Bits

#: Combinations are clipped at ``sqrt(n)`` times the largest value, divided by this. Chosen on held-out training data of
#: ``digits``, MNIST and Fashion-MNIST.
_ROW_RANGE = {255: 2, 1: 1}
#: The longest row whose codes are themselves features, ahead of combinations of them.
_FEW = 32
#: The shortest side of an image whose features are slopes.
_IMAGE = 8
#: Combinations that are computed at a time.
_AT_A_TIME = 64


class Features(Protocol):
    """Computes the codes of features, and knows how many bytes it holds."""

    count: int
    largest: int

    @property
    def nbytes(self) -> int:
        """The bytes it holds."""

    def __call__(self, x: Inputs) -> np.ndarray:
        """Return the codes of examples, uint8 (features, examples)."""

    def keep(self, count: int) -> None:
        """Drop all features but the first `count`."""


def inputs(x: Inputs) -> Inputs:
    """Return bits or codes as they are.

    Raises
    ------
    TypeError
        If `x` is neither uint8, int8 nor Bits.
    ValueError
        If it has no axis of examples before the axis of values.
    """
    if not isinstance(x, Bits):
        x = np.asarray(x)
        if x.dtype not in (np.uint8, np.int8):
            raise TypeError(f"x must be uint8 codes, int8 codes or Bits, got {x.dtype}")
    if len(x.shape) < 2 or 0 in x.shape[1:]:
        raise ValueError(f"x must have shape (count, ...) with at least one value per example, got shape {x.shape}")
    return x


def unsigned(x: Inputs) -> Inputs:
    """Return int8 codes as uint8, so that an image and its codes are equal, and anything else unchanged."""
    return x if isinstance(x, Bits) or x.dtype == np.uint8 else x.view(np.uint8) ^ np.uint8(0x80)


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return how many set bits each packed row of `a` shares with each row of `b`, by XOR and popcount.

    Parameters
    ----------
    a : ndarray of uint64, shape (M, words)
    b : ndarray of uint64, shape (N, words)

    Returns
    -------
    ndarray of int64, shape (M, N)

    Notes
    -----
    ``popcount(a & b) = (popcount(a) + popcount(b) - popcount(a ^ b)) / 2``.

    Examples
    --------
    >>> overlaps(pack([[1, -1, 1]]), pack([[1, 1, 1], [-1, 1, -1]]))
    array([[2, 0]])
    """
    either = popcount(a)[:, None] + popcount(b)
    either -= hamming(a, b, a.shape[-1] * WORD_BITS)
    either >>= 1
    return either


class Values:
    """The input itself: 8-bit codes from 0 to 255, or bits as 0 and 1."""

    nbytes = 0

    def __init__(self, kind: str, shape: tuple[int, ...]):
        self.largest = 255 if kind == "codes" else 1
        self.count = math.prod(shape)

    @staticmethod
    def work(kind: str, shape: tuple[int, ...], rows: int) -> int:
        """Return the bytes of working arrays for this many examples."""
        return 2 * rows * math.prod(shape)

    def __call__(self, x: Inputs) -> np.ndarray:
        """Return the codes of examples, uint8 (features, examples)."""
        values = unpack(x.words, x.n) > 0 if isinstance(x, Bits) else x
        return values.reshape(len(x), self.count).astype(np.uint8).T

    def keep(self, count: int) -> None:
        """Raise ValueError: the number of features is that of the input's values."""
        raise ValueError(f"count must be all {self.count} values of the input, got {count}")


class Rows:
    """Random ±1 combinations of rows of codes or packed bits, in a few bits; short rows of codes come first themselves.

    Parameters
    ----------
    kind : {"codes", "bits"}
    shape : tuple of int
    count, bits, seed : int

    Notes
    -----
    With weights ``s`` of ±1, ``n`` values ``x`` and ``D = 255`` for codes, 1 for bits, the feature is
    ``z = sum s x - mean(s) sum x``, so that a constant added to all values of an example does not matter. Its code is
    ``floor((z + r) / (2 r) * 2**bits)``, clipped, with ``r = D floor(sqrt(n)) / 2`` for codes and twice that for bits.
    Everything is computed in integers, multiplied by n, and the products are those of packed bits.

    Combination ``i`` of the first N has the signs ``d_j (-1)**popcount(i & j)``: row ``i`` of a Hadamard matrix times
    random signs ``d``, so that combinations are almost orthogonal and only ``d`` has to be kept. The next N have new
    signs ``d``. N is the number of packed words of an example times the number of values per word, each rounded up to a
    power of 2; ``j`` counts values word by word in these rounded sizes.

    A row of at most 32 codes has few combinations, and its columns may differ much in scale. So the first features are
    the codes themselves, in their highest `bits` bits. The combinations that follow have a quarter of the ``r`` above,
    each around a different centre.
    """

    def __init__(self, kind: str, shape: tuple[int, ...], count: int, bits: int, seed: int):
        self.count, self.bits, self.largest, self.seed = count, bits, 2**bits - 1, seed
        self.depth, self.n = (255 if kind == "codes" else 1), math.prod(shape)
        self._used = ones((), self.n) if kind == "codes" else ones(shape[:-1], shape[-1]).reshape(-1)
        self._whole = self.whole(kind, shape)
        self._inside = _inside(kind, shape)
        self._period = _period(kind, shape)
        self._signs = self._drawn(count)

    @staticmethod
    def whole(kind: str, shape: tuple[int, ...]) -> int:
        """Return how many features are codes themselves."""
        n = math.prod(shape)
        return n if kind == "codes" and n <= _FEW else 0

    @staticmethod
    def words(kind: str, shape: tuple[int, ...]) -> int:
        """Return the number of packed words of an example."""
        n = shape[-1] if kind == "bits" else math.prod(shape)
        return -(-n // WORD_BITS) * (math.prod(shape[:-1]) if kind == "bits" else 1)

    @classmethod
    def kept(cls, kind: str, shape: tuple[int, ...], count: int) -> int:
        """Return the bytes that this many features hold."""
        words = cls.words(kind, shape)
        combined = max(count - cls.whole(kind, shape), 0)
        return 8 * words * (1 + -(-combined // _period(kind, shape)))

    @classmethod
    def work(cls, kind: str, shape: tuple[int, ...], count: int, rows: int) -> int:
        """Return the bytes of working arrays for this many examples."""
        words, some = cls.words(kind, shape), min(count, _AT_A_TIME)
        planes = 8 if kind == "codes" else 1
        return rows * (8 * words * (planes + 1) + math.prod(shape) * 2 + 32 * some + count) + some * 8 * (3 * words + 4)

    @property
    def nbytes(self) -> int:
        """The bytes it holds."""
        return self._used.nbytes + self._signs.nbytes

    def _drawn(self, count: int) -> np.ndarray:
        """Return the packed random signs for this many combinations, (blocks, words)."""
        words = len(self._used)
        needed = -(-max(count - self._whole, 0) // self._period)
        found = np.empty((needed, words), dtype=WORD)
        for block in range(needed):
            found[block] = Key(self.seed, block, streams.FEATURES).words(2 * words).view(WORD)
        return found

    def keep(self, count: int) -> None:
        """Drop all features but the first `count`."""
        self.count = count
        self._signs = self._signs[: -(-max(count - self._whole, 0) // self._period)].copy()

    def weights(self, first: int, last: int) -> np.ndarray:
        """Return the packed signs of some combinations, (last - first, words)."""
        index = np.arange(first, last, dtype=np.uint64)[:, None]
        row = index & np.uint64(self._period - 1)
        result = np.zeros((last - first, 1), dtype=WORD)
        for bit, mask in enumerate(_WALSH[: self._inside]):
            result ^= np.where(row >> np.uint64(bit) & np.uint64(1), mask, np.uint64(0))
        word = np.arange(len(self._used), dtype=np.uint64)
        odd = np.bitwise_count((row >> np.uint64(self._inside)) & word) & np.uint8(1)
        words = np.where(odd, ~result, result)
        words ^= self._signs[(index[:, 0] // np.uint64(self._period)).astype(np.intp)]
        words &= self._used
        return words

    def __call__(self, x: Inputs) -> np.ndarray:
        """Return the codes of examples, uint8 (features, examples)."""
        codes = np.empty((self.count, len(x)), dtype=np.uint8)
        if isinstance(x, Bits):
            planes = x.words.reshape(1, len(x), -1)
        else:
            flat = x.reshape(len(x), -1)
            codes[: self._whole] = flat[:, : min(self._whole, self.count)].T >> (8 - self.bits)
            planes = np.stack([pack((flat >> bit & 1).astype(bool)) for bit in range(8)])
        total = np.zeros((len(x), 1), dtype=np.int64)
        for bit, plane in enumerate(planes):
            total += popcount(plane)[:, None] << bit
        for first in range(self._whole, self.count, _AT_A_TIME):
            last = min(first + _AT_A_TIME, self.count)
            codes[first:last] = self._combined(first - self._whole, last - self._whole, planes, total).T
        return codes

    def _combined(self, first: int, last: int, planes: np.ndarray, total: np.ndarray) -> np.ndarray:
        words = self.weights(first, last)
        value = np.zeros((len(total), last - first), dtype=np.int64)
        for bit, plane in enumerate(planes):
            value += overlaps(plane, words) << bit
        # sum s x = 2 * positive - total, and n mean(s) = 2 * popcount - n.
        value *= self.n
        value -= popcount(words) * total
        value *= 2 * _ROW_RANGE[self.depth]
        full = self.n * self.depth * math.isqrt(self.n)
        if self._whole:
            centres = self._centres(first, last)
            value *= 4
            value -= (centres * (full >> 4)) >> 4
        value += full
        value <<= self.bits
        value //= 2 * full
        return np.clip(value, 0, self.largest, out=value).astype(np.uint8)

    def _centres(self, first: int, last: int) -> np.ndarray:
        """Return the centres of combinations, spread evenly, from -2 to 2 in units of 1/256."""
        index = np.arange(first + 1, last + 1, dtype=np.int64)
        return ((index * 633) & 1023) - 511


#: Where a Hadamard matrix of 64 columns is -1 in its rows 1, 2, 4, 8, 16 and 32.
_WALSH = [np.uint64(sum(1 << j for j in range(WORD_BITS) if j >> bit & 1)) for bit in range(6)]


def _inside(kind: str, shape: tuple[int, ...]) -> int:
    """Return how many bits it takes to index the values of a packed word."""
    return (min(shape[-1] if kind == "bits" else math.prod(shape), WORD_BITS) - 1).bit_length()


def _period(kind: str, shape: tuple[int, ...]) -> int:
    """Return how many combinations share their random signs and differ only in their row of the Hadamard matrix."""
    return 1 << (_inside(kind, shape) + (Rows.words(kind, shape) - 1).bit_length())


def image(kind: str, shape: tuple[int, ...]) -> bool:
    """Whether an input is an image large enough for slopes."""
    return kind == "codes" and len(shape) in (2, 3) and min(shape[:2]) >= _IMAGE


def drawn(kind: str, shape: tuple[int, ...], count: int, bits: int, seed: int) -> Slopes | Rows:
    """Return the features of an input: slopes if it is a large enough image, otherwise combinations of all values."""
    return Slopes(shape, count, bits, seed) if image(kind, shape) else Rows(kind, shape, count, bits, seed)


def kept_bytes(kind: str, shape: tuple[int, ...], count: int) -> int:
    """Return the bytes that this many drawn features hold."""
    return Slopes.kept(shape, count) if image(kind, shape) else Rows.kept(kind, shape, count)


def work_bytes(kind: str, shape: tuple[int, ...], count: int, rows: int) -> int:
    """Return the bytes of working arrays for this many drawn features of `rows` examples, including their codes."""
    return Slopes.work(shape, count, rows) if image(kind, shape) else Rows.work(kind, shape, count, rows)
