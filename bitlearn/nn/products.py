"""Products of first-layer codes, which are no bits, and the types that sums fit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bitlearn import threads
from bitlearn.ops.codes import unfold
from bitlearn.ops.conv import Geometry
from bitlearn.ops.gradients import grad_input
from bitlearn.ops.packing import transpose_bits
from bitlearn.workspace import empty

#: Windows of first-layer images are formed for so many values at a time, which bounds the scratch of a step.
WINDOW_VALUES = 2**17


def sum_type(n: int) -> type:
    """Return the smallest type that holds a ±1 sum of `n` terms exactly."""
    return np.int16 if n <= 2**15 - 1 else np.int32


def code_sum_type(n: int) -> type:
    """Return the smallest type that holds a sum of `n` codes, of magnitude 128 at most, exactly."""
    return sum_type(128 * n)


def _check_codes(codes: np.ndarray) -> None:
    if codes.dtype != np.int8:
        raise TypeError(f"codes must be int8, got {codes.dtype}")


def integer_sums(codes: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Return int8 codes (batch, n) times the transpose of packed ±1 rows (outputs, words): int32 (batch, outputs).

    The bits are packed along the axis that is summed over; `grad_input` sums over the rows, so they are transposed.
    """
    _check_codes(codes)
    out = empty((len(codes), len(words)), np.int32)
    return grad_input(codes, transpose_bits(words, codes.shape[-1]), len(words), out=out)


def unfolded(x: np.ndarray, kernel: tuple[int, int], windows: Geometry) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield the windows of a few images of codes at a time, as rows (images * out_h * out_w, kh * kw * channels).

    Of no images they are yielded once: no rows.
    """
    step = images_at_a_time(kernel[0] * kernel[1] * x.shape[3], windows)
    for start in range(0, max(len(x), 1), step):
        images = slice(start, min(start + step, len(x)))
        yield images, unfold(x[images], kernel, windows)


def images_at_a_time(fan_in: int, windows: Geometry) -> int:
    """Return of how many images the windows, of `fan_in` values each, are formed at a time."""
    return max(1, WINDOW_VALUES // max(windows.out_size[0] * windows.out_size[1] * fan_in, 1))


def convolved_codes(x: np.ndarray, words: np.ndarray, kernel: tuple[int, int], windows: Geometry) -> np.ndarray:
    """Return images of codes convolved with packed kernels (filters, words), each packed in one row: sums, NHWC."""
    _check_codes(x)
    kind = code_sum_type(kernel[0] * kernel[1] * x.shape[3])
    y: np.ndarray = empty((len(x), *windows.out_size, len(words)), kind)

    def convolved(first: int, last: int) -> None:
        # A thread's own images: sums become narrower while they are in its cache.
        for images, rows in unfolded(x[first:last], kernel, windows):
            y[first + images.start : first + images.stop] = integer_sums(rows, words).reshape(-1, *y.shape[1:])

    threads.over_ranges(convolved, len(x), threads.get_num_threads())
    return y
