"""Max pooling of integer sums, real values and packed bits; windows are cut off at the lower and the right edge."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.jit.compilation import helper, kernel


@helper
def is_set(words, c):
    """Whether bit c of a row of words is set."""
    return (words[c >> 6] >> np.uint64(c & 63)) & np.uint64(1) != np.uint64(0)


@helper
def reach(place, stride, window, size):
    """The first index of a window along an axis, and the first after it."""
    return place * stride, min(place * stride + window, size)


@kernel
def max_pool(x, window, stride, out):
    """out = the largest value of each window, +0 for -0."""
    zero = x.dtype.type(0)
    for b in range(out.shape[0]):
        for r in range(out.shape[1]):
            top, bottom = reach(r, stride, window, x.shape[1])
            for s in range(out.shape[2]):
                left, right = reach(s, stride, window, x.shape[2])
                best = out[b, r, s]
                best[:] = x[b, top, left]
                for i in range(top, bottom):
                    for j in range(left, right):
                        tap = x[b, i, j]
                        for c in range(best.size):
                            best[c] = max(best[c], tap[c]) + zero


@kernel
def max_pool_places(x, window, stride, out):
    """Bit plane p of the first place of each window that holds the largest value."""
    out[:] = 0
    for b in range(out.shape[0]):
        for r in range(out.shape[1]):
            top, bottom = reach(r, stride, window, x.shape[1])
            for s in range(out.shape[2]):
                left, right = reach(s, stride, window, x.shape[2])
                for c in range(x.shape[3]):
                    place, best = 0, x[b, top, left, c]
                    for i in range(top, bottom):
                        for j in range(left, right):
                            if x[b, i, j, c] > best:
                                place, best = (i - top) * window + j - left, x[b, i, j, c]
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


@kernel
def bit_pool(x, window, stride, out):
    """out = the OR of each window's words."""
    for b in range(out.shape[0]):
        for r in range(out.shape[1]):
            top, bottom = reach(r, stride, window, x.shape[1])
            for s in range(out.shape[2]):
                left, right = reach(s, stride, window, x.shape[2])
                found = out[b, r, s]
                found[:] = x[b, top, left]
                for i in range(top, bottom):
                    for j in range(left, right):
                        tap = x[b, i, j]
                        for w in range(found.size):
                            found[w] |= tap[w]


@kernel
def bit_pool_places(x, window, stride, out):
    """Bit plane p of the first place of each window that has the bit set, 0 where none has."""
    out[:] = 0
    if out.shape[3] == 0:
        return
    for b in range(out.shape[0]):
        for r in range(out.shape[1]):
            top, bottom = reach(r, stride, window, x.shape[1])
            for s in range(out.shape[2]):
                left, right = reach(s, stride, window, x.shape[2])
                for w in range(x.shape[3]):
                    seen = np.uint64(0)
                    for i in range(top, bottom):
                        for j in range(left, right):
                            first = x[b, i, j, w] & ~seen
                            for p in range(out.shape[3]):
                                if ((i - top) * window + j - left) >> p & 1:
                                    out[b, r, s, p, w] |= first
                            seen |= first
