"""Quantization to a few bits, a scale per channel, and the random words of stochastic rounding."""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload

from bitlearn.backends.jit.compilation import helper, inlined, kernel
from bitlearn.backends.jit.floats import bits_of, clipped, float_of, largest_of, rounded
from bitlearn.backends.reference.norms import LARGEST_SCALE

_SMALLEST = np.finfo(np.float32).tiny

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


@helper
def _largest(x, words):
    """The largest magnitude of some elements of x, as a word."""
    largest = words.dtype.type(0)
    for j in range(words.size):
        largest = _larger(x, words[j], largest)
    return largest


def _as_number(x, word):
    """A magnitude of elements of x, given as a word, as a float64."""


@overload(_as_number)
def _number_of(x, word):
    if x.dtype == types.float32:
        return lambda x, word: np.float64(float_of(word))
    return lambda x, word: np.float64(word)


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
def peaks(x, out):
    """out[i] = max |x[i]|, 0 of nothing, NaN where x[i] holds one."""
    words = _words(x)
    for i in range(x.shape[0]):
        out[i] = _as_number(x, _largest(x, words[i]))


@kernel
def channel_peaks(x, out):
    """out[g, c] = max |x[g, :, c]|."""
    out[:] = 0
    for g in range(x.shape[0]):
        for i in range(x.shape[1]):
            for c in range(x.shape[2]):
                out[g, c] = max(out[g, c], np.float64(abs(np.int32(x[g, i, c]))))


@kernel
def quantize_step(peaks, limit, out, finite):
    """out = the largest peak / limit in float32: what a code is worth. finite = 0 where a peak is not finite."""
    found = np.float32(largest_of(peaks)) / np.float32(limit)
    if not np.isfinite(found):
        finite[0] = 0
    if found == 0:
        found = np.float32(1)
    elif found < _SMALLEST:
        found = _SMALLEST
    out[0] = found


@kernel
def quantize(x, scale, limit, out):
    """out = clip(round(x / scale), -limit, limit), ties to even, in float32."""
    step, most = np.float32(scale[0]), np.float32(limit)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = rounded(clipped(x[i, j] / step, most))


@kernel
def requantize_step(peaks, limit, scale, step, out):
    """The step of `requantize` for integers with one scale or one per row, and what a code is worth then."""
    if scale.size == 1:
        same = max(largest_of(peaks) / limit, 1.0)
        step[:] = same
        out[0] = scale[0] * same
    else:
        most = 0.0
        for i in range(peaks.size):
            most = max(most, peaks[i] * scale[i])
        out[0] = most / limit if most > 0 else 1.0
        for i in range(peaks.size):
            step[i] = out[0] / scale[i]
    out[0] = min(out[0], LARGEST_SCALE)


@inlined
def _divided(x, step, most):
    """An integer or a code by its step, clipped and rounded, ties to even."""
    return rounded(clipped(np.float64(x) / step, most))


@kernel
def requantize(x, step, limit, out):
    """out[i] = clip(round(x[i] / step[i]), -limit, limit), ties to even."""
    most = np.float64(limit)
    for i in range(x.shape[0]):
        by = step[i if step.size > 1 else 0]
        for j in range(x.shape[1]):
            out[i, j] = _divided(x[i, j], by, most)


@kernel
def requantize_rows(x, scale, limit, row_scale, out):
    """Each row with a step of its own: step = max(max |x[i]| / limit, 1), out[i] = round(x[i] / step), ties to even."""
    words, most = _words(x), np.float64(limit)
    for i in range(x.shape[0]):
        step = max(_as_number(x, _largest(x, words[i])) / most, 1.0)
        row_scale[i] = scale[i if scale.size > 1 else 0] * step
        for j in range(x.shape[1]):
            out[i, j] = _divided(x[i, j], step, most)


@kernel
def largest_scale(row_scale, out):
    """out = the largest of row_scale, 1 where that is 0, at most `LARGEST_SCALE`."""
    found = largest_of(row_scale)
    out[0] = 1.0 if found == 0 else LARGEST_SCALE if found > LARGEST_SCALE else found


@kernel
def equalize_rows(row_scale, scale, limit, codes):
    """Give rows of codes one scale: codes[i] = clip(round(codes[i] / (scale / row_scale[i]))), where that is not 1."""
    most = np.float64(limit)
    for i in range(codes.shape[0]):
        step = max(scale[0] / row_scale[i], 1.0)
        for j in range(codes.shape[1]):
            codes[i, j] = _divided(codes[i, j], step, most)


@kernel
def narrow_step(peaks, limit, scale, step, out):
    """step[c] = max(largest peak[:, c] / limit, 1), out[c] = scale * step[c]."""
    step[:] = 0
    for g in range(peaks.shape[0]):
        for c in range(step.size):
            step[c] = max(step[c], peaks[g, c])
    for c in range(step.size):
        step[c] = max(step[c] / limit, 1.0)
        out[c] = scale[0] * step[c]


@helper
def _narrow_row(x, step, most, out):
    """A row to nearest; step one for all, or one per column."""
    if step.size == 1:
        by = step[0]
        for j in range(x.size):
            out[j] = _divided(x[j], by, most)
    else:
        for j in range(x.size):
            out[j] = _divided(x[j], step[j], most)


@helper
def _narrow_at_random(x, step, most, noise, out):
    """A row or a column at random; step one for all, or one per value."""
    for j in range(x.size):
        value = clipped(np.float64(x[j]) / step[j if step.size > 1 else 0], most)
        whole = np.floor(value)
        out[j] = np.int32(whole) + np.int32(np.float64(noise[j]) < (value - whole) * 4294967296.0)


@kernel
def narrow(x, step, axis, limit, key, first, total, out):
    """out = clip(round(x / step), -limit, limit): to nearest, ties to even; or at random where there is a key."""
    rows, n = x.shape
    most, noise = np.float64(limit), np.empty(max(rows, n) if key.size else 0, np.uint32)
    if key.size > 0 and axis == 1:
        for j in range(n):
            random_row(key, np.uint64(j) * np.uint64(total) + np.uint64(first), noise[:rows])
            _narrow_at_random(x[:, j], step[j : j + 1], most, noise, out[:, j])
    else:
        for i in range(rows):
            by = step[first + i : first + i + 1] if axis == 0 else step
            if key.size:
                random_row(key, np.uint64(first + i) * np.uint64(n), noise[:n])
                _narrow_at_random(x[i], by, most, noise, out[i])
            else:
                _narrow_row(x[i], by, most, out[i])


@kernel
def powers_of_two(x):
    """x = sign(x) * 2**min(round(log2(|x|)), 14), and 0 stays 0."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            value = np.int32(x[i, j])
            # What makes the mantissas above sqrt(2) carry into the exponent; those below are cut off.
            word = np.uint32(bits_of(np.float32(abs(value))) + np.uint32(0x4AFB0C)) & np.uint32(0xFF800000)
            power = np.int32(min(float_of(np.uint32(word)), np.float32(16384)))
            x[i, j] = power if value >= 0 else -power


@inlined
def random_block(key, counter):
    """The four words of a block of the stream, as uint64."""
    low, half = np.uint64(0xFFFF_FFFF), np.uint64(32)
    c0, c1, c2, c3 = counter & low, counter >> half, np.uint64(key[2]), np.uint64(key[3])
    k0, k1 = np.uint64(key[0]), np.uint64(key[1])
    for _ in range(10):
        product0, product1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c2 = (product1 >> half) ^ c1 ^ k0, (product0 >> half) ^ c3 ^ k1
        c1, c3 = product1 & low, product0 & low
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & low, (k1 + np.uint64(0xBB67AE85)) & low
    return c0, c1, c2, c3


@helper
def random_row(key, start, out):
    """out[j] = word ``start + j`` of a stream of random bits; start a uint64."""
    block, j = start >> np.uint64(2), -np.int64(start & np.uint64(3))
    while j < out.size:
        c0, c1, c2, c3 = random_block(key, block)
        if j >= 0 and j + 4 <= out.size:
            out[j], out[j + 1], out[j + 2], out[j + 3] = c0, c1, c2, c3
        else:
            words = (c0, c1, c2, c3)
            for word in range(4):
                if 0 <= j + word < out.size:
                    out[j + word] = words[word]
        block += np.uint64(1)
        j += 4


@kernel
def random_words(key, start, stride, out):
    """out[i, j] = word ``start + i * stride + j`` of a stream of random bits."""
    for i in range(out.shape[0]):
        random_row(key, np.uint64(start) + np.uint64(i) * np.uint64(stride), out[i])
