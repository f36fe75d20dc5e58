"""Products with weights in column panels: the inner loop runs over the columns side by side, which LLVM vectorises."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.jit.compilation import helper, kernel, popcount_word
from bitlearn.backends.jit.convolutions import taps_inside

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
def add_counts(row, panel, width, counts):
    """counts[c] += number of differing bits of a row and column c of a panel.

    Four words a pass: the counts are loaded and stored once for four of them.
    """
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


@helper
def pack_reached(dots, threshold, first, count, out):
    """Set the bits of the columns [first, first + count) whose dot reaches its threshold; they are clear before."""
    word = np.uint64(0)
    for c in range(count):
        word |= np.uint64(dots[c] >= threshold[first + c]) << np.uint64(c)
    out[first // 64] |= word << np.uint64(first % 64)


@kernel
def hamming_panels(a, panels, n, out):
    """hamming with b in panels."""
    counts = np.empty(_PANEL, np.uint64)
    at = 0
    for start in range(0, out.shape[1], _PANEL):
        count = min(_PANEL, out.shape[1] - start)
        width = (count + _STEP - 1) // _STEP * _STEP
        panel = panels[at : at + width * a.shape[1]]
        at += panel.size
        for i in range(a.shape[0]):
            counts[:width] = 0
            add_counts(a[i], panel, width, counts)
            for c in range(count):
                out[i, start + c] = np.int64(counts[c])


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
            counts[:width] = 0
            add_counts(a[i], panel, width, counts)
            for c in range(count):
                out[i, start + c] = n - 2 * np.int64(counts[c])


@kernel
def xnor_matmul_sign_panels(a, panels, n, threshold, out):
    """xnor_matmul_sign with b in panels."""
    counts, dots = np.empty(_PANEL, np.uint64), np.empty(_PANEL, np.int64)
    out[:] = 0
    at = 0
    for start in range(0, threshold.size, _PANEL):
        count = min(_PANEL, threshold.size - start)
        width = (count + _STEP - 1) // _STEP * _STEP
        panel = panels[at : at + width * a.shape[1]]
        at += panel.size
        for i in range(a.shape[0]):
            counts[:width] = 0
            add_counts(a[i], panel, width, counts)
            for c in range(count):
                dots[c] = n - 2 * np.int64(counts[c])
            pack_reached(dots, threshold, start, count, out[i])


@helper
def convolve_pixel(image, panel, n, words, kernel, top, left, pad_value, width, counts, dots):
    """Fill the dots of a panel's columns for the window whose first tap is at (top, left); image (h, w * words).

    A tap inside counts n - 2 * mismatches; one outside counts pad_value * (2 * popcount - n), the sum of its signs.
    """
    kh, kw = kernel
    i0, i1 = taps_inside(top, kh, image.shape[0])
    j0, j1 = taps_inside(left, kw, image.shape[1] // words if words else 0)
    inside = (i1 - i0) * (j1 - j0)
    counts[:width] = 0
    for i in range(i0, i1):
        # Taps of one row lie side by side in the image as in the panel.
        run = image[top + i, (left + j0) * words : (left + j1) * words]
        add_counts(run, panel[(i * kw + j0) * words * width :], width, counts)
    for c in range(width):
        dots[c] = n * (inside - pad_value * (kh * kw - inside)) - 2 * np.int64(counts[c])
    if pad_value != 0 and inside < kh * kw:
        for i in range(kh):
            for j in range(kw):
                if i0 <= i < i1 and j0 <= j < j1:
                    continue
                lines = panel[(i * kw + j) * words * width : (i * kw + j + 1) * words * width]
                for t in range(lines.size):
                    dots[t % width] += 2 * pad_value * np.int64(popcount_word(lines[t]))


@kernel
def xnor_conv2d_panels(x, panels, kernel, n, stride, padding, pad_value, out):
    """xnor_conv2d with w in panels."""
    batch, h, w, words = x.shape
    images = x.reshape(batch, h, w * words)
    counts, dots = np.empty(_PANEL, np.uint64), np.empty(_PANEL, np.int64)
    at = 0
    for start in range(0, out.shape[3], _PANEL):
        count = min(_PANEL, out.shape[3] - start)
        width = (count + _STEP - 1) // _STEP * _STEP
        panel = panels[at : at + width * kernel[0] * kernel[1] * words]
        at += panel.size
        for b in range(batch):
            for r in range(out.shape[1]):
                for c in range(out.shape[2]):
                    top, left = r * stride[0] - padding[0], c * stride[1] - padding[1]
                    convolve_pixel(images[b], panel, n, words, kernel, top, left, pad_value, width, counts, dots)
                    for o in range(count):
                        out[b, r, c, start + o] = dots[o]


@kernel
def xnor_conv2d_sign_panels(x, panels, kernel, n, stride, padding, pad_value, threshold, out):
    """xnor_conv2d_sign with w in panels."""
    batch, h, w, words = x.shape
    images = x.reshape(batch, h, w * words)
    counts, dots = np.empty(_PANEL, np.uint64), np.empty(_PANEL, np.int64)
    out[:] = 0
    at = 0
    for start in range(0, threshold.size, _PANEL):
        count = min(_PANEL, threshold.size - start)
        width = (count + _STEP - 1) // _STEP * _STEP
        panel = panels[at : at + width * kernel[0] * kernel[1] * words]
        at += panel.size
        for b in range(batch):
            for r in range(out.shape[1]):
                for c in range(out.shape[2]):
                    top, left = r * stride[0] - padding[0], c * stride[1] - padding[1]
                    convolve_pixel(images[b], panel, n, words, kernel, top, left, pad_value, width, counts, dots)
                    pack_reached(dots, threshold, start, count, out[b, r, c])
