"""One pass of an optimiser over a parameter: from named arrays to the kernels."""

from __future__ import annotations

import numpy as np

from bitlearn.ops.dispatch import run

_ONE = np.ones(1)


_FLOAT16, _FLOAT32 = np.dtype(np.float16), np.dtype(np.float32)


def _rows(array: np.ndarray) -> np.ndarray:
    """A contiguous array as (rows, last axis); float16 as its bits, which the kernels take."""
    if array.ndim != 2:
        last = array.shape[-1] if array.ndim else 1
        array = array.reshape(array.size // max(last, 1), last)
    return array.view(np.uint16) if array.dtype == _FLOAT16 else array


def _stored(array: np.ndarray) -> np.ndarray:
    """The array itself where a kernel can work on it, else a contiguous copy in float32 (or float16)."""
    kind = _FLOAT16 if array.dtype == _FLOAT16 else _FLOAT32
    return array if array.dtype is kind and array.flags.c_contiguous else np.ascontiguousarray(array, dtype=kind)


def update(
    kernel: str,
    gradient: np.ndarray,
    scale: float | None,
    coefficients: np.ndarray,
    weight: np.ndarray,
    *moments: np.ndarray,
) -> None:
    """Run an optimiser's kernel on a parameter and its moments, in place.

    Parameters
    ----------
    kernel : {"adam_update", "sgd_update", "bop_update"}
    gradient : ndarray
        Real numbers of the parameter's shape; or, with a scale, int32 or int64 sums of that shape or uint64 words of
        its signs, which pass where ``|weight| <= 1``.
    scale : float or None
        What one of the sums is worth (1 for signs); None where the gradient is real numbers.
    coefficients : ndarray of float32
        As the kernel takes them.
    weight, *moments : ndarray of float32 or float16
        Of one shape. Another type, or strides, cost a copy.
    """
    if scale is None:
        gradient = np.ascontiguousarray(gradient, dtype=np.float32)
    changed = (weight, *moments)
    stored = [_stored(array) for array in changed]
    if any(array.dtype != stored[1].dtype for array in stored[2:]):
        stored[1:] = [np.ascontiguousarray(array, dtype=np.float32) for array in stored[1:]]
    worth = _ONE if scale is None else np.array([scale])
    arguments = (_rows(np.ascontiguousarray(gradient)), worth, coefficients, *map(_rows, stored))
    # A value takes about as long as sixteen operations on a word, most of it for its memory.
    run(kernel, arguments, rows=(0, *range(3, len(arguments))), work=16 * arguments[3].shape[1], threads=None)
    for array, result in zip(changed, stored, strict=True):
        if array is not result:
            array[...] = result
