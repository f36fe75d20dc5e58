"""Products of packed matrices."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from bitlearn.bits import WORD, words_for
from bitlearn.ops import check
from bitlearn.ops.dispatch import chosen, lookup
from bitlearn.ops.weights import PackedWeights, multiply, operand
from bitlearn.threads import resolve

RESULT_TYPES = (np.int16, np.int32, np.float32)


def _product(
    kernel: str, a: np.ndarray, b: np.ndarray | PackedWeights, rest: tuple, out: np.ndarray, threads: int | None
) -> None:
    """Multiply the rows of a stack of matrices as those of one."""
    if a.ndim != 2:
        rows = math.prod(a.shape[:-1])
        a, out = a.reshape(rows, a.shape[-1]), out.reshape(rows, out.shape[-1])
    multiply(kernel, a, b, (*rest, out), len(a), threads)


def xnor_matmul(
    a: ArrayLike,
    b: ArrayLike | PackedWeights,
    n: int | None = None,
    *,
    dtype: DTypeLike = np.int32,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Multiply packed ±1 matrices: the dot products of the rows of `a` with the rows of `b`.

    Parameters
    ----------
    a : array_like of uint64, shape (..., M, words)
    b : array_like of uint64, shape (N, words), or PackedWeights
    n : int, optional
        How many values a row holds: required unless an operand is `Bits` or `PackedWeights`, which know it;
        ``words = ceil(n / 64)``.
    dtype : {int16, int32, float32}
        The type of the result. int16 is exact for ``n <= 32767``, float32 for ``n <= 2**24``.
    out : ndarray of `dtype`, shape (..., M, N), optional
        Where to write the result; C-contiguous and overlapping no input.
    threads : int, optional
        How many threads share the rows; by default the number set for the process. The result does not depend on it.

    Returns
    -------
    ndarray of `dtype`, shape (..., M, N)

    Raises
    ------
    TypeError
        If an operand is not uint64 or a dtype is not one of those above.
    ValueError
        If shapes do not fit `n` or each other, `n` is too large for `dtype`, or `out` cannot be written.

    Notes
    -----
    ``dot = n - 2 * popcount(a ^ b)``: the zero tails of both operands cancel, so `n` need not be a multiple of 64.
    The dot has the parity of `n`.

    Examples
    --------
    >>> import bitlearn as bl
    >>> a, b = np.array([[1, -1, 1], [-1, -1, -1]]), np.array([[1, 1, 1], [-1, 1, 1]])
    >>> bl.xnor_matmul(bl.pack(a), bl.pack(b), 3)
    array([[ 1, -1],
           [-3, -1]], dtype=int32)
    >>> a @ b.T
    array([[ 1, -1],
           [-3, -1]])
    """
    if type(b) is PackedWeights and b.fits(a, n, dtype, out):
        if (threads is None and len(a) == 1) or resolve(threads) == 1:  # type: ignore[arg-type]
            product = b.chosen.get(chosen())
            if product is None:
                product = b.chosen[chosen()] = b.product(lookup("xnor_matmul"))
            product(a, n, out)
        else:
            _product("xnor_matmul", a, b, (n,), out, threads)  # type: ignore[arg-type]
        return out  # type: ignore[return-value]
    n = check.length(n, a, b)
    left = check.words("a", a, n, least=2)
    right = operand("b", b, n, 2)
    kind = check.dtype("dtype", dtype, RESULT_TYPES)
    check.accumulator(n, kind)
    result = check.output(out, (*left.shape[:-1], right.shape[0]), kind, (a, b))
    _product("xnor_matmul", left, right, (n,), result, threads)
    return result


def xnor_matmul_sign(
    a: ArrayLike,
    b: ArrayLike | PackedWeights,
    n: int,
    threshold: ArrayLike,
    *,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Multiply packed ±1 matrices, keeping one bit per dot product: whether it reaches its column's threshold.

    Parameters
    ----------
    a : array_like of uint64, shape (..., M, words)
    b : array_like of uint64, shape (N, words), or PackedWeights
    n : int
        How many values a row holds.
    threshold : array_like of int
        A scalar or of shape (N,); it must fit int32.
    out : ndarray of uint64, shape (..., M, ceil(N / 64)), optional
    threads : int, optional
        How many threads share the rows.

    Returns
    -------
    ndarray of uint64, shape (..., M, ceil(N / 64))
        Bit ``j`` is ``dot >= threshold[j]``; the tail is zero. No matrix of integers is formed in between.

    Raises
    ------
    TypeError, ValueError
        As `xnor_matmul`; and if `threshold` is not an integer, does not fit int32 or has the wrong shape.

    Examples
    --------
    >>> import bitlearn as bl
    >>> a, b = bl.pack([[1, -1, 1]]), bl.pack([[1, 1, 1], [-1, 1, 1]])
    >>> bl.unpack(bl.xnor_matmul_sign(a, b, 3, threshold=[0, 0]), 2)
    array([[ 1, -1]], dtype=int8)
    """
    n = check.count("n", n)
    left = check.words("a", a, n, least=2)
    right = operand("b", b, n, 2)
    check.accumulator(n, np.dtype(np.int32))
    bounds = check.thresholds(threshold, right.shape[0])
    out_words = words_for(right.shape[0])
    result = check.output(out, (*left.shape[:-1], out_words), WORD, (a, b, threshold))
    _product("xnor_matmul_sign", left, right, (n, bounds), result, threads)
    return result


def hamming(
    a: ArrayLike,
    b: ArrayLike | PackedWeights,
    n: int | None = None,
    *,
    dtype: DTypeLike = np.int32,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Count the values in which each row of `a` differs from each row of `b`.

    Parameters
    ----------
    a : array_like of uint64, shape (M, words)
    b : array_like of uint64, shape (N, words), or PackedWeights
    n : int, optional
        How many values a row holds: required unless an operand is `Bits` or `PackedWeights`, which know it.
    dtype : {int16, int32, float32}
        The type of the counts, with the limits of `xnor_matmul`.
    out : ndarray of `dtype`, shape (M, N), optional
    threads : int, optional
        How many threads share the rows of `a`.

    Returns
    -------
    ndarray of `dtype`, shape (M, N)
        ``popcount(a ^ b)``.

    Raises
    ------
    TypeError, ValueError
        As `xnor_matmul`.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bl.hamming(bl.pack([[1, -1, 1]]), bl.pack([[1, 1, 1], [-1, 1, 1]]), 3)
    array([[1, 2]], dtype=int32)
    """
    n = check.length(n, a, b)
    left = check.words("a", a, n, 2)
    right = operand("b", b, n, 2)
    kind = check.dtype("dtype", dtype, RESULT_TYPES)
    check.accumulator(n, kind)
    result = check.output(out, (len(left), right.shape[0]), kind, [a, b])
    _product("hamming", left, right, (n,), result, threads)
    return result
