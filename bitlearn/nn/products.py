"""Products of first-layer codes, which are no bits, and the types that sums fit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bitlearn.ops.conv import Geometry
from bitlearn.ops.gradients import grad_input
from bitlearn.ops.packing import transpose_bits

# Windows of first-layer images, and wide copies of codes, are formed for so many values at a time, which bounds the
# scratch of a step.
BLOCK_VALUES = 2**15


def sum_type(n: int) -> type:
    """Return the smallest type that holds a ±1 sum of `n` terms exactly."""
    return np.int16 if n <= 2**15 - 1 else np.int32


def integer_sums(codes: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Return int8 codes (batch, n) times the transpose of packed ±1 rows (outputs, words): int32 (batch, outputs).

    The bits are packed along the axis that is summed over; `grad_input` sums over the rows, so they are transposed.
    """
    if codes.dtype != np.int8:
        raise TypeError(f"codes must be int8, got {codes.dtype}")
    return grad_input(codes, transpose_bits(words, codes.shape[-1]), len(words))


def exact_product(grad: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return ``grad.T @ codes`` for a gradient (rows, k) and int8 codes (rows, n).

    For an integer gradient the result is exact, so that neither the order of a BLAS nor its threads show: products of
    int8 with int8 are at most 2**14, and float32 holds sums of 2**10 of them; those of int16 with int8 are at most
    2**22, and float64 holds sums of 2**31. A float gradient is multiplied in float32.
    """
    narrow = grad.dtype.kind == "f" or grad.dtype == np.int8
    wide = np.float32 if narrow else np.float64
    total = np.zeros((grad.shape[1], codes.shape[1]), dtype=np.float32 if grad.dtype.kind == "f" else np.float64)
    rows = max(1, BLOCK_VALUES // max(grad.shape[1] + codes.shape[1], 1))
    if narrow:
        rows = min(rows, 2**10)
    for start in range(0, len(grad), rows):
        block = slice(start, start + rows)
        total += grad[block].T.astype(wide) @ codes[block].astype(wide)
    return total


def unfolded(x: np.ndarray, kernel: tuple[int, int], windows: Geometry) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield the windows of a few images of codes at a time, as rows (images * out_h * out_w, kh * kw * channels)."""
    (out_h, out_w), (top, left), (kh, kw) = windows.out_size, windows.padding, kernel
    bottom = max((out_h - 1) * windows.stride[0] + kh - top - x.shape[1], 0)
    right = max((out_w - 1) * windows.stride[1] + kw - left - x.shape[2], 0)
    values = kh * kw * x.shape[3]
    step = max(1, BLOCK_VALUES // max(out_h * out_w * values, 1))
    for start in range(0, len(x), step):
        images = slice(start, min(start + step, len(x)))
        padded = np.pad(x[images], ((0, 0), (top, bottom), (left, right), (0, 0)))
        view = np.lib.stride_tricks.sliding_window_view(padded, (kh, kw), axis=(1, 2))
        view = view[:, :: windows.stride[0], :: windows.stride[1]][:, :out_h, :out_w]
        yield images, np.ascontiguousarray(view.transpose(0, 1, 2, 4, 5, 3)).reshape(-1, values)


def convolved_codes(x: np.ndarray, words: np.ndarray, kernel: tuple[int, int], windows: Geometry) -> np.ndarray:
    """Return images of codes convolved with packed kernels (filters, words), each packed in one row: int32 NHWC."""
    y = np.empty((len(x), *windows.out_size, len(words)), dtype=np.int32)
    for images, rows in unfolded(x, kernel, windows):
        y[images] = integer_sums(rows, words).reshape(-1, *y.shape[1:])
    return y
