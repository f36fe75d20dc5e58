"""Fully connected layers: exact sums, the real head, wrong input. Whole steps are in test_nn_step."""

from __future__ import annotations

import numpy as np
import pytest
from published import check_requantized, sgn
from recorded import bits, bound, gradient, inferred, passes, real

import bitlearn as bl
from bitlearn.errors import NonFiniteError
from bitlearn.nn import BinaryLinear, Linear, Spec, weights
from bitlearn.ops.quantized import Quantized

POLICIES = ["standard", "int8", "low-memory"]
SIZES = [1, 3, 63, 64, 65, 129]


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("inputs", SIZES)
@pytest.mark.parametrize("outputs", [1, 65])
def test_forward_is_exact(inputs, outputs, rng):
    x, codes = rng.normal(size=(5, inputs)), rng.integers(-128, 128, size=(5, inputs)).astype(np.int8)
    layer = bound(BinaryLinear(outputs), Spec.bits((inputs,)))
    expected = sgn(x) @ sgn(layer.weight).T
    for y in (passes(layer, bits(x)).y, inferred(layer, bits(x))):
        np.testing.assert_array_equal(y, expected)
        assert y.dtype == layer.output.dtype == np.int16 and layer.output.unit == 1
    layer = bound(BinaryLinear(outputs), Spec.codes((inputs,)))
    expected = codes.astype(np.int64) @ sgn(layer.weight).T
    for y in (passes(layer, codes).y, inferred(layer, codes)):
        np.testing.assert_array_equal(y, expected)
        assert y.dtype == layer.output.dtype == np.int32 and layer.output.unit == 1 / 128


def test_sums_that_int16_cannot_hold_are_int32():
    for n, dtype in ((2**15 - 1, np.int16), (2**15, np.int32)):
        layer = bound(BinaryLinear(1), Spec.bits((n,)))
        layer.weight[...] = 1
        y = passes(layer, bits(np.ones((2, n), dtype=bool))).y
        assert y.dtype == dtype and (y == n).all()


@pytest.mark.parametrize("policy", POLICIES)
def test_start(policy):
    def weight(seed, index=0):
        return bound(BinaryLinear(200), Spec.bits((300,)), policy, seed=seed, index=index).weight

    found = weight(5)
    assert found.dtype == (np.float16 if policy == "low-memory" else np.float32) and found.shape == (200, 300)
    assert found.tobytes() == weight(5).tobytes()
    assert found.tobytes() not in (weight(6).tobytes(), weight(5, index=1).tobytes())
    assert found.std() == pytest.approx(300**-0.5, rel=0.02)
    assert abs(float(found.mean())) < 0.001


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("inputs", [3, 64, 65])
def test_real_head(policy, inputs, rng):
    layer = bound(Linear(7), Spec.bits((inputs,)), policy)
    assert layer.weight.dtype == np.float32 and not layer.weight.any()
    layer.weight[...] = rng.normal(size=layer.weight.shape)
    x, g = sgn(rng.normal(size=(9, inputs))), gradient(rng, policy, 9, 7)
    found = passes(layer, bits(x), g)
    width = layer.precision.gradient_bits
    weight, step = layer.weight.astype(np.float64), 0.0
    if width is not None:
        step = np.abs(weight).max() / (2 ** (width - 1) - 1)
        weight = np.rint(weight / step) * step
    assert found.y.dtype == np.float32
    # A weight half-way between two codes may go to either in float32: a few steps, which no tie of 8 bits comes near.
    slack = 4 * step if width == 16 else 0
    np.testing.assert_allclose(found.y, x @ weight.T, rtol=1e-5, atol=1e-5 + slack)
    np.testing.assert_array_equal(inferred(layer, bits(x)), found.y)

    wide, dw = real(g), found.parameters["weight"]
    assert dw.clip == np.inf and dw.fan_in == inputs
    np.testing.assert_allclose(dw.real(layer.weight), wide.T @ x, rtol=1e-5, atol=1e-5 * np.abs(wide).max())
    if width is not None:
        np.testing.assert_array_equal(dw.values, g.values.T.astype(np.int64) @ x)
        assert dw.scale.tolist() == [g.scale]
    unit = 0.51 * found.dx.scale if width else 0
    expected = wide @ weight
    relative = 1e-5 + slack
    np.testing.assert_allclose(
        real(found.dx), expected, rtol=1e-5, atol=relative * np.abs(wide).sum(axis=1).max() + unit
    )
    assert passes(layer, bits(x), g, wanted=False).dx is None


@pytest.mark.parametrize("policy", ["int8", "low-memory", "int4"])
def test_the_input_gradient_of_a_head_in_codes(policy, rng):
    """Weights that are codes already: then every number is an integer times a power of two, and the result exact."""
    layer = bound(Linear(7), Spec.bits((65,)), policy)
    limit = 2 ** (layer.precision.gradient_bits - 1) - 1
    codes = rng.integers(-limit, limit + 1, size=layer.weight.shape)
    codes[0, 0] = limit
    layer.weight[...] = codes * 0.125
    g = gradient(rng, policy, 9, 7)
    dx = passes(layer, bits(rng.normal(size=(9, 65))), g).dx
    if policy != "int4":  # which narrows the gradient before the product
        check_requantized(dx, g.values.astype(np.int64) @ codes, g.bits, 0.25 * 0.125)
    exact = real(g) @ layer.weight
    spread = np.abs(g.values).max() / 7 * 0.25 * np.abs(layer.weight).sum(axis=0).max() if policy == "int4" else 0
    assert np.abs(real(dx) - exact).max() <= 0.51 * dx.scale + spread


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("block", [2**15, 1, 150])
def test_the_weight_gradient_of_codes(policy, block, rng, monkeypatch):
    monkeypatch.setattr(weights, "SIGN_SUMS", block)  # a few outputs at a time
    layer = bound(BinaryLinear(9), Spec.codes((65,)), policy)
    layer.weight.flat[::5] *= 30
    x, g = rng.integers(-128, 128, size=(33, 65)).astype(np.int8), gradient(rng, policy, 33, 9)
    found = passes(layer, x, g)
    assert found.dx is None
    dw, passing = found.parameters["weight"], np.abs(layer.weight) <= 1
    assert 0.1 < passing.mean() < 0.95 and dw.clip == 1 and dw.fan_in == 65
    values = g if policy == "standard" else g.values
    sums = values.T.astype(np.float64) @ x
    if policy == "low-memory":
        np.testing.assert_array_equal(dw.real(layer.weight), np.where(sums >= 0, 1, -1) * passing)
    elif policy == "standard":
        np.testing.assert_allclose(dw.real(layer.weight), sums / 128 * passing, rtol=1e-5, atol=1e-5)
    else:
        np.testing.assert_array_equal(dw.values, sums)
        assert dw.scale.tolist() == [0.25 / 128]


@pytest.mark.parametrize("codes", [True, False])
def test_a_weight_without_gradient_counts_plus_one(codes):
    layer = bound(BinaryLinear(2), Spec.codes((3,)) if codes else Spec.bits((3,)), "low-memory")
    x = np.array([[5, -5, 7], [5, 3, -7]], dtype=np.int8)
    g = Quantized(np.array([[1, 0], [-1, 0]], dtype=np.int16), 1.0, 0, 16)
    dw = passes(layer, x if codes else bits(x), g).parameters["weight"]
    assert dw.real(layer.weight).tolist() == [[1, -1, 1], [1, 1, 1]]


def test_a_head_at_zero_sends_no_gradient(rng):
    layer = bound(Linear(3), Spec.bits((20,)), "low-memory")
    found = passes(layer, bits(rng.normal(size=(4, 20))), gradient(rng, "low-memory", 4, 3))
    assert not found.y.any() and not found.dx.values.any() and found.dx.scale > 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("policy", POLICIES)
def test_latent_weights_that_are_not_finite(policy, bad, rng):
    layer = bound(BinaryLinear(2), Spec.bits((4,)), policy)
    layer.weight[1, 1], layer.weight[0, 0] = bad, 1.5
    with pytest.raises(NonFiniteError, match="the latent weights must be finite, got NaN or infinity"):
        passes(layer, bits(rng.normal(size=(3, 4))))


@pytest.mark.parametrize("policy", ["int8", "low-memory"])
def test_a_head_that_is_not_finite(policy, rng):
    layer = bound(Linear(2), Spec.bits((4,)), policy)
    layer.weight[1, 1] = np.nan
    for run in (passes, inferred):
        with pytest.raises(NonFiniteError, match="the weights must be finite"):
            run(layer, bits(rng.normal(size=(3, 4))))


def test_operations_count_each_weight_once():
    assert bound(BinaryLinear(5), Spec.bits((7,))).operations() == (35, 0)
    assert bound(BinaryLinear(5), Spec.codes((7,))).operations() == (0, 35)
    assert bound(Linear(5), Spec.bits((7,))).operations() == (0, 35)


@pytest.mark.parametrize("kind", [BinaryLinear, Linear])
def test_outputs_must_be_at_least_one(kind):
    with pytest.raises(ValueError, match="outputs must be at least 1, got 0"):
        kind(0)


def test_the_weights_of_a_codes_layer_take_one_bit():
    layer = bound(BinaryLinear(9), Spec.codes((65,)))
    arrays = layer.inference()
    assert {name: (a.shape, a.dtype) for name, a in arrays.items()} == layer.inference_types()
    np.testing.assert_array_equal(bl.unpack(arrays["words"], 65), sgn(layer.weight))
