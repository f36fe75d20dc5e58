"""Products of gradients with bits of sizes that take tables in registers (csrc/avx512), against sums of the values.

Values of -7 to 7 and of all of int8 take tables of their own, and those of int16 two planes of them. The shapes pass
every block of the two drivers: terms of a tile, of sums before they are handed on, and of a chunk of positions; columns
of an index; rows of a block; lines of images narrower than a tile.
"""

from __future__ import annotations

import numpy as np
import oracles
import pytest
from cases import integers, packed, signs, tails_are_zero

import bitlearn as bl

PRODUCTS = [
    (50, 200, 194),
    (49, 257, 200),
    (7, 1537, 197),  # terms past those of a tile
    (5, 4800, 193),  # and past what sums of bytes hold
    (4801, 33, 193),
    (470, 131, 1300),  # columns past those of an index
    (60, 700, 300),  # int16: terms past those of a tile
    (66000, 12, 194),  # and sums past int32
    (40, 16, 2048),  # too few terms of one of the products
]
CONVOLUTIONS = [  # batch, image, n, channels, kernel, stride, padding, pad_value
    (2, (9, 20), 66, 68, (3, 3), 1, 1, 0),
    (3, (8, 3), 70, 130, (3, 3), 1, 1, 1),  # lines shorter than a tile
    (2, (16, 1), 128, 70, (3, 3), 1, 1, -1),
    (2, (12, 11), 64, 40, (3, 3), 2, 1, 0),
    (2, (9, 9), 40, 65, (5, 5), (2, 1), (2, 0), 0),
    (10, (5, 4), 200, 66, (1, 1), 1, 0, 0),
    (3, (10, 9), 200, 60, (1, 1), 2, 1, -1),
    (1, (8, 8), 520, 515, (3, 3), 1, 1, 0),
    (9, (7, 9), 30, 140, (2, 3), 3, 0, 0),
    (1, (70, 70), 65, 16, (3, 3), 1, 1, 0),  # positions past what sums of bytes hold
    (2, (3, 3), 66, 64, (6, 6), 1, 3, 1),  # more taps than are taken at once
]

# Values of 16 bits take tables from larger sizes on.
WIDER_CONVOLUTIONS = [
    (2, (9, 20), 66, 68, (3, 3), 1, 1, 0),
    (20, (8, 3), 70, 130, (3, 3), 1, 1, 1),
    (9, (16, 1), 128, 130, (3, 3), 1, 1, -1),
    (14, (12, 11), 64, 70, (3, 3), 2, 1, 0),
    (16, (9, 9), 40, 65, (5, 5), (2, 1), (2, 0), 0),
    (40, (5, 4), 200, 100, (1, 1), 1, 0, 0),
    (20, (10, 9), 200, 100, (1, 1), 2, 1, -1),
    (1, (8, 8), 520, 515, (3, 3), 1, 1, 0),
    (60, (7, 9), 40, 140, (2, 3), 3, 0, 0),
]
WIDER = ["int16", "largest int16", "least int16"]


def gradients(rng, kind, *shape) -> np.ndarray:
    if kind == "wide":
        return integers(rng, np.int8, *shape)
    if kind == "narrow":
        return rng.integers(-7, 8, size=shape).astype(np.int8)
    if kind == "largest":  # of one sign: the largest sums there are
        return np.full(shape, -7, np.int8)
    if kind == "least":
        return np.full(shape, -128, np.int8)
    if kind == "int16":
        return integers(rng, np.int16, *shape)
    if kind in ("largest int16", "least int16"):
        return np.full(shape, 32767 if kind == "largest int16" else -32768, np.int16)
    found = rng.integers(-7, 8, size=shape).astype(np.int8)
    found.reshape(-1)[-1] = -8  # one value of four bits that is not within -7 and 7
    return found


def product(a, b) -> np.ndarray:
    """Exact: float64 holds every sum."""
    return (a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64)


def check_weight(found, sums, g, x, n, rng, **how):
    """The values of a weight's gradient, added, shared by threads, and their signs."""
    np.testing.assert_array_equal(found(g, x, n, **how), sums)
    start = rng.integers(-1000, 1000, size=sums.shape).astype(np.int64 if g.dtype == np.int16 else np.int32)
    out = start.copy()
    found(g, x, n, accumulate=True, out=out, threads=2, **how)
    np.testing.assert_array_equal(out, sums + start)
    mask = signs(rng, *sums.shape)
    for threshold in (0, 11, -3.5):
        signed = np.where((sums >= threshold) & (mask > 0), 1, -1)
        got = found(g, x, n, output="sign", threshold=threshold, mask=packed(mask), **how)
        np.testing.assert_array_equal(got, packed(signed))
        assert tails_are_zero(got, n)


@pytest.mark.parametrize("kind", ["wide", "narrow", "largest", "least", "four bits", *WIDER])
@pytest.mark.parametrize("size", PRODUCTS, ids=str)
def test_products(size, kind, rng):
    m, k, n = size
    g, w, x = gradients(rng, kind, m, k), signs(rng, k, n), signs(rng, m, n)
    if "est" in kind:
        w[:, 0], x[:, 0], w[:, 1], x[:, 1] = 1, 1, -1, -1
    expected = product(g, w)
    for threads in (1, 2):
        np.testing.assert_array_equal(bl.grad_input(g, packed(w), n, threads=threads), expected)
    check_weight(bl.grad_weight, product(g.T, x), g, packed(x), n, rng)


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        *((case, kind) for case in CONVOLUTIONS for kind in ("wide", "narrow", "largest", "least")),
        *((case, kind) for case in WIDER_CONVOLUTIONS for kind in WIDER),
    ],
    ids=str,
)
def test_convolutions(case, kind, rng):
    batch, image, n, channels, kernel, stride, padding, pad_value = case
    x, w = signs(rng, batch, *image, n), signs(rng, channels, *kernel, n)
    if "est" in kind:
        w[..., 0], x[..., 0], w[..., 1], x[..., 1] = 1, 1, -1, -1
    windows = {"stride": stride, "padding": padding}
    shape = bl.xnor_conv2d(packed(x), packed(w), n, pad_value=pad_value, **windows).shape
    g = gradients(rng, kind, *shape)
    expected = oracles.grad_input(g, w, image, stride, padding)
    for threads in (1, 2):
        got = bl.conv2d_grad_input(g, packed(w), n, image, pad_value=pad_value, threads=threads, **windows)
        np.testing.assert_array_equal(got, expected)
    sums = oracles.grad_weight(g, x, kernel, stride, padding, pad_value)

    def found(g, words, n, **how):
        return bl.conv2d_grad_weight(g, words, n, kernel, pad_value=pad_value, **windows, **how)

    check_weight(found, sums, g, packed(x), n, rng)


def test_some_channels_alone_may_be_narrow(rng):
    """Threads that share the channels look at their own values, and may take other tables than their neighbours."""
    g, x = gradients(rng, "narrow", 300, 64), signs(rng, 300, 150)
    g[:, 40:] = integers(rng, np.int8, 300, 24)
    for threads in (1, 2, 3):
        np.testing.assert_array_equal(bl.grad_weight(g, packed(x), 150, threads=threads), product(g.T, x))
