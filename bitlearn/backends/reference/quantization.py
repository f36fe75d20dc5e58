"""Quantization to a few bits, a scale a channel: arrays (outer, channels, inner), and the random words of rounding."""

from __future__ import annotations

import numpy as np

from bitlearn.rng import philox4x32


def largest_magnitude(x, out):
    """out[c] = max |x[:, c, :]|, and 0 of nothing; NaN where x holds one.

    x (outer, channels, inner) float32, float64, int8 to int64, or uint16 as the bits of float16; out (channels,) of
    the same type, for integers unsigned.
    """
    if x.dtype.kind == "i":
        magnitudes = np.where(x < 0, -x, x).view(out.dtype)  # the least integer is its own negative, and a sign bit
        out[...] = magnitudes.max(axis=(0, 2), initial=0)
    else:
        # The bits of a float without its sign are ordered as magnitudes are, and those of NaN come last.
        word = np.dtype(f"u{x.itemsize}")
        magnitudes = x.view(word) & word.type(np.iinfo(f"i{x.itemsize}").max)
        out.view(word)[...] = magnitudes.max(axis=(0, 2), initial=0)


def quantize_linear(x, scale, zero_point, low, high, noise, out):
    """out[o, c, i] = clip(round(x[o, c, i] / scale[c]) + zero_point[c], low, high).

    x (outer, channels, inner) float32, float64 or int8 to int64; scale (channels,) float32 with a float32 x, else
    float64; zero_point (channels,) int64; out, shaped as x, int8 or int16. ``noise`` is an empty array for rounding to
    nearest, ties to even; else (channels, outer, inner) of uint32, and round(v) is floor(v + noise / 2**32), unbiased.
    Quotients are in scale's type.
    """
    ratio = x.astype(scale.dtype) / scale[:, None]
    if noise.size:
        whole = np.floor(ratio)
        # The fraction is compared with the noise, not added to it: adding could round up to the next integer.
        fraction = (ratio - whole).astype(np.float64) * 2.0**32
        rounded = whole + (noise.swapaxes(0, 1) < fraction)
    else:
        rounded = np.rint(ratio)
    out[...] = np.clip(rounded + zero_point[:, None], low, high)


def requantize(x, limit, step, out):
    """step = max(max |x| / limit, 1), out = round(x / step), ties to even.

    x (count,) int32 or int64, magnitudes at most 2**53; step (1,) float64; out (count,) int8 or int16 that hold ±limit.
    """
    step[0] = max(np.abs(x.astype(np.float64)).max(initial=0) / limit, 1)
    out[...] = np.rint(x.astype(np.float64) / step[0])


def random_words(key, start, stride, out):
    """out[i, j] = word ``start + i * stride + j`` of a stream of random bits; out (rows, n) uint32.

    key (4,) uint32: the low and the high half of the seed, the step, the stream of `bitlearn.rng.Key`.
    """
    rows, n = out.shape
    place = start + stride * np.arange(rows, dtype=np.uint64)[:, None] + np.arange(n, dtype=np.uint64)
    block = place.reshape(-1) // 4
    counter = np.stack([block & 0xFFFF_FFFF, block >> 32, *np.broadcast_to(key[2:, None], (2, block.size))], axis=1)
    words = philox4x32(counter.astype(np.uint32), (int(key[0]), int(key[1])))
    out[...] = words[np.arange(block.size), place.reshape(-1) % 4].reshape(out.shape)


def quantize_power_of_two(x, largest, exponents, out):
    """out[i, j] = sign(x) * 2**(e + exponents / 2), e = clip(round(log2(|x| * 2**bias)), -exponents / 2, ... - 1).

    x (rows, columns) float32, largest (rows,) float32, the largest |x| of each row, bias = exponents / 2 -
    round(log2(largest)), out (rows, columns) int32 of ±2**0 to ±2**(exponents - 1). Zero counts as +0 and becomes +1,
    the smallest code: the scheme has no zero, and no row may be all zeros.
    """
    half = exponents // 2
    bias = half - _rounded_log2(largest)
    exponent = np.clip(_rounded_log2(np.abs(x)) + bias[:, None], -half, half - 1)
    out[...] = np.where(x < 0, -1, 1) * 2 ** (exponent + half)


def _rounded_log2(x):
    """round(log2(x)) of positive floats, exactly and the same on every processor; very negative for 0."""
    mantissa, exponent = np.frexp(x)
    # log2 of the mantissa lies in [-1, 0): it rounds to 0 from sqrt(1/2) on, which no float equals.
    rounded = exponent.astype(np.int64) - (mantissa < np.sqrt(0.5))
    return np.where(x == 0, -(2**30), rounded)


KERNELS = {
    function.__name__: function
    for function in (largest_magnitude, quantize_linear, quantize_power_of_two, requantize, random_words)
}
