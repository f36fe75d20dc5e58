"""Products with weights in column panels: the inner loop runs over the columns side by side, which LLVM vectorises."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.jit.compilation import helper, kernel, popcount_word

_PANEL, _STEP = 32, 8


@kernel
def pack_panels(b, out):
    """Lay out the rows of b as column panels."""
    at = 0
    for start in range(0, b.shape[0], _PANEL):
        count = min(_PANEL, b.shape[0] - start)
        width = (count + _STEP - 1) // _STEP * _STEP
        for p in range(b.shape[1]):
            for c in range(count):
                out[at + c] = b[start + c, p]
            out[at + count : at + width] = 0
            at += width


@helper
def count_panel(row, panel, width, counts):
    """counts[c] = number of differing bits of a row and column c of a panel.

    Four words a pass: the counts are loaded and stored once for four of them.
    """
    counts[:width] = 0
    p = 0
    while p + 4 <= row.size:
        w0, w1, w2, w3 = row[p], row[p + 1], row[p + 2], row[p + 3]
        lines = panel[p * width : (p + 4) * width]
        for c in range(width):
            counts[c] += (
                popcount_word(w0 ^ lines[c])
                + popcount_word(w1 ^ lines[width + c])
                + popcount_word(w2 ^ lines[2 * width + c])
                + popcount_word(w3 ^ lines[3 * width + c])
            )
        p += 4
    while p < row.size:
        word, line = row[p], panel[p * width : (p + 1) * width]
        for c in range(width):
            counts[c] += popcount_word(word ^ line[c])
        p += 1


@kernel
def xnor_matmul_panels(a, panels, n, out):
    """xnor_matmul with b in panels."""
    counts = np.empty(_PANEL, np.uint64)
    at = 0
    for start in range(0, out.shape[1], _PANEL):
        count = min(_PANEL, out.shape[1] - start)
        width = (count + _STEP - 1) // _STEP * _STEP
        panel = panels[at : at + width * a.shape[1]]
        at += panel.size
        for i in range(a.shape[0]):
            count_panel(a[i], panel, width, counts)
            for c in range(count):
                out[i, start + c] = n - 2 * np.int64(counts[c])


@kernel
def xnor_matmul_sign_panels(a, panels, n, threshold, out):
    """xnor_matmul_sign with b in panels."""
    counts = np.empty(_PANEL, np.uint64)
    out[:] = 0
    at = 0
    for start in range(0, threshold.size, _PANEL):
        count = min(_PANEL, threshold.size - start)
        width = (count + _STEP - 1) // _STEP * _STEP
        panel = panels[at : at + width * a.shape[1]]
        at += panel.size
        for i in range(a.shape[0]):
            count_panel(a[i], panel, width, counts)
            word = np.uint64(0)
            for c in range(count):
                reached = n - 2 * np.int64(counts[c]) >= threshold[start + c]
                word |= np.uint64(reached) << np.uint64(c)
            out[i, start // 64] |= word << np.uint64(start % 64)
