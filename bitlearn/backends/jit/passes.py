"""The passes over channels: batch norm on integer sums, its sign and its gradient, and max pooling."""

from __future__ import annotations

import numpy as np
from numba.core import types
from numba.extending import overload

from bitlearn.backends.jit.compilation import helper, kernel

# Adding it to a float32 below 2**22 rounds that to an integer, ties to even; Numba's own rounding is a call.
_ROUNDING = np.float32(12582912.0)


@helper
def is_set(words, c):
    """Whether bit c of a row of words is set."""
    return (words[c >> 6] >> np.uint64(c & 63)) & np.uint64(1) != np.uint64(0)


def weighed(value, x, c):
    """value * x[c], or where x is packed: value at +1, 0 at -1."""
    raise NotImplementedError("compiled code alone calls this")


@overload(weighed)
def _weighed(value, x, c):
    if x.dtype == types.uint64:
        return lambda value, x, c: value if is_set(x, c) else np.int64(0)
    return lambda value, x, c: value * np.int64(x[c])


def offset(x, first, second, c):
    """second[c] - x[c] * first[c], or where x is packed: first[c] at +1, second[c] at -1."""
    raise NotImplementedError("compiled code alone calls this")


@overload(offset)
def _offset(x, first, second, c):
    if x.dtype == types.uint64:
        return lambda x, first, second, c: first[c] if is_set(x, c) else second[c]
    return lambda x, first, second, c: np.float32(second[c] - np.float32(np.float32(x[c]) * first[c]))


@kernel
def channel_sums(y, out):
    """out[g, 0] = sum of y[g], out[g, 1] = sum of squares."""
    out[:] = 0
    for g in range(y.shape[0]):
        for i in range(y.shape[1]):
            for c in range(y.shape[2]):
                value = np.int64(y[g, i, c])
                out[g, 0, c] += value
                out[g, 1, c] += value * value


@kernel
def channel_sums_above(y, bound, out):
    """out[g, 0] = sum of those y[g] that are >= bound, out[g, 1] = their number."""
    out[:] = 0
    for g in range(y.shape[0]):
        for i in range(y.shape[1]):
            for c in range(y.shape[2]):
                above = np.int64(y[g, i, c] >= bound[c])
                out[g, 0, c] += y[g, i, c] * above
                out[g, 1, c] += above


@kernel
def sign_pass(y, threshold, low, high, out):
    """Bits out[i, 0] = y[i] >= threshold, out[i, 1] = low <= y[i] <= high."""
    for i in range(y.shape[0]):
        for t in range(out.shape[2]):
            sign, inside = np.uint64(0), np.uint64(0)
            for c in range(64 * t, min(64 * t + 64, y.shape[1])):
                shift = np.uint64(c & 63)
                sign |= np.uint64(y[i, c] >= threshold[c]) << shift
                inside |= np.uint64(low[c] <= y[i, c] <= high[c]) << shift
            out[i, 0, t], out[i, 1, t] = sign, inside


@kernel
def gradient_sums(d, passes, x, out):
    """out[g, 0] = sum of d[g], out[g, 1] = sum of d * x, or of d where the bit of x is set; d is 0 off its mask."""
    out[:] = 0
    for g in range(d.shape[0]):
        for i in range(d.shape[1]):
            for c in range(d.shape[2]):
                if is_set(passes[g, i], c):
                    value = np.int64(d[g, i, c])
                    out[g, 0, c] += value
                    out[g, 1, c] += weighed(value, x[g, i], c)


@helper
def one_gradient(d, passes, x, first, second, factor, c):
    """(e + d) * factor, with e as `offset` gives it."""
    value = np.float32(d[c]) if is_set(passes, c) else np.float32(0)
    return np.float32(offset(x, first, second, c) + value) * factor[c]


@kernel
def norm_gradient_peak(d, passes, x, first, second, factor, out):
    """out[g] = the largest magnitude of the gradient behind a batch norm, not finite where one is not."""
    for g in range(d.shape[0]):
        largest = np.float32(0)
        for i in range(d.shape[1]):
            for c in range(d.shape[2]):
                magnitude = abs(one_gradient(d[g, i], passes[g, i], x[g, i], first, second, factor, c))
                if not magnitude <= largest:  # NaN is not, and then stays
                    largest = magnitude if largest == largest else largest
        out[g] = largest


@kernel
def norm_gradient(d, passes, x, first, second, factor, scale, limit, out):
    """out = clip(round(gradient / scale), -limit, limit), ties to even."""
    most, by = np.float32(limit), np.float32(scale)
    for i in range(d.shape[0]):
        for c in range(d.shape[1]):
            value = one_gradient(d[i], passes[i], x[i], first, second, factor, c) / by
            value = min(max(value, -most), most)
            out[i, c] = np.int32(np.float32(value + _ROUNDING) - _ROUNDING)


@kernel
def max_pool(x, window, stride, out):
    """out = the largest value of each window."""
    for b in range(out.shape[0]):
        for r in range(out.shape[1]):
            for s in range(out.shape[2]):
                best = out[b, r, s]
                best[:] = x[b, r * stride, s * stride]
                for t in range(1, window * window):
                    tap = x[b, r * stride + t // window, s * stride + t % window]
                    for c in range(best.size):
                        best[c] = max(best[c], tap[c])


@kernel
def max_pool_places(x, window, stride, out):
    """Bit plane p of the first place of each window that holds the largest value."""
    out[:] = 0
    for b in range(out.shape[0]):
        for r in range(out.shape[1]):
            for s in range(out.shape[2]):
                for c in range(x.shape[3]):
                    place, best = 0, x[b, r * stride, s * stride, c]
                    for t in range(1, window * window):
                        value = x[b, r * stride + t // window, s * stride + t % window, c]
                        if value > best:
                            place, best = t, value
                    for p in range(out.shape[3]):
                        out[b, r, s, p, c >> 6] |= np.uint64(place >> p & 1) << np.uint64(c & 63)


@kernel
def max_pool_gradient(d, places, window, stride, out):
    """out = d of each window at its place, added up where windows overlap, 0 elsewhere."""
    out[:] = 0
    for b in range(d.shape[0]):
        for r in range(d.shape[1]):
            for s in range(d.shape[2]):
                for c in range(d.shape[3]):
                    place = 0
                    for p in range(places.shape[3]):
                        place |= int(is_set(places[b, r, s, p], c)) << p
                    out[b, r * stride + place // window, s * stride + place % window, c] += d[b, r, s, c]
