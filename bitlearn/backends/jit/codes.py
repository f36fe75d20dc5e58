"""First-layer codes: their products with gradients, and windows of images of them."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.jit.compilation import kernel

#: Terms of a block: the products of int16 with int8, at most 2**22 each, are summed in int32.
_TERMS = 128


@kernel
def codes_grad_weight(g, codes, first, accumulate, out):
    """out[o, j] = sum over i of g[i, first + o] * codes[i, j], added to out with accumulate.

    Four terms a pass: a sum is loaded and stored once for them.
    """
    if not accumulate:
        out[:] = 0
    n = codes.shape[1]
    sums = np.empty(n, np.int32)
    for start in range(0, g.shape[0], _TERMS):
        stop = min(start + _TERMS, g.shape[0])
        for o in range(out.shape[0]):
            sums[:] = 0
            t = start
            while t + 4 <= stop:
                g0, g1 = np.int32(g[t, first + o]), np.int32(g[t + 1, first + o])
                g2, g3 = np.int32(g[t + 2, first + o]), np.int32(g[t + 3, first + o])
                c0, c1, c2, c3 = codes[t], codes[t + 1], codes[t + 2], codes[t + 3]
                for j in range(n):
                    low = g0 * np.int32(c0[j]) + g1 * np.int32(c1[j])
                    sums[j] += low + g2 * np.int32(c2[j]) + g3 * np.int32(c3[j])
                t += 4
            while t < stop:
                value, row = np.int32(g[t, first + o]), codes[t]
                for j in range(n):
                    sums[j] += value * np.int32(row[j])
                t += 1
            total = out[o]
            for j in range(n):
                total[j] += sums[j]


@kernel
def unfold_codes(x, stride, padding, out):
    """out[b, r, c, i, j] = the pixel of x that tap (i, j) of window (r, c) sees, 0 outside the image."""
    for b in range(out.shape[0]):
        for r in range(out.shape[1]):
            for c in range(out.shape[2]):
                for i in range(out.shape[3]):
                    y = r * stride[0] + i - padding[0]
                    for j in range(out.shape[4]):
                        z = c * stride[1] + j - padding[1]
                        if 0 <= y < x.shape[1] and 0 <= z < x.shape[2]:
                            out[b, r, c, i, j] = x[b, y, z]
                        else:
                            out[b, r, c, i, j] = 0
