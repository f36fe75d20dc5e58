"""Arguments of the kernels that quantize, made from their sizes."""

from __future__ import annotations

import numpy as np
from cases import LARGE, SIZES, integers, reals, star
from guards import filled

#: (outer, channels, inner): a scale a channel. The channels last, first, between, and one alone.
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


def largest_magnitude(rng, size, dtype):
    if np.issubdtype(dtype, np.signedinteger):
        return integers(rng, dtype, *size), filled(size[1:2], np.dtype(f"u{np.dtype(dtype).itemsize}"))
    x = reals(rng, dtype, *size) if dtype != np.uint16 else reals(rng, np.float16, *size).view(np.uint16)
    x[:, ::2] = 0  # channels without an infinity
    return x, filled(size[1:2], dtype)


def random_words(rng, size, dtype):
    start, stride = (int(each) for each in rng.integers(0, 2**40, size=2))
    return rng.integers(0, 2**32, size=4, dtype=np.uint32), start, stride, filled(size, np.uint32)


def requantize(rng, size, dtype):
    source, code = dtype
    count = size[0] * size[1]
    most = int(rng.choice([100, 2**20, 2**31 - 1 if source == np.int32 else 2**53]))
    x = rng.integers(-most, most, size=count, endpoint=True).astype(source)
    if count:
        x[0] = -(2**31) if source == np.int32 and most > 2**30 else -most
    return x, int(rng.integers(1, np.iinfo(code).max)), filled((1,), np.float64), filled((count,), code)
