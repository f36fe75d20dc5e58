"""Fully connected layers: exact sums, the real head, wrong input. Whole backward passes are in test_nn_step."""

from __future__ import annotations

import numpy as np
import pytest

import bitlearn as bl
from bitlearn.errors import NonFiniteError
from bitlearn.nn import weights
from bitlearn.rng import Key

POLICIES = ["standard", "int8", "low-memory"]
SIZES = [1, 3, 63, 64, 65, 129]


def sgn(x) -> np.ndarray:
    return np.where(x >= 0, 1, -1).astype(np.int64)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("inputs", SIZES)
@pytest.mark.parametrize("outputs", [1, 65])
def test_forward_is_exact(inputs, outputs, rng):
    x, codes = rng.normal(size=(5, inputs)), rng.integers(-128, 128, size=(5, inputs)).astype(np.int8)
    binary, first = bl.nn.BinaryLinear(inputs, outputs, key=Key(1)), bl.nn.InputLinear(inputs, outputs, key=Key(2))
    y, _ = binary.forward(bl.Bits(bl.pack(x), inputs), training=False)
    np.testing.assert_array_equal(y, sgn(x) @ sgn(binary.weight).T)
    assert y.dtype == np.int16
    y, cache = first.forward(codes, training=False)
    np.testing.assert_array_equal(y, codes.astype(np.int64) @ sgn(first.weight).T)
    assert y.dtype == np.int32 and cache is None


def test_sums_that_int16_cannot_hold_are_int32(rng):
    for n, dtype in ((2**15 - 1, np.int16), (2**15, np.int32)):
        layer = bl.nn.BinaryLinear(n, 1)
        layer.weight[...] = 1
        y, _ = layer.forward(bl.Bits(bl.pack(np.ones((2, n), dtype=bool)), n), training=False)
        assert y.dtype == dtype and (y == n).all()


@pytest.mark.parametrize("policy", POLICIES)
def test_start(policy):
    layer = bl.nn.BinaryLinear(300, 200, precision=policy, key=Key(5))
    same = bl.nn.BinaryLinear(300, 200, precision=policy, key=Key(5))
    other = bl.nn.BinaryLinear(300, 200, precision=policy, key=Key(6))
    assert layer.weight.dtype == (np.float16 if policy == "low-memory" else np.float32)
    assert layer.weight.tobytes() == same.weight.tobytes() != other.weight.tobytes()
    assert layer.weight.std() == pytest.approx(300**-0.5, rel=0.02)
    assert abs(float(layer.weight.mean())) < 0.001


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("inputs", [3, 64, 65])
def test_real_head(policy, inputs, rng):
    layer = bl.nn.Linear(inputs, 7, precision=policy)
    assert layer.weight.dtype == np.float32 and not layer.weight.any()
    layer.weight[...] = rng.normal(size=layer.weight.shape)
    x = sgn(rng.normal(size=(9, inputs)))
    bits = bl.Bits(bl.pack(x), inputs)
    y, cache = layer.forward(bits, training=True)
    width = layer.precision.gradient_bits
    real, step = layer.weight.astype(np.float64), 0.0
    if width is not None:
        step = np.abs(real).max() / (2 ** (width - 1) - 1)
        real = np.rint(real / step) * step
    assert y.dtype == np.float32 and y.flags.c_contiguous
    # A weight half-way between two codes may go to either in float32: a few steps, which no tie of 8 bits comes near.
    np.testing.assert_allclose(y, x @ real.T, rtol=1e-5, atol=1e-5 + (4 * step if width == 16 else 0))

    g = rng.normal(size=(9, 7)).astype(np.float32)
    quantized = g if width is None else bl.quantize(g, width)
    wide = g.astype(np.float64) if width is None else quantized.dequantize().astype(np.float64)
    dx, grads = layer.backward(cache, quantized)
    np.testing.assert_allclose(grads["weight"], wide.T @ x, rtol=1e-5, atol=1e-5)
    assert grads["weight"].dtype == np.float32
    found, scale = (dx, 0) if width is None else (dx.values * float(dx.scale), float(dx.scale))
    np.testing.assert_allclose(
        found, wide @ real, rtol=1e-5, atol=1e-5 + 0.51 * scale + (4 * step if width == 16 else 0)
    )
    assert layer.backward(cache, quantized, input_gradient=False)[0] is None


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("block", [2**15, 1, 150])
def test_the_first_layers_gradient(policy, block, rng, monkeypatch):
    monkeypatch.setattr(weights, "SIGN_SUMS", block)  # a few outputs at a time
    layer = bl.nn.InputLinear(65, 9, precision=policy, key=Key(4))
    layer.weight.flat[::5] *= 30
    x = rng.integers(-128, 128, size=(33, 65)).astype(np.int8)
    _, cache = layer.forward(x, training=True)
    width = layer.precision.gradient_bits
    g = rng.normal(size=(33, 9)).astype(np.float32)
    g = g if width is None else bl.quantize(g, width)
    found = layer.backward(cache, g)[1]["weight"]
    values, scale = (g, 1.0) if width is None else (g.values, float(g.scale))
    passes = np.abs(layer.weight) <= 1
    sums = values.T.astype(np.float64) @ x
    if policy == "low-memory":
        np.testing.assert_array_equal(found.dense(layer.weight, slice(None)), np.where(sums >= 0, 1, -1) * passes)
    elif width is None:
        np.testing.assert_allclose(found, sums / 128 * passes, rtol=1e-5, atol=1e-5)
    else:
        np.testing.assert_array_equal(found.sums, sums)
        assert found.scale == scale / 128


def test_a_head_at_zero_sends_no_gradient(rng):
    layer = bl.nn.Linear(20, 3, precision="low-memory")
    y, cache = layer.forward(bl.Bits(bl.pack(rng.normal(size=(4, 20))), 20), training=True)
    assert not y.any()
    dx, _ = layer.backward(cache, bl.quantize(rng.normal(size=(4, 3)), 16))
    assert not dx.values.any()


def test_codes_must_be_int8(rng):
    layer = bl.nn.InputLinear(4, 2)
    for dtype in (np.uint8, np.int16, np.float32):
        with pytest.raises(TypeError, match=f"codes must be int8, got {np.dtype(dtype)}"):
            layer.forward(np.zeros((3, 4), dtype=dtype), training=True)


@pytest.mark.parametrize("policy", ["int8", "low-memory"])
def test_a_head_that_is_not_finite(policy, rng):
    layer = bl.nn.Linear(4, 2, precision=policy)
    layer.weight[1, 1] = np.nan
    with pytest.raises(NonFiniteError, match="the weights must be finite"):
        layer.forward(bl.Bits(bl.pack(rng.normal(size=(3, 4))), 4), training=False)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("policy", POLICIES)
def test_latent_weights_that_are_not_finite(policy, bad, rng):
    layer = bl.nn.BinaryLinear(4, 2, precision=policy)
    layer.weight[1, 1], layer.weight[0, 0] = bad, 1.5
    _, cache = layer.forward(bl.Bits(bl.pack(rng.normal(size=(3, 4))), 4), training=True)
    width = layer.precision.gradient_bits
    g = rng.normal(size=(3, 2)).astype(np.float32)
    with pytest.raises(NonFiniteError, match="the latent weights must be finite"):
        layer.backward(cache, g if width is None else bl.quantize(g, width))


@pytest.mark.parametrize("kind", [bl.nn.BinaryLinear, bl.nn.InputLinear, bl.nn.Linear])
def test_output_shape(kind):
    assert kind(4, 2).output_shape((4,)) == (2,)
    with pytest.raises(ValueError, match=r"examples of shape \(4,\), got \(2, 2\)"):
        kind(4, 2).output_shape((2, 2))
