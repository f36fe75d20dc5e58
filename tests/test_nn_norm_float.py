"""Batch norm in float32: values and gradients against finite differences in float64."""

from __future__ import annotations

import numpy as np
import pytest

import bitlearn as bl
from bitlearn.nn import norm_float


def spread_of(y, norm) -> np.ndarray:
    centred = y - y.mean(axis=0)
    if norm == "l1":
        return np.maximum(np.abs(centred).mean(axis=0), 1e-5)
    return np.sqrt((centred**2).mean(axis=0) + 1e-5)


def normalized(y, norm) -> np.ndarray:
    return (y - y.mean(axis=0)) / spread_of(y, norm)


def differences(function, x, step=1e-6) -> np.ndarray:
    """Return central differences of a scalar function of `x`."""
    result = np.empty_like(x)
    for index in np.ndindex(x.shape):
        moved = x.copy()
        moved[index] += step
        above = function(moved)
        moved[index] -= 2 * step
        result[index] = (above - function(moved)) / (2 * step)
    return result


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_the_gradient_is_that_of_the_formula(norm, rng):
    y = rng.normal(scale=3, size=(7, 4)) + 1
    weights = rng.normal(size=y.shape)
    expected = differences(lambda moved: float((normalized(moved, norm) * weights).sum()), y)
    found = norm_float.backward(weights, normalized(y, norm), spread_of(y, norm), norm)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("scale", [1.0, 2.0**-7])
def test_batch_norm_with_its_scale_and_shift(norm, scale, rng):
    layer = bl.nn.BatchNorm(4, norm=norm, input_scale=scale)
    layer.shift[...] = rng.normal(size=4)
    y = rng.integers(-500, 900, size=(3, 2, 2, 4)).astype(np.int16)
    found, cache = layer.forward(y, training=True)
    real = (y * scale).reshape(-1, 4)
    np.testing.assert_allclose(found.reshape(-1, 4), normalized(real, norm) + layer.shift, rtol=1e-4, atol=1e-5)

    g = rng.normal(size=y.shape).astype(np.float32)
    dy, grads = layer.backward(cache, g)
    flat = g.reshape(-1, 4).astype(np.float64)
    expected = differences(lambda moved: float((normalized(moved, norm) * flat).sum()), real)
    np.testing.assert_allclose(dy.reshape(-1, 4), expected, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(grads["shift"], flat.sum(axis=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_batch_norm_and_sign_mask_the_gradient_beyond_one(norm, rng):
    both, alone = bl.nn.BatchNormSign(5, norm=norm), bl.nn.BatchNorm(5, norm=norm)
    both.shift[...] = alone.shift[...] = rng.normal(size=5)
    y = rng.integers(-50, 90, size=(31, 5)).astype(np.int16)
    bits, cache = both.forward(y, training=True)
    real, plain = alone.forward(y, training=True)
    np.testing.assert_array_equal(bl.unpack(bits.words, 5), np.where(real >= 0, 1, -1))
    g = rng.normal(size=y.shape).astype(np.float32)
    masked = g * (np.abs(real) <= 1)
    assert 0.2 < (masked != 0).mean() < 0.9
    for found, expected in zip(both.backward(cache, g), alone.backward(plain, masked), strict=True):
        if isinstance(found, dict):
            found, expected = found["shift"], expected["shift"]
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_a_constant_channel_stays_finite(norm):
    layer = bl.nn.BatchNorm(2, norm=norm)
    y, cache = layer.forward(np.full((6, 2), 9, dtype=np.int16), training=True)
    assert (y == 0).all()
    dy, _ = layer.backward(cache, np.ones((6, 2), dtype=np.float32))
    assert np.isfinite(dy).all()
