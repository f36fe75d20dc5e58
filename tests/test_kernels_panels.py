"""Products on column panels: every variant against the executable specification."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CONVOLUTIONS, EDGES, PRODUCTS, conv, packed, signs, tails_are_zero, words
from guards import around, check_exactly, filled, rivals, specified

from bitlearn.bits import WORD, words_for
from bitlearn.panels import panel_words, to_panels

#: Either side of a step of 8 columns, of a panel and of two; and enough rows for every tile.
COLUMNS = (0, 1, 7, 8, 9, 15, 16, 17, 24, 25, 31, 32, 33, 63, 64, 65, 97)
TILES = [(m, k, n) for m in range(14) for k, n in ((9, 70), (32, 200), (45, 129))]
SHAPES = [*PRODUCTS, *TILES, *((5, k, 70) for k in COLUMNS), (7, 40, 64 * 31), (7, 40, 64 * 63 + 1)]


#: Many channels, whose counts of bits outside the image do not fit one table; blocks of pixels cut in the middle.
LARGER = [
    conv(1, (7, 9), 70, 950, (3, 3), 1, 1),
    conv(2, (9, 11), 400, 70, (5, 5), 2, 2),
    conv(1, (6, 5), 3, 9, (17, 17), 1, 8),
]
#: Windows that are cut in more ways than a variant has room for; long ones, more channels than stay at a time, and
#: blocks of pixels on two images.
WINDOWS = [conv(1, (40, 3), 3, 9, (17, 3), 1, (8, 1)), conv(2, (5, 5), 1091, 100, (3, 3), 1, 1)]
#: Where one operand stays in the cache, and the other moves past it in parts: more of each than one strip, more than
#: stay at a time, rows that are longer than what stays; more rows than columns, and more columns.
STRIPS = [(70, 40, 64 * 40 + 3), (40, 70, 64 * 40 + 3), (70, 67, 64 * 300), (67, 70, 64 * 300), (34, 33, 64 * 515 + 1)]
STRIPS += [(1, 1100, 65), (1100, 1060, 65)]


def panels(b: np.ndarray) -> np.ndarray:
    out = np.empty(panel_words(*b.shape), dtype=WORD)
    to_panels(b, out)
    return out


@pytest.mark.parametrize(("kernel", "variant"), rivals("pack_panels"))
def test_pack_panels(kernel, variant, rng):
    for k in COLUMNS:
        for n in EDGES:
            b = words(rng, k, n)
            check_exactly(kernel, variant, (b, filled((panel_words(k, words_for(n)),), WORD)))


@pytest.mark.parametrize(("kernel", "variant"), rivals("hamming", "xnor_matmul"))
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32])
def test_products(kernel, variant, dtype, rng):
    for m, k, n in SHAPES:
        a, b = words(rng, m, n), words(rng, k, n)
        check_exactly(kernel, variant, (a, panels(b), n, filled((m, k), dtype)))


@pytest.mark.parametrize(("kernel", "variant"), rivals("hamming", "xnor_matmul"))
def test_more_than_stays_in_a_cache(kernel, variant, rng):
    for m, k, n in STRIPS:
        check_exactly(kernel, variant, (words(rng, m, n), panels(words(rng, k, n)), n, filled((m, k), np.int32)))


@pytest.mark.parametrize(("kernel", "variant"), rivals("xnor_matmul_sign"))
def test_xnor_matmul_sign_panels(kernel, variant, rng):
    for m, k, n in [*SHAPES, *STRIPS[:2]]:
        a, b = signs(rng, m, n), signs(rng, k, n)
        threshold = around(a.astype(np.int64) @ b.T.astype(np.int64))
        arguments = (packed(a), panels(packed(b)), n, threshold, filled((m, words_for(k)), WORD))
        assert tails_are_zero(check_exactly(kernel, variant, arguments), k)


@pytest.mark.parametrize(("kernel", "variant"), rivals("xnor_matmul"))
@pytest.mark.parametrize(("dtype", "n"), [(np.int16, 2**15 - 1), (np.int32, 2**18 + 1), (np.float32, 2**18 + 1)])
def test_longest_rows(kernel, variant, dtype, n, rng):
    # All equal and all different give the largest magnitudes that a result and its partial sums can have.
    a = signs(rng, 3, n)
    a[0] = 1
    b = np.stack([a[0], -a[0], a[1], -a[1]])
    out = check_exactly(kernel, variant, (packed(a), panels(packed(b)), n, filled((3, 4), dtype)))
    assert (out[0, :2].tolist(), out[1, 2:].tolist()) == ([n, -n], [n, -n])
    out = check_exactly("hamming", variant, (packed(a), panels(packed(b)), n, filled((3, 4), dtype)))
    assert (out[0, :2].tolist(), out[1, 2:].tolist()) == ([0, n], [0, n])


@pytest.mark.parametrize(("kernel", "variant"), rivals("xnor_conv2d", "xnor_conv2d_sign"))
@pytest.mark.parametrize("pad_value", [0, 1, -1])
def test_convolutions(kernel, variant, pad_value, rng):
    for number, case in enumerate([*CONVOLUTIONS, *LARGER, *WINDOWS]):
        x, w = words(rng, case.batch, *case.image, case.n), words(rng, case.k, *case.kernel, case.n)
        fixed = (x, panels(w.reshape(case.k, -1) if case.k else w.reshape(0, int(np.prod(w.shape[1:])))), case.kernel)
        fixed = (*fixed, case.n, case.stride, case.padding, pad_value)
        shape = (case.batch, *case.out)
        if kernel == "xnor_conv2d":
            dtype = (np.int16, np.int32, np.float32)[number % 3]
            check_exactly(kernel, variant, (*fixed, filled((*shape, case.k), dtype)))
        else:
            dots = np.zeros((*shape, case.k), dtype=np.int64)
            (dots,) = specified("xnor_conv2d", (*fixed, dots))
            out = filled((*shape, words_for(case.k)), WORD)
            assert tails_are_zero(check_exactly(kernel, variant, (*fixed, around(dots), out)), case.k)
