"""Integers of few bits: their planes and their products with bits, every variant against the specification."""

from __future__ import annotations

import numpy as np
import operands_planes as operands
import pytest
from cases import EDGES, PRODUCTS, packed, signs
from guards import check_exactly, filled, rivals

from bitlearn.bits import WORD
from bitlearn.panels import panel_words, to_panels

#: Values around the columns of a word, and rows around the 512 that are transposed at a time.
MATRICES = [*((5, n) for n in EDGES), *((m, 70) for m in EDGES), (511, 3), (512, 130), (1091, 65), (3, 1091)]
#: Rows and columns around a tile of every variant.
TILES = [(m, k, n) for m in (1, 7, 8, 9, 15, 16, 17, 33) for k, n in ((9, 70), (33, 200), (64, 130), (97, 129))]


@pytest.mark.parametrize(("kernel", "variant"), rivals("split_planes", "split_columns"))
@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("wide", [False, True])
def test_splits(kernel, variant, bits, wide, rng):
    make = operands.split_planes if kernel == "split_planes" else operands.split_columns
    for size in MATRICES:
        outside = check_exactly(kernel, variant, make(rng, size, (bits, wide)))
        assert wide or not outside.any()


@pytest.mark.parametrize(("kernel", "variant"), rivals("split_planes"))
@pytest.mark.parametrize("bits", range(1, 9))
def test_every_value(kernel, variant, bits):
    g = np.arange(-128, 128, dtype=np.int8)[:, None]
    out = filled((256, bits, 1), WORD), filled((256,), np.uint8)
    outside = check_exactly(kernel, variant, (g, bits, *out))
    inside = np.isin(g[:, 0], (-1, 1)) if bits == 1 else (g[:, 0] >> (bits - 1) == g[:, 0] >> 7)
    np.testing.assert_array_equal(outside == 0, inside)


@pytest.mark.parametrize(("kernel", "variant"), rivals("planes_matmul"))
@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("accumulate", [False, True])
def test_products(kernel, variant, bits, accumulate, rng):
    for size in [*PRODUCTS, *TILES, (18, 5, 64 * 65)]:
        *inputs, _, start = operands.planes_matmul(rng, size, bits)
        check_exactly(kernel, variant, (*inputs, accumulate, start))


@pytest.mark.parametrize(("kernel", "variant"), rivals("planes_matmul"))
@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("n", [64 * 63, 64 * 64, 64 * 64 + 1, 64 * 1023, 64 * 1023 + 1])
def test_largest_sums(kernel, variant, bits, n, rng):
    # The limits of a value against equal bits: the largest counts that each plane can have.
    low, high = (-1, 1) if bits == 1 else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    g = np.repeat(np.array([low, high, low, high], dtype=np.int8)[:, None], n, axis=1)
    g[2:, ::2] = 1
    b = signs(rng, 3, n)
    b[0], b[1] = 1, -1
    panels = np.empty(panel_words(*packed(b).shape), dtype=WORD)
    to_panels(packed(b), panels)
    arguments = operands.planes_of(g, bits), panels, n, False, filled((4, 3), np.int32)
    out = check_exactly(kernel, variant, arguments)
    assert out[:2, :2].tolist() == [[low * n, -low * n], [high * n, -high * n]]
