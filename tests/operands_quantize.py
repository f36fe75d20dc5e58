"""Arguments of the kernels that quantize, made from their sizes."""

from __future__ import annotations

import numpy as np
from cases import LARGE, MATRICES, SIZES, integers, reals, star
from guards import filled
from making import operands

#: (outer, channels, inner): a scale per channel. The channels last, first, between, and one alone.
SCALED = [
    *((5, n, 1) for n in SIZES),
    *((1, 3, n) for n in SIZES),
    *star(3, 5, 7, sizes=(0, 1, 64, 130)),
    (1, 1, LARGE),
]
SOURCES = (np.float32, np.float64, np.int8, np.int16, np.int32, np.int64)
#: (type of x, type of the result, whether rounding is stochastic)
TYPES = [
    (source, code, stochastic) for source in SOURCES for code in (np.int8, np.int16) for stochastic in (False, True)
]


@operands(SCALED, tuple(TYPES))
def quantize_linear(rng, size, dtype):
    source, code, stochastic = dtype
    limit = np.iinfo(code).max
    if np.issubdtype(source, np.integer):
        x = integers(rng, source, *size)
    else:
        # No NaN, and no quotient past the largest float.
        x = np.nan_to_num(reals(rng, source, *size), nan=2.5).clip(-(2.0**100), 2.0**100)
    outer, channels, inner = size
    scale = np.exp(rng.normal(size=channels)).astype(np.float32 if source == np.float32 else np.float64)
    scale[::2] = 4
    noise = rng.integers(0, 2**32, size=(channels, outer, inner) if stochastic else (0, 0, 0), dtype=np.uint32)
    zero_point = integers(rng, np.int8, channels).astype(np.int64)
    return x, scale, zero_point, -limit, limit, noise, filled(size, code)


@operands(SCALED, (*SOURCES, np.uint16))
def largest_magnitude(rng, size, dtype):
    if np.issubdtype(dtype, np.signedinteger):
        return integers(rng, dtype, *size), filled(size[1:2], np.dtype(f"u{np.dtype(dtype).itemsize}"))
    x = reals(rng, dtype, *size) if dtype != np.uint16 else reals(rng, np.float16, *size).view(np.uint16)
    x[:, ::2] = 0  # channels without an infinity
    return x, filled(size[1:2], dtype)


#: (groups, channels) of peaks
PEAKS = [(1, 1), (3, 65), (2, 0), (16, 7), (0, 5), (130, 1)]
SUMS, CODES = (np.int32, np.int64), (np.int8, np.int16)
#: (type of the sums, type of the codes, whether each row has a step or a scale)
ROWS = [(source, code, each) for source in SUMS for code in CODES for each in (False, True)]
#: (type of the integers, type of the codes, axis of the steps, whether rounding is stochastic)
NARROWED = [
    (source, code, axis, random)
    for source in CODES
    for code in CODES
    for axis in (-1, 0, 1)
    for random in (False, True)
]


def _limit(rng, code: type) -> int:
    """The limits of a few bits mostly, as a sum that is small ties with them."""
    return int(rng.choice([1, 7, np.iinfo(code).max, rng.integers(1, np.iinfo(code).max)]))


def _exact(rng, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    """Sums whose magnitudes are at most 2**53, rows of zeros and rows that fit any code among them."""
    ends = 2.0 ** np.floor(rng.uniform(0, 32 if dtype == np.int32 else 54, size=(*shape[:1], 1)))
    low, high = (-(2**31), 2**31 - 1) if dtype == np.int32 else (-(2**53), 2**53)
    x = np.rint(rng.uniform(-1, 1, size=shape) * ends).clip(low, high).astype(dtype)
    for special in (low, high):
        x[rng.random(shape) < 0.3 / max(x.size, 1)] = special
    x[rng.random(shape[0]) < 0.1] = 0
    return x


def _steps(rng, count: int) -> np.ndarray:
    """Steps with ties among their quotients, and others."""
    return np.where(rng.random(count) < 0.5, 2.0 ** rng.integers(0, 3, count), 1 + np.exp(rng.normal(3, 3, count)))


def _scales(rng, count: int) -> np.ndarray:
    return np.exp(rng.normal(-3, 3, size=count))


@operands(MATRICES, (np.float32, np.int8, np.int16, np.int32, np.int64))
def peaks(rng, size, dtype):
    if dtype == np.float32:
        x = np.where(rng.random((size[0], 1)) < 0.3, rng.normal(size=size), reals(rng, dtype, *size)).astype(dtype)
    else:
        x = _exact(rng, dtype, size) if dtype in SUMS else integers(rng, dtype, *size)
    return x, filled(size[:1], np.float64)


@operands(PEAKS)
def quantize_step(rng, size, dtype):
    peaks = np.abs(reals(rng, np.float32, size[0])).astype(np.float64)
    kind = rng.integers(4)
    if kind == 0:
        peaks[...] = 0
    elif kind < 3:
        peaks = np.nan_to_num(peaks, nan=0.0, posinf=1e-38 if kind == 1 else 3.0).clip(0, 1e30)
    return peaks, _limit(rng, np.int16), filled((1,), np.float64), np.ones(1, np.uint8)


@operands(MATRICES, CODES)
def quantize(rng, size, dtype):
    # No NaN, and no quotient past the largest float.
    x = np.nan_to_num(reals(rng, np.float32, *size), nan=2.5).clip(-(2.0**100), 2.0**100)
    x[..., ::3] = rng.integers(-40, 40, size=x[..., ::3].shape) / 2  # ties
    scale = np.array([rng.choice([1.0, 2.0, 0.37, 1e-3])])
    return x, scale, _limit(rng, dtype), filled(size, dtype)


@operands(PEAKS, ("one", "each"))
def requantize_step(rng, size, dtype):
    rows = max(size[0], 1) if dtype == "one" else size[0]
    peaks = np.rint(np.exp(rng.uniform(-1, 36, size=rows)) * rng.integers(0, 2, size=rows))
    if rng.random() < 0.3:
        peaks[...] = 0
    scale = _scales(rng, 1 if dtype == "one" else rows) * rng.choice([1.0, 2.0**40])
    return peaks, _limit(rng, np.int16), scale, filled((rows,), np.float64), filled((1,), np.float64)


@operands(MATRICES, tuple(ROWS))
def requantize(rng, size, dtype):
    source, code, each = dtype
    x = _exact(rng, source, size)
    step = _steps(rng, size[0] if each else 1)
    return x, step, _limit(rng, code), filled(size, code)


@operands(MATRICES, tuple(ROWS))
def requantize_rows(rng, size, dtype):
    source, code, each = dtype
    scale = _scales(rng, size[0] if each else 1)
    return _exact(rng, source, size), scale, _limit(rng, code), filled(size[:1], np.float64), filled(size, code)


@operands(PEAKS)
def largest_scale(rng, size, dtype):
    worth = _scales(rng, size[0]) * rng.choice([0.0, 1.0, 1.0, 2.0**40])
    return worth, filled((1,), np.float64)


@operands(MATRICES, CODES)
def equalize_rows(rng, size, dtype):
    worth = _scales(rng, size[0])
    worth[::3] = 2.0 ** rng.integers(-2, 3, size=worth[::3].size)
    scale = np.array([rng.choice([4.0, worth.max(initial=0.5)])])
    return worth, scale, _limit(rng, dtype), integers(rng, dtype, *size)


@operands(PEAKS)
def narrow_step(rng, size, dtype):
    peaks = np.abs(integers(rng, np.int16, *size).astype(np.float64))
    peaks[:, ::4] = 0
    results = filled(size[1:], np.float64), filled(size[1:], np.float64)
    return peaks, _limit(rng, np.int16), _scales(rng, 1), *results


@operands(MATRICES, tuple(NARROWED))
def narrow(rng, size, dtype):
    """Rows somewhere among all, with the few quotients that are integers among them."""
    source, code, axis, random = dtype
    rows, n = size
    first = int(rng.integers(0, 7))
    total = first + rows + int(rng.integers(0, 3))
    step = _steps(rng, {-1: 1, 0: total, 1: n}[axis])
    key = rng.integers(0, 2**32, size=4 if random else 0, dtype=np.uint32)
    return integers(rng, source, *size), step, axis, _limit(rng, code), key, first, total, filled(size, code)


@operands([size for size in MATRICES if all(size)], (2, 4, 8, 16))
def quantize_power_of_two(rng, size, dtype):
    """No row is all zeros; values next to the square root of a half, where the exponent is rounded, and tiny ones."""
    x = np.ldexp(rng.normal(size=size), rng.integers(-20, 3, size=size)).astype(np.float32)
    edge = np.float32(np.sqrt(0.5))
    x[:, ::5] = [np.nextafter(edge, np.float32(1)), edge][size[1] % 2]
    for column, special in ((1, 0.0), (2, -0.0), (3, 1e-42)):
        x[:, column::7] = special
    x[0, 0] = 1
    largest = np.abs(x).max(axis=1)
    x[largest == 0, 0] = largest[largest == 0] = 1
    return x, largest, dtype, filled(size, np.int32)
