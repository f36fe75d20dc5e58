"""Quantization to a few bits, a scale a channel, and the random words of stochastic rounding."""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload

from bitlearn.backends.jit.compilation import helper, kernel

# x lies as (outer, channels, inner). Where inner is 1 the channels lie side by side: the loops over them are the inner
# ones then, which LLVM makes vectors of.


def _words(x):
    """An array as unsigned integers of its elements' size."""


@overload(_words)
def _words_of(x):
    word = getattr(np, f"uint{x.dtype.bitwidth}")
    return lambda x: x.view(word)


def _larger(x, word, largest):
    """The larger of the magnitude of an element of x, given as a word, and of the largest one so far."""


@overload(_larger)
def _larger_of(x, word, largest):
    unsigned = getattr(np, f"uint{x.dtype.bitwidth}")
    if isinstance(x.dtype, types.Integer) and x.dtype.signed:
        sign, zero = unsigned(x.dtype.bitwidth - 1), unsigned(0)
        return lambda x, word, largest: max(unsigned(zero - word) if word >> sign else word, largest)
    rest = unsigned(2 ** (x.dtype.bitwidth - 1) - 1)
    return lambda x, word, largest: max(unsigned(word & rest), largest)


@kernel
def largest_magnitude(x, out):
    """out[c] = max |x[:, c, :]|, and 0 of nothing; NaN where x holds one."""
    words, result = _words(x), _words(out)
    result[:] = 0
    outer, channels, inner = x.shape
    for o in range(outer):
        if inner == 1:
            for c in range(channels):
                result[c] = _larger(x, words[o, c, 0], result[c])
        else:
            for c in range(channels):
                largest = result[c]
                for i in range(inner):
                    largest = _larger(x, words[o, c, i], largest)
                result[c] = largest


@helper
def _clipped(x, divisor, zero, low, high):
    """The quotient, clipped before it is rounded: the bounds are integers, so the result is that of the other order."""
    value = type(divisor)(x) / divisor
    return min(max(value, type(divisor)(low - zero)), type(divisor)(high - zero))


@helper
def _code(x, divisor, zero, low, high):
    return np.int64(np.rint(_clipped(x, divisor, zero, low, high))) + zero


@helper
def _random_code(x, divisor, zero, low, high, noise):
    value = _clipped(x, divisor, zero, low, high)
    whole = np.floor(value)
    return np.int64(whole) + zero + (np.float64(noise) < np.float64(value - whole) * 4294967296.0)


@kernel
def quantize_linear(x, scale, zero_point, low, high, noise, out):
    """out[o, c, i] = clip(round(x[o, c, i] / scale[c]) + zero_point[c], low, high)."""
    outer, channels, inner = x.shape
    for o in range(outer):
        if noise.size:
            for c in range(channels):
                for i in range(inner):
                    out[o, c, i] = _random_code(x[o, c, i], scale[c], zero_point[c], low, high, noise[c, o, i])
        elif inner == 1:
            for c in range(channels):
                out[o, c, 0] = _code(x[o, c, 0], scale[c], zero_point[c], low, high)
        else:
            for c in range(channels):
                divisor, zero = scale[c], zero_point[c]
                for i in range(inner):
                    out[o, c, i] = _code(x[o, c, i], divisor, zero, low, high)


@kernel
def requantize(x, limit, step, out):
    """step = max(max |x| / limit, 1), out = round(x / step), ties to even."""
    largest = np.int64(0)
    for value in x:
        largest = max(largest, abs(np.int64(value)))
    step[0] = max(np.float64(largest) / limit, 1.0)
    for i in range(x.size):
        out[i] = np.int64(np.rint(np.float64(x[i]) / step[0]))


@kernel
def random_words(key, start, stride, out):
    """out[i, j] = word ``start + i * stride + j`` of a stream of random bits."""
    low, half = np.uint64(0xFFFF_FFFF), np.uint64(32)
    four = np.empty(4, np.uint32)
    for i in range(out.shape[0]):
        first = np.uint64(start + i * stride)
        skip = np.int64(first & np.uint64(3))
        for block in range((skip + out.shape[1] + 3) // 4):
            counter = (first >> np.uint64(2)) + np.uint64(block)
            c0, c1, c2, c3 = counter & low, counter >> half, np.uint64(key[2]), np.uint64(key[3])
            k0, k1 = np.uint64(key[0]), np.uint64(key[1])
            for _ in range(10):
                product0, product1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
                c0, c2 = (product1 >> half) ^ c1 ^ k0, (product0 >> half) ^ c3 ^ k1
                c1, c3 = product1 & low, product0 & low
                k0, k1 = (k0 + np.uint64(0x9E3779B9)) & low, (k1 + np.uint64(0xBB67AE85)) & low
            four[0], four[1], four[2], four[3] = c0, c1, c2, c3
            for word in range(4):
                j = 4 * block + word - skip
                if 0 <= j < out.shape[1]:
                    out[i, j] = four[word]
