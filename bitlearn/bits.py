"""The packed format: words, tails and the invariants that every kernel keeps.

Values are packed along the last axis into ``uint64`` words, least significant bit first: value ``j`` is bit ``j % 64``
of word ``j // 64``. A set bit means +1, a clear bit -1, and the bits past the last value are always zero. A word array
does not record how many values it holds, so every function takes ``n``, the number of values in the last axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitlearn.errors import brief

WORD = np.dtype("<u8")
WORD_BITS = 64


def words_for(n: int) -> int:
    """Return how many 64-bit words hold `n` bits.

    >>> words_for(0), words_for(64), words_for(65)
    (0, 1, 2)
    """
    return -(-n // WORD_BITS)


def tail_mask(n: int) -> np.uint64:
    """Return the mask of the bits in use in the last word of `n` packed values (all ones where `n` fills it)."""
    return np.uint64(0xFFFF_FFFF_FFFF_FFFF >> (-n % WORD_BITS))


def ones(shape: tuple[int, ...], n: int) -> np.ndarray:
    """Return words of `shape` whose `n` bits in the last axis are all +1, with a zero tail."""
    words = np.full((*shape, words_for(n)), 0xFFFF_FFFF_FFFF_FFFF, dtype=WORD)
    if n:
        words[..., -1] = tail_mask(n)
    return words


@dataclass(frozen=True, eq=False, repr=False)
class Bits:
    """Packed ±1 values, together with the number of values in the last axis.

    Parameters
    ----------
    words : ndarray of uint64, shape (..., words_for(n))
        The packed values.
    n : int
        The number of values in the last axis.

    Raises
    ------
    TypeError
        If `words` is not an array of uint64, or `n` no integer.
    ValueError
        If the last axis is not ``words_for(n)`` words, or a bit past the last value is set.
    """

    words: np.ndarray
    n: int

    def __post_init__(self) -> None:
        words, n = self.words, self.n
        plain = type(words) is np.ndarray or (
            isinstance(words, np.ndarray) and not isinstance(words, np.ma.MaskedArray)
        )
        if not plain or words.dtype != WORD:
            raise TypeError(f"words must be an array of dtype uint64, got {brief(words)}")
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)):
            raise TypeError(f"n must be an integer, got {brief(n)}")
        if n < 0 or not words.ndim or words.shape[-1] != words_for(n):
            raise ValueError(
                f"words must have ceil(n / 64) words in their last axis, got {words.shape} and n={brief(n)}"
            )
        if n % WORD_BITS and np.any(words[..., -1] >> np.uint64(n % WORD_BITS)):
            raise ValueError(f"words must have no bit past n={n} values set, got some")

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the values (not of the words)."""
        return (*self.words.shape[:-1], self.n)

    @property
    def nbytes(self) -> int:
        """The bytes of the words."""
        return self.words.nbytes

    def unpack(self) -> np.ndarray:
        """Return the values: int8 of ±1, of the shape `shape`.

        Examples
        --------
        >>> Bits(np.array([5], dtype=np.uint64), 3).unpack()
        array([ 1, -1,  1], dtype=int8)
        """
        if not self.n:
            return np.empty(self.shape, dtype=np.int8)
        octets = np.ascontiguousarray(self.words, dtype=WORD).view(np.uint8)
        found = np.unpackbits(octets, axis=-1, count=self.n, bitorder="little").view(np.int8)
        found *= 2
        found -= 1
        return found

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        raise TypeError("Bits are packed: .unpack() gives their values, .words their words")

    def __repr__(self) -> str:
        return f"Bits(shape={self.shape}, {self.nbytes} bytes)"

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: slice | np.ndarray) -> Bits:
        """Return the values of some leading indices (a slice, an integer array or a mask)."""
        return Bits(self.words[index], self.n)
