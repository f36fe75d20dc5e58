"""Products of bits with bits: the sum of a[t] * b[t] over n values is n - 2 * popcount(a ^ b).

How many axes b has, two of plain words or one of panels, decides when a kernel is compiled.
"""

from __future__ import annotations

import numpy as np

from bitlearn.backends.jit.compilation import helper, kernel, popcount_word
from bitlearn.backends.jit.packing import pack_row
from bitlearn.backends.jit.panels import PANEL, multiply


@helper
def mismatches(a, b):
    """Return in how many bits two runs of words differ."""
    total = np.uint64(0)
    for t in range(a.size):
        total += popcount_word(a[t] ^ b[t])
    return np.int64(total)


@helper
def mismatches_of_four(a, b0, b1, b2, b3):
    """Return in how many bits a differs from each of four runs: a is loaded once for all of them."""
    total0, total1, total2, total3 = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
    for t in range(a.size):
        word = a[t]
        total0 += popcount_word(word ^ b0[t])
        total1 += popcount_word(word ^ b1[t])
        total2 += popcount_word(word ^ b2[t])
        total3 += popcount_word(word ^ b3[t])
    return np.int64(total0), np.int64(total1), np.int64(total2), np.int64(total3)


@helper
def add_mismatches(a, b, start, scale, out):
    """out[j] += scale * (in how many bits the run a differs from the words of b[j] that begin at start)."""
    stop = start + a.size
    whole = out.size & ~3
    for j in range(0, whole, 4):
        c0, c1, c2, c3 = mismatches_of_four(
            a, b[j, start:stop], b[j + 1, start:stop], b[j + 2, start:stop], b[j + 3, start:stop]
        )
        out[j] += scale * c0
        out[j + 1] += scale * c1
        out[j + 2] += scale * c2
        out[j + 3] += scale * c3
    for j in range(whole, out.size):
        out[j] += scale * mismatches(a, b[j, start:stop])


@kernel
def hamming(a, b, n, out):
    """out[i, j] = popcount(a[i] ^ b[j])."""
    if b.ndim == 1:
        multiply(a, b, None, out.shape[1], None, out)
    else:
        for i in range(a.shape[0]):
            out[i] = 0
            add_mismatches(a[i], b, 0, 1, out[i])


@kernel
def xnor_matmul(a, b, n, out):
    """out[i, j] = n - 2 * popcount(a[i] ^ b[j])."""
    if b.ndim == 1:
        multiply(a, b, np.full((1, PANEL), n, np.int32), out.shape[1], None, out)
    else:
        for i in range(a.shape[0]):
            out[i] = n
            add_mismatches(a[i], b, 0, -2, out[i])


@kernel
def xnor_matmul_sign(a, b, n, threshold, out):
    """bit[i, j] = n - 2 * popcount(a[i] ^ b[j]) >= threshold[j], of plain words a row at a time."""
    if b.ndim == 1:
        out[:] = 0
        multiply(a, b, np.full((1, PANEL), n, np.int32), threshold.size, threshold, out)
    else:
        dots = np.empty(b.shape[0], np.int32)  # one row, allocated once a call
        for i in range(a.shape[0]):
            dots[:] = n
            add_mismatches(a[i], b, 0, -2, dots)
            pack_row(dots, threshold, out[i])
