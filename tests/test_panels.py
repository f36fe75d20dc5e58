"""Column panels: the layout, and operands that are prepared in it."""

from __future__ import annotations

import numpy as np
from cases import words
from test_kernels_panels import panels

import bitlearn as bl
from bitlearn.panels import PANEL_COLUMNS


def test_the_layout_is_what_it_says(rng):
    b = words(rng, 45, 130)
    flat, at = panels(b), 0
    for start in range(0, 45, PANEL_COLUMNS):
        width = 32 if start == 0 else 16
        for p in range(3):
            for c in range(width):
                assert flat[at] == (b[start + c, p] if start + c < 45 else 0)
                at += 1
    assert at == flat.size


def test_prepared_weights_are_still_bits(rng):
    for k in (256, 257, 300, 1000):
        b = words(rng, k, 1091)
        prepared = bl.pack_weights(b, 1091)
        assert prepared.nbytes <= 1.1 * b.nbytes
        np.testing.assert_array_equal(prepared.words(), b, strict=True)


def test_few_and_many_rows_agree(variant, rng):
    # Few rows take the words as they lie, many are worth laying out the columns.
    b = words(rng, 45, 300)
    a = words(rng, 40, 300)
    prepared = bl.pack_weights(b, 300)
    whole = bl.xnor_matmul(a, b, 300)
    for rows in (1, 2, 15, 16, 17, 40):
        np.testing.assert_array_equal(bl.xnor_matmul(a[:rows], b, 300), whole[:rows], strict=True)
        np.testing.assert_array_equal(bl.xnor_matmul(a[:rows], prepared, 300), whole[:rows], strict=True)
