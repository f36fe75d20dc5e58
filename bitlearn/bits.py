"""The packed format: words, tails and the invariants that every kernel keeps.

Values are packed along the last axis into ``uint64`` words, least significant bit first: value ``j`` is bit ``j % 64``
of word ``j // 64``. A set bit means +1, a clear bit -1, and the bits past the last value are zero, always. A word array
does not know how many values it holds, so every function takes ``n``, the number of values in the last axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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


@dataclass(frozen=True, eq=False)
class Bits:
    """Packed ±1 values together with how many of them the last axis holds.

    Parameters
    ----------
    words : ndarray of uint64, shape (..., words_for(n))
        The packed values.
    n : int
        The number of values in the last axis.
    """

    words: np.ndarray
    n: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the values (not of the words)."""
        return (*self.words.shape[:-1], self.n)

    @property
    def nbytes(self) -> int:
        """The bytes of the words."""
        return self.words.nbytes

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: slice | np.ndarray) -> Bits:
        """Return the values of some leading indices (a slice, an integer array or a mask)."""
        return Bits(self.words[index], self.n)
