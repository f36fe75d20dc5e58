"""Column panels: weights laid out so that a kernel's lanes are output columns. Still bits, in the same words.

The rows of a matrix of words ``(k, words)`` are the columns of the product. They are cut into groups of 32; a group is
stored word by word, for each word the columns side by side: ``[words][32]``. The last group is as wide as it has
columns, rounded up to 8; the columns that this adds are zero.
"""

from __future__ import annotations

import numpy as np

from bitlearn.bits import WORD

#: Columns of a full panel, and what the last one is rounded up to.
PANEL_COLUMNS = 32
PANEL_STEP = 8
#: From so many rows on, laying out the columns as panels pays for itself.
ROWS_WORTH_PANELS = 16
#: The words of the largest window that a convolution takes in panels: it gathers windows in a buffer of that size.
WINDOW_WORDS = 4096


def panel_words(k: int, words: int) -> int:
    """Return how many words the panels of `k` rows of `words` words take.

    >>> panel_words(33, 2)
    80
    """
    return -(-k // PANEL_STEP) * PANEL_STEP * words


def to_panels(rows: np.ndarray, out: np.ndarray) -> None:
    """Lay out rows (k, words) as panels, `out` (panel_words(k, words),)."""
    k, words = rows.shape
    at = 0
    for start in range(0, k, PANEL_COLUMNS):
        group = rows[start : start + PANEL_COLUMNS]
        width = -(-len(group) // PANEL_STEP) * PANEL_STEP
        panel = out[at : at + words * width].reshape(words, width)
        panel[:, : len(group)] = group.T
        panel[:, len(group) :] = 0
        at += words * width


def from_panels(panels: np.ndarray, k: int, words: int) -> np.ndarray:
    """Return the rows (k, words) of panels.

    >>> rows = np.arange(70, dtype=np.uint64).reshape(35, 2)
    >>> panels = np.empty(panel_words(35, 2), dtype=np.uint64)
    >>> to_panels(rows, panels)
    >>> bool((from_panels(panels, 35, 2) == rows).all())
    True
    """
    rows = np.empty((k, words), dtype=WORD)
    at = 0
    for start in range(0, k, PANEL_COLUMNS):
        count = min(PANEL_COLUMNS, k - start)
        width = -(-count // PANEL_STEP) * PANEL_STEP
        rows[start : start + count] = panels[at : at + words * width].reshape(words, width)[:, :count].T
        at += words * width
    return rows
