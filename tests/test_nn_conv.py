"""Convolution layers of every stride and padding against loops; whole backward passes are in test_nn_step."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
from published import check_requantized, sgn

import bitlearn as bl
from bitlearn.nn import products, weights
from bitlearn.ops.quantize import Quantized
from bitlearn.rng import Key

#: kernel, stride, padding
WINDOWS = [
    ((3, 3), 1, "same"),
    ((3, 3), 1, 0),
    ((3, 3), 2, 1),
    ((3, 2), (2, 3), "same"),
    ((2, 3), (1, 2), (1, 0)),
    ((1, 1), 2, 2),
    ((5, 5), 1, 2),
]


def gradient(rng, bits, *shape):
    values = rng.integers(-(2 ** (bits - 1)) + 1, 2 ** (bits - 1), size=shape)
    return Quantized(values.astype(np.int8 if bits == 8 else np.int16), 0.25, 0, bits)


@pytest.mark.parametrize("windows", WINDOWS)
@pytest.mark.parametrize("policy", ["int8", "low-memory"])
@pytest.mark.parametrize("first", [True, False])
def test_forward_and_backward(windows, policy, first, rng, monkeypatch):
    monkeypatch.setattr(products, "WINDOW_VALUES", 1500)  # a few images at a time
    monkeypatch.setattr(weights, "SIGN_SUMS", 100)  # and a few filters
    kernel, stride, padding = windows
    channels = 3 if first else 66
    kind = bl.nn.InputConv2d if first else bl.nn.BinaryConv2d
    layer = kind(channels, 5, kernel=kernel, stride=stride, padding=padding, precision=policy, key=Key(3))
    layer.weight.flat[::5] *= 30
    if first:
        plain = rng.integers(-128, 128, size=(4, 6, 5, channels)).astype(np.int8)
        x = plain
    else:
        plain = sgn(rng.normal(size=(4, 6, 5, channels)))
        x = bl.Bits(bl.pack(plain), channels)
    y, cache = layer.forward(x, training=True)
    expected = oracles.conv2d(plain, sgn(layer.weight), stride, padding)
    np.testing.assert_array_equal(y, expected)
    assert y.dtype == np.int16
    assert y.shape[1:] == layer.output_shape((6, 5, channels))

    g = gradient(rng, layer.precision.gradient_bits, *y.shape)
    dx, grads = layer.backward(cache, g)
    sums = oracles.grad_weight(g.values, plain, kernel, stride, padding)
    passes = np.abs(layer.weight) <= 1
    if policy == "low-memory":
        found = grads["weight"].dense(layer.weight, slice(None))
        np.testing.assert_array_equal(found, np.where(passes, sgn(sums), 0))
        assert grads["weight"].fan_in == layer.fan_in == channels * kernel[0] * kernel[1]
    else:
        scale = 0.25 / 128 if first else 0.25
        found = grads["weight"].dense(layer.weight, slice(None))
        np.testing.assert_allclose(found, np.where(passes, sums * scale, 0), rtol=1e-6)
        assert found.dtype == np.float32
    if first:
        assert dx is None
    else:
        sums = oracles.grad_input(g.values, sgn(layer.weight), (6, 5), stride, padding)
        check_requantized(dx, sums, g.bits, g.scale, layer.precision.row_by_row)
        assert layer.backward(cache, g, input_gradient=False)[0] is None


@pytest.mark.parametrize("pad_value", [1, -1])
def test_padding_counts_in_both_passes(pad_value, rng):
    layer = bl.nn.BinaryConv2d(5, 4, pad_value=pad_value, precision="int8")
    plain = sgn(rng.normal(size=(2, 4, 4, 5)))
    y, cache = layer.forward(bl.Bits(bl.pack(plain), 5), training=True)
    np.testing.assert_array_equal(y, oracles.conv2d(plain, sgn(layer.weight), 1, "same", pad_value))
    g = gradient(rng, 8, *y.shape)
    sums = oracles.grad_weight(g.values, plain, (3, 3), 1, "same", pad_value)
    found = layer.backward(cache, g)[1]["weight"]
    np.testing.assert_array_equal(found.sums, sums)
    assert found.scale == 0.25


def test_wrong_input():
    with pytest.raises(ValueError, match="pad_value must be 0 for a first layer, whose pixels are codes, got 1"):
        bl.nn.InputConv2d(3, 4, pad_value=1)
    with pytest.raises(ValueError, match=r"shape \(height, width, 3\), got \(8, 8, 1\)"):
        bl.nn.InputConv2d(3, 4).output_shape((8, 8, 1))
    with pytest.raises(TypeError, match="codes must be int8, got uint8"):
        bl.nn.InputConv2d(3, 4).forward(np.zeros((2, 5, 5, 3), dtype=np.uint8), training=True)
