"""Integers of few bits as bit planes, and their products with bits on column panels."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.jit.compilation import helper, kernel
from bitlearn.backends.jit.panels import PANEL, panel_at
from bitlearn.backends.jit.tile import TILE_COLUMNS, TILE_ROWS, count_tile


@helper
def needs_more(value, bits):
    """Whether a value is outside the range of so many bits."""
    wide = np.int64(value)
    if bits == 1:
        return wide != 1 and wide != -1
    return wide < -(1 << (bits - 1)) or wide >= 1 << (bits - 1)


@helper
def plane(value, bits, p):
    """Bit p of a value; of one bit, +1 is set."""
    return np.uint64(value == 1) if bits == 1 else np.uint64((np.int64(value) >> p) & 1)


@helper
def split_row(values, bits, out):
    """Set the planes of a row, out (bits, words), and return whether one of its values needs more bits."""
    out[:] = 0
    found = False
    for j in range(values.size):
        found |= needs_more(values[j], bits)
        for p in range(bits):
            out[p, j // 64] |= plane(values[j], bits, p) << np.uint64(j % 64)
    return found


@kernel
def split_planes(g, bits, out, outside):
    """The bit planes of the rows of g, and which rows hold a value of more bits."""
    for i in range(g.shape[0]):
        outside[i] = split_row(g[i], bits, out[i])


@kernel
def split_columns(g, bits, first, out, outside):
    """The bit planes of columns of g; outside tells of 64 columns together."""
    outside[:] = 0
    for o in range(out.shape[0]):
        if split_row(g[:, first + o], bits, out[o]):
            outside[o // 64 * 64] = 1


@kernel
def plane_windows(planes, kernel, padding, first, out_size, out):
    """The windows of some pixels of images of integers in bit planes."""
    _, h, w, bits, words = planes.shape
    for index in range(out.shape[0]):
        line, column = divmod(first + index, out_size[1])
        image, row = divmod(line, out_size[0])
        for i in range(kernel[0]):
            for j in range(kernel[1]):
                y, x, at = row - padding[0] + i, column - padding[1] + j, (i * kernel[1] + j) * words
                inside = 0 <= y < h and 0 <= x < w
                for p in range(bits):
                    for t in range(words):
                        out[index, p, at + t] = planes[image, y, x, p, t] if inside else np.uint64(0)


@helper
def add_counts(counts, r, bits, p, sums):
    """Take the counts of plane p from the sums, times its weight."""
    weight = np.int32(2) if bits == 1 else np.int32(-(1 << p)) if p == bits - 1 else np.int32(1 << p)
    for c in range(sums.size):
        sums[c] -= weight * counts[r, c]


@kernel
def planes_matmul(planes, panels, n, accumulate, out):
    """out[i, j] = sum over t of v[i, t] * b[j, t], added to out with accumulate."""
    m, bits, words = planes.shape
    rows = planes.reshape(m * bits, words)
    counts, sums, base = np.empty((TILE_ROWS, PANEL), np.int32), np.empty(PANEL, np.int32), np.empty(PANEL, np.int32)
    ones, zero = np.empty((TILE_ROWS, PANEL), np.int32), np.zeros((1, words), np.uint64)
    for start in range(0, out.shape[1], PANEL):
        panel, width, count = panel_at(panels, start, out.shape[1], words)
        for column in range(0, width, TILE_COLUMNS):
            count_tile(zero, 0, panel, width, column, ones)
        for c in range(PANEL):
            base[c] = n if bits == 1 else -ones[0, c] if c < width else 0
        for i in range(0, rows.shape[0], TILE_ROWS):
            for column in range(0, width, TILE_COLUMNS):
                count_tile(rows, i, panel, width, column, counts)
            for r in range(min(TILE_ROWS, rows.shape[0] - i)):
                p = (i + r) % bits
                if p == 0:
                    sums[:] = base
                add_counts(counts, r, bits, p, sums)
                if p == bits - 1:
                    row = (i + r) // bits
                    for c in range(count):
                        out[row, start + c] = sums[c] + (out[row, start + c] if accumulate else 0)
