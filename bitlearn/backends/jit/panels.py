"""Products with weights in column panels: tiles of counts, finished a row at a time."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.jit.compilation import helper, inlined, kernel
from bitlearn.backends.jit.tile import TILE_COLUMNS, TILE_ROWS, count_tile

PANEL = 32


@helper
def panel_at(panels, start, columns, words):
    """Return the panel whose first column is `start`, of `columns` in all, and how many it has, stored and real."""
    count = min(PANEL, columns - start)
    width = (count + TILE_COLUMNS - 1) // TILE_COLUMNS * TILE_COLUMNS
    return panels[start * words : (start + width) * words], width, count


@kernel
def pack_panels(b, out):
    """Lay out the rows of b as column panels."""
    words = b.shape[1]
    for start in range(0, b.shape[0], PANEL):
        panel, width, count = panel_at(out, start, b.shape[0], words)
        for p in range(words):
            for c in range(count):
                panel[p * width + c] = b[start + c, p]
            panel[p * width + count : (p + 1) * width] = 0


@inlined
def reached(counts, r, bases, b, threshold, start, count):
    """Return the bits of the columns [start, start + count) whose dot reaches its threshold."""
    bits = np.uint64(0)
    for c in range(count):
        dot = bases[b, c] - 2 * counts[r, c]
        bits |= np.uint64(dot >= threshold[np.uint64(start + c)]) << np.uint64(c)
    return bits


@inlined
def finish_row(counts, r, bases, start, count, threshold, out, i):
    """Write columns [start, start + count) of row i: the counts, dots base - 2 * count, or bits of dots, clear before.

    Counts where there are no bases, dots where there is no threshold; what is None decides when it is compiled.
    Unsigned indices, because a negative one would count from the end, which keeps LLVM from vectorising.
    """
    if bases is None:
        for c in range(count):
            out[i, np.uint64(start + c)] = counts[r, c]
    else:
        b = min(i, bases.shape[0] - 1)
        if threshold is None:
            for c in range(count):
                out[i, np.uint64(start + c)] = bases[b, c] - 2 * counts[r, c]
        else:
            if count == PANEL:  # compiled apart, for the known number of bits
                bits = reached(counts, r, bases, b, threshold, start, PANEL)
            else:
                bits = reached(counts, r, bases, b, threshold, start, count)
            out[i, start // 64] |= bits << np.uint64(start % 64)


@helper
def multiply_panel(rows, panel, width, bases, counts, start, count, threshold, out):
    """Finish one panel for all rows; bases (rows, columns), or (1, columns) where all have the same."""
    for i in range(0, rows.shape[0], TILE_ROWS):
        for column in range(0, width, TILE_COLUMNS):
            count_tile(rows, i, panel, width, column, counts)
        for r in range(min(TILE_ROWS, rows.shape[0] - i)):
            finish_row(counts, r, bases, start, count, threshold, out, i + r)


@helper
def multiply(a, panels, bases, columns, threshold, out):
    """Finish the product of a with all panels."""
    counts = np.empty((TILE_ROWS, PANEL), np.int32)
    for start in range(0, columns, PANEL):
        panel, width, count = panel_at(panels, start, columns, a.shape[1])
        multiply_panel(a, panel, width, bases, counts, start, count, threshold, out)
