"""Max pooling of sums and of bits against loops over windows."""

from __future__ import annotations

import numpy as np
import published
import pytest

import bitlearn as bl
from bitlearn.ops.quantize import Quantized

#: (window, stride, height, width): windows that fill the map, that do not, that overlap, and that leave gaps.
WINDOWS = [(2, 2, 6, 4), (2, None, 7, 5), (3, 2, 7, 8), (3, 1, 5, 6), (2, 3, 8, 7), (1, 1, 3, 4), (4, 4, 4, 9)]


def values(rng, kind: str, *shape: int):
    if kind == "bits":
        plain = np.where(rng.random(shape) < 0.3, 1, -1).astype(np.int8)
        return bl.Bits(bl.pack(plain), shape[-1]), plain
    plain = rng.integers(-3, 3, size=shape).astype(kind)  # few values: ties in most windows
    return plain, plain


def gradient(rng, kind: str, *shape: int):
    if kind == "float32":
        return rng.normal(size=shape).astype(np.float32)
    info = np.iinfo(kind)
    integers = rng.integers(info.min + 1, info.max + 1, size=shape).astype(kind)
    return Quantized(integers, 0.25, 0, 8 * info.dtype.itemsize)


@pytest.mark.parametrize("sizes", WINDOWS)
@pytest.mark.parametrize("channels", [1, 5, 64, 65])
@pytest.mark.parametrize("kind", ["bits", "int16", "int32"])
def test_forward_and_backward(sizes, channels, kind, rng):
    window, stride, height, width = sizes
    layer = bl.nn.MaxPool2d(window, stride)
    x, plain = values(rng, kind, 3, height, width, channels)
    best, where = published.pooled(plain, window, stride or window)

    for training in (False, True):
        y, cache = layer.forward(x, training=training)
        assert y.shape == (3, *layer.output_shape((height, width, channels)))
        np.testing.assert_array_equal(published.plain(y), best)
        if kind == "bits":
            expected = bl.pack(best)
            np.testing.assert_array_equal(y.words, expected)
        else:
            assert y.dtype == plain.dtype
        assert training == (cache is not None)

    for grad_kind in ("float32", "int8", "int16"):
        g = gradient(rng, grad_kind, *best.shape)
        real = g if grad_kind == "float32" else g.values
        expected = published.unpooled(real, where, plain.shape, window, stride or window)
        dx, grads = layer.backward(cache, g)
        assert grads == {}
        if grad_kind == "float32":
            assert dx.dtype == np.float32
            np.testing.assert_allclose(dx, expected, rtol=1e-6, atol=1e-6)
        else:
            assert (dx.values.dtype, dx.bits) == (g.values.dtype, g.bits)
            published.check_requantized(dx, expected, g.bits, g.scale)
        assert layer.backward(cache, g, input_gradient=False) == (None, {})


@pytest.mark.parametrize("kind", ["bits", "int16"])
def test_a_tie_goes_to_the_first_in_row_order(kind):
    layer = bl.nn.MaxPool2d(3)
    plain = np.full((1, 3, 3, 2), -1, dtype=np.int16)
    plain[0, 1, 2, 0] = plain[0, 2, 0, 0] = 1
    x = bl.Bits(bl.pack(plain), 2) if kind == "bits" else plain
    _, cache = layer.forward(x, training=True)
    dx, _ = layer.backward(cache, np.ones((1, 1, 1, 2), dtype=np.float32))
    assert [tuple(place) for place in np.argwhere(dx[0])] == [(0, 0, 1), (1, 2, 0)]


def test_what_is_kept_is_two_bits_a_window():
    _, cache = bl.nn.MaxPool2d(2).forward(np.zeros((2, 8, 8, 64), dtype=np.int16), training=True)
    assert cache[0].nbytes == 2 * 4 * 4 * 64 * 2 // 8


def test_wrong_sizes():
    for arguments in ((0,), (2, 0), (-1,)):
        with pytest.raises(ValueError, match="window and stride must be at least 1"):
            bl.nn.MaxPool2d(*arguments)
    for shape in ((1, 5, 3), (12,)):
        with pytest.raises(ValueError, match="maps of at least 2x2"):
            bl.nn.MaxPool2d(2).output_shape(shape)
