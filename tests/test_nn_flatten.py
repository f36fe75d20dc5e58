"""From maps to rows, packed or not."""

from __future__ import annotations

import numpy as np
import pytest

import bitlearn as bl


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("n", [1, 3, 63, 64, 65, 128, 130])
def test_packed_maps(n, rng):
    plain = np.where(rng.random((3, 2, 5, n)) < 0.5, 1, -1)
    rows, cache = bl.nn.Flatten().forward(bl.Bits(bl.pack(plain), n), training=True)
    assert rows.shape == (3, 10 * n) and bl.nn.Flatten().output_shape((2, 5, n)) == (10 * n,)
    np.testing.assert_array_equal(rows.words, bl.pack(plain.reshape(3, -1)))

    g = rng.integers(-127, 128, size=(3, 10 * n)).astype(np.int8)
    dx, grads = bl.nn.Flatten().backward(cache, bl.Quantized(g, 0.5, 0, 8))
    np.testing.assert_array_equal(dx.values, g.reshape(plain.shape))
    assert (dx.scale, dx.bits, grads) == (0.5, 8, {})
    np.testing.assert_array_equal(bl.nn.Flatten().backward(cache, g)[0], g.reshape(plain.shape))


def test_codes(rng):
    codes = rng.integers(-128, 128, size=(3, 4, 5, 2)).astype(np.int8)
    rows, cache = bl.nn.Flatten().forward(codes, training=False)
    np.testing.assert_array_equal(rows, codes.reshape(3, -1))
    assert rows.dtype == np.int8 and cache is None
