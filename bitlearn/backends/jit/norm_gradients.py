"""The gradient after a batch norm: passes over the channels of a word, 64 at a time."""

from __future__ import annotations

import numpy as np
from numba.core import types
from numba.extending import overload

from bitlearn.backends.jit.compilation import helper, inlined, kernel
from bitlearn.backends.jit.floats import bits_of, clipped, float_of, largest_of, rounded
from bitlearn.backends.jit.norms import some
from bitlearn.backends.reference.norms import LARGEST_SCALE

_SMALLEST = np.finfo(np.float32).tiny
#: A word of a mask that has no rows.
_ALL = np.uint64(2**64 - 1)


@inlined
def bit(word, j):
    return (word >> np.uint64(j)) & np.uint64(1)


@inlined
def passed(value, word, j):
    """The value where bit j is set, else 0."""
    return value if bit(word, j) else type(value)(0)


def part(x, t):
    """Word t of a packed row, or the values of its channels."""
    raise NotImplementedError("compiled code alone calls this")


@overload(part)
def _part(x, t):
    if x.dtype == types.uint64:
        return lambda x, t: x[t]
    return lambda x, t: some(x, t)


def weighed(value, x, j):
    """value * x[j], or where x is packed: value at +1, 0 at -1."""
    raise NotImplementedError("compiled code alone calls this")


@overload(weighed)
def _weighed(value, x, j):
    kind = np.float64 if value == types.float64 else np.int64
    if x == types.uint64:
        return lambda value, x, j: value * kind(bit(x, j))
    return lambda value, x, j: value * kind(x[j])


def offset(x, first, second, j):
    """second[j] - x[j] * first[j], or where x is packed: first[j] at +1, second[j] at -1."""
    raise NotImplementedError("compiled code alone calls this")


@overload(offset)
def _offset(x, first, second, j):
    if x == types.uint64:

        def chosen(x, first, second, j):
            # Both are loaded, so that LLVM makes no branch of the choice.
            at_plus, at_minus = first[j], second[j]
            return at_plus if bit(x, j) else at_minus

        return chosen
    return lambda x, first, second, j: second[j] - np.float32(x[j]) * first[j]


@helper
def add_channels(d, word, x, total, products):
    """Add up to 64 channels of a row to their sums."""
    wide = total.dtype.type
    for j in range(d.size):
        value = passed(wide(d[j]), word, j)
        total[j] += value
        products[j] += weighed(value, x, j)


@kernel
def gradient_sums(d, mask, x, out):
    """out[g, 0] = sum of d[g], out[g, 1] = sum of d * x, or of d where the bit of x is set; d is 0 off its mask."""
    out[:] = 0
    for g in range(d.shape[0]):
        for i in range(d.shape[1]):
            for t in range((d.shape[2] + 63) // 64):
                word = mask[g, i, t] if mask.shape[0] else _ALL
                add_channels(some(d[g, i], t), word, part(x[g, i], t), some(out[g, 0], t), some(out[g, 1], t))


@inlined
def gradient_at(d, word, x, first, second, factor, j):
    """(e + d) * factor, with e as `offset` gives it."""
    return (offset(x, first, second, j) + passed(np.float32(d[j]), word, j)) * factor[j]


@helper
def largest_bits(d, word, x, first, second, factor):
    """The largest bits of a magnitude: they are ordered as the floats are, and those of NaN come last."""
    largest = np.uint32(0)
    for j in range(d.size):
        largest = max(largest, bits_of(abs(gradient_at(d, word, x, first, second, factor, j))))
    return largest


@kernel
def norm_gradient_peak(d, mask, x, factors, out):
    """out[g] = the largest magnitude of the gradient after a batch norm, not finite where one is not."""
    first, second, factor = factors[0], factors[1], factors[2]
    for g in range(d.shape[0]):
        largest = np.uint32(0)
        for i in range(d.shape[1]):
            for t in range((d.shape[2] + 63) // 64):
                word = mask[g, i, t] if mask.shape[0] else _ALL
                of_row = some(d[g, i], t), word, part(x[g, i], t)
                largest = max(largest, largest_bits(*of_row, some(first, t), some(second, t), some(factor, t)))
        out[g] = float_of(largest)


@kernel
def norm_step(peaks, limit, scale, step, out):
    """step = the largest peak / limit, at least the smallest normal number, 1 for a peak of 0; out = scale * step."""
    found = largest_of(peaks) / np.float32(limit)
    if found == 0:
        found = np.float32(1)
    elif found < _SMALLEST:
        found = _SMALLEST
    step[0] = found
    wanted = scale[0] * np.float64(found)
    out[0] = wanted if wanted <= LARGEST_SCALE else LARGEST_SCALE


def code(value, step, limit, out):
    """A gradient as a result holds it: rounded to a step of an integer, or as it is."""
    raise NotImplementedError("compiled code alone calls this")


@overload(code)
def _code(value, step, limit, out):
    if out.dtype == types.float32:
        return lambda value, step, limit, out: value
    return lambda value, step, limit, out: rounded(clipped(value / step, limit))


@helper
def finish_channels(d, word, x, first, second, factor, step, limit, out):
    """Write up to 64 channels of a row."""
    for j in range(d.size):
        out[j] = code(gradient_at(d, word, x, first, second, factor, j), step, limit, out)


@kernel
def norm_gradient(d, mask, x, factors, step, limit, out):
    """out = clip(round(gradient / step), -limit, limit), ties to even; of a float32 d the gradient itself."""
    first, second, factor = factors[0], factors[1], factors[2]
    by, most = step[0], np.float32(limit)
    for i in range(d.shape[0]):
        for t in range((d.shape[1] + 63) // 64):
            word = mask[i, t] if mask.shape[0] else _ALL
            of_row = some(d[i], t), word, part(x[i], t)
            finish_channels(*of_row, some(first, t), some(second, t), some(factor, t), by, most, some(out[i], t))
