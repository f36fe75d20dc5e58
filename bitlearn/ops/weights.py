"""A reusable right-hand operand: words of weights laid out once for the kernels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bitlearn.ops import check


class PackedWeights:
    """Words of weights, prepared by `pack_weights` and taken wherever words of weights are.

    Opaque: its layout may change with any release. Today it is the words themselves, in an array of its own.

    Parameters
    ----------
    words : ndarray of uint64, shape (..., ceil(n / 64))
    n : int
        How many values the last axis holds.
    """

    __slots__ = ("_words", "n")

    def __init__(self, words: np.ndarray, n: int) -> None:
        self._words = words
        self.n = n

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the words it was made from."""
        return self._words.shape

    @property
    def nbytes(self) -> int:
        """The bytes it holds."""
        return self._words.nbytes

    def __repr__(self) -> str:
        return f"PackedWeights(shape={self.shape}, n={self.n})"


def pack_weights(words: ArrayLike, n: int) -> PackedWeights:
    """Prepare words of weights for repeated products.

    Parameters
    ----------
    words : array_like of uint64, shape (..., ceil(n / 64))
        Rows of a matrix ``(N, words)`` or kernels of a convolution ``(out, kh, kw, words)``.
    n : int
        How many values the last axis holds.

    Returns
    -------
    PackedWeights
        An operand of its own: later changes of `words` do not show in it.

    Raises
    ------
    TypeError
        Where `words` is not uint64.
    ValueError
        Where the last axis is not ``ceil(n / 64)`` words.

    Examples
    --------
    >>> import bitlearn as bl
    >>> w = bl.pack_weights(bl.pack([[1, -1, 1], [1, 1, 1]]), 3)
    >>> bl.xnor_matmul(bl.pack([[1, -1, 1]]), w, 3)
    array([[3, 1]], dtype=int32)
    """
    n = check.count("n", n)
    own = check.words("words", words, n, least=2).copy()
    own.flags.writeable = False
    return PackedWeights(own, n)


def weight_words(name: str, weights: ArrayLike | PackedWeights, n: int, ndim: int) -> np.ndarray:
    """Return the words of an operand that may be prepared, checked for `n` and the number of dimensions."""
    if isinstance(weights, PackedWeights):
        if weights.n != n:
            raise ValueError(f"{name} must pack n={n} values, got n={weights.n}")
        weights = weights._words
    return check.words(name, weights, n, ndim)
