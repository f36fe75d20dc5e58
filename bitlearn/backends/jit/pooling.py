"""Max pooling of integer sums and of packed bits."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.jit.compilation import helper, kernel


@helper
def is_set(words, c):
    """Whether bit c of a row of words is set."""
    return (words[c >> 6] >> np.uint64(c & 63)) & np.uint64(1) != np.uint64(0)


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


@kernel
def bit_pool(x, window, stride, out):
    """out = the OR of each window's words."""
    for b in range(out.shape[0]):
        for r in range(out.shape[1]):
            for s in range(out.shape[2]):
                found = out[b, r, s]
                found[:] = x[b, r * stride, s * stride]
                for t in range(1, window * window):
                    tap = x[b, r * stride + t // window, s * stride + t % window]
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
            for s in range(out.shape[2]):
                for w in range(x.shape[3]):
                    seen = np.uint64(0)
                    for t in range(window * window):
                        tap = x[b, r * stride + t // window, s * stride + t % window, w]
                        for p in range(out.shape[3]):
                            if t >> p & 1:
                                out[b, r, s, p, w] |= tap & ~seen
                        seen |= tap
