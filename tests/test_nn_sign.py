"""The sign and its straight-through estimator."""

from __future__ import annotations

import numpy as np
import pytest

import bitlearn as bl
from bitlearn.quantizers import latent_mask


@pytest.mark.parametrize("n", [1, 63, 64, 65, 129])
def test_sign_passes_the_gradient_up_to_one(n, rng):
    x = rng.normal(scale=1.2, size=(4, 3, n)).astype(np.float32)
    x.flat[:: max(n // 3, 1)] = 0
    x.flat[1::5], x.flat[2::7], x.flat[3::11] = 1, -1, np.nextafter(np.float32(1), np.float32(2))
    layer = bl.nn.Sign()
    bits, mask = layer.forward(x, training=True)
    np.testing.assert_array_equal(bl.unpack(bits.words, n), np.where(x >= 0, 1, -1))
    assert layer.forward(x, training=False)[1] is None

    g = rng.normal(size=x.shape).astype(np.float32)
    found, grads = layer.backward(mask, g)
    np.testing.assert_array_equal(found, np.where(np.abs(x) <= 1, g, 0))
    assert found.dtype == np.float32 and grads == {}

    codes = bl.quantize(g, 16)
    found, _ = layer.backward(mask, codes)
    np.testing.assert_array_equal(found.values, np.where(np.abs(x) <= 1, codes.values, 0))
    assert (found.values.dtype, found.scale, found.bits) == (np.int16, codes.scale, 16)
    assert layer.backward(mask, codes, input_gradient=False) == (None, {})


def test_negative_zero_is_plus_one():
    bits, mask = bl.nn.Sign().forward(np.array([[-0.0, 0.0, -1e-45]], dtype=np.float32), training=True)
    assert bits.words.tolist() == [[0b011]] and mask.words.tolist() == [[0b111]]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_latent_mask(dtype):
    one = dtype(1)
    weight = np.array([0, one, -one, np.nextafter(one, dtype(2)), -2], dtype=dtype)
    assert latent_mask(weight).tolist() == [True, True, True, False, False]
