"""Convolution layers of every stride and padding against loops; whole steps are in test_nn_step."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
from published import check_requantized, sgn
from recorded import bits, bound, gradient, inferred, passes, real

from bitlearn import nn
from bitlearn.nn import BinaryConv2d, Spec, conv, products, weights
from bitlearn.optim import adam
from bitlearn.training import Trainer

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


def made(windows, of_codes: bool, policy: str, pad_value: int = 0) -> BinaryConv2d:
    kernel, stride, padding = windows
    layer = BinaryConv2d(5, kernel=kernel, stride=stride, padding=padding, pad_value=pad_value)
    bound(layer, Spec.codes((6, 5, 3)) if of_codes else Spec.bits((6, 5, 66)), policy)
    layer.weight.flat[::5] *= 30
    return layer


def images(rng, of_codes: bool):
    """Return images as integers, and as they flow."""
    if of_codes:
        plain = rng.integers(-128, 128, size=(4, 6, 5, 3)).astype(np.int8)
        return plain, plain
    plain = sgn(rng.normal(size=(4, 6, 5, 66)))
    return plain, bits(plain)


@pytest.mark.parametrize("windows", WINDOWS)
@pytest.mark.parametrize("policy", ["standard", "int8", "low-memory"])
@pytest.mark.parametrize("of_codes", [True, False])
def test_forward_and_backward(windows, policy, of_codes, rng, monkeypatch):
    monkeypatch.setattr(products, "WINDOW_VALUES", 1500)  # a few images at a time
    monkeypatch.setattr(weights, "SIGN_SUMS", 100)  # and a few filters
    kernel, stride, padding = windows
    layer = made(windows, of_codes, policy)
    plain, x = images(rng, of_codes)
    expected = oracles.conv2d(plain, sgn(layer.weight), stride, padding)
    g = gradient(rng, policy, *expected.shape)
    found = passes(layer, x, g)
    for y in (found.y, inferred(layer, x)):
        np.testing.assert_array_equal(y, expected)
        assert y.dtype == layer.output.dtype == np.int16 and y.shape[1:] == layer.output.shape

    dw, passing = found.parameters["weight"], np.abs(layer.weight) <= 1
    assert (dw.clip, dw.fan_in) == (1, layer.fan_in) and layer.fan_in == plain.shape[3] * kernel[0] * kernel[1]
    unit = 1 / 128 if of_codes else 1.0
    if policy == "standard":
        # The oracle is for integers, so it takes the gradient in steps of 2**-20.
        fine = np.rint(g * 2.0**20).astype(np.int64)
        sums = oracles.grad_weight(fine, plain, kernel, stride, padding) * 2.0**-20
        np.testing.assert_allclose(dw.real(layer.weight), np.where(passing, sums * unit, 0), rtol=1e-4, atol=1e-3)
        if not of_codes:
            sums = oracles.grad_input(fine, sgn(layer.weight), (6, 5), stride, padding) * 2.0**-20
            np.testing.assert_allclose(found.dx, sums, rtol=1e-4, atol=1e-3)
    else:
        sums = oracles.grad_weight(g.values, plain, kernel, stride, padding)
        if policy == "low-memory":
            np.testing.assert_array_equal(dw.real(layer.weight), np.where(passing, sgn(sums), 0))
        else:
            np.testing.assert_array_equal(dw.values, sums)
            assert dw.scale.tolist() == [0.25 * unit]
        if not of_codes:
            sums = oracles.grad_input(g.values, sgn(layer.weight), (6, 5), stride, padding)
            check_requantized(found.dx, sums, g.bits, g.scale, layer.precision.row_by_row)
    if of_codes:
        assert found.dx is None
    assert passes(layer, x, g, wanted=False).dx is None


@pytest.mark.parametrize("pad_value", [1, -1])
def test_padding_counts_in_both_passes(pad_value, rng):
    layer = bound(BinaryConv2d(4, pad_value=pad_value), Spec.bits((4, 4, 5)), "int8")
    plain, g = sgn(rng.normal(size=(2, 4, 4, 5))), gradient(rng, "int8", 2, 4, 4, 4)
    found = passes(layer, bits(plain), g)
    np.testing.assert_array_equal(found.y, oracles.conv2d(plain, sgn(layer.weight), 1, "same", pad_value))
    sums = oracles.grad_weight(g.values, plain, (3, 3), 1, "same", pad_value)
    np.testing.assert_array_equal(found.parameters["weight"].values, sums)


@pytest.mark.parametrize("policy", ["standard", "int8", "low-memory", "int4"])
def test_the_input_gradient_a_few_images_at_a_time(policy, rng, monkeypatch):
    """The sums of a row-by-row policy are formed for a few images; how few cannot show."""
    layer, (_, x) = made(WINDOWS[0], False, policy), images(rng, False)
    g = gradient(rng, policy, 4, 6, 5, 5)
    whole = passes(layer, x, g).dx
    monkeypatch.setattr("bitlearn.nn.gradients._PARTS", 1000)
    monkeypatch.setattr(conv, "BLOCK_VALUES", 1)
    np.testing.assert_array_equal(real(passes(layer, x, g).dx), real(whole))


def test_sums_of_many_codes_are_int32(rng):
    layer = bound(BinaryConv2d(2), Spec.codes((5, 5, 30)), "int8")
    assert layer.output.dtype == np.int32
    plain = rng.integers(-128, 128, size=(2, 5, 5, 30)).astype(np.int8)
    np.testing.assert_array_equal(passes(layer, plain).y, oracles.conv2d(plain, sgn(layer.weight), 1, "same"))


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("batch", [1, 5])
def test_networks_of_one_dimension_learn_in_four_bits(batch, rng):
    """Maps of one row and a stride, at a batch of any size."""
    convolutions = [nn.BinaryConv2d(k, kernel=(1, 3), stride=(1, 2)) for k in (8, 70, 9)]
    layers = [layer for each in convolutions for layer in (each, nn.BatchNormSign())]
    model = nn.Model([*layers, nn.Flatten(), nn.Linear(4)], Spec.codes((1, 33, 3)), precision="int4", seed=1)
    trainer = Trainer(model, adam())
    codes, labels = rng.integers(-128, 128, (batch, 1, 33, 3)).astype(np.int8), rng.integers(0, 4, batch)
    losses = [trainer.step(codes, labels, 0.01) for _ in range(6)]
    assert losses[-1] < losses[0] / 2


def test_operations_and_stored_arrays():
    for spec, counts in ((Spec.bits((4, 4, 65)), (16 * 5 * 9 * 65, 0)), (Spec.codes((4, 4, 3)), (0, 16 * 5 * 9 * 3))):
        layer = bound(BinaryConv2d(5), spec)
        assert layer.operations() == counts
        assert {name: (a.shape, a.dtype) for name, a in layer.inference().items()} == layer.inference_types()


def test_wrong_input():
    with pytest.raises(ValueError, match="a convolution of codes must have pad_value 0, got 1"):
        bound(BinaryConv2d(4, pad_value=1), Spec.codes((8, 8, 3)))
    with pytest.raises(
        ValueError, match=r"must get maps \(height, width, channels\) of bits or codes, got bits of shape"
    ):
        bound(BinaryConv2d(4), Spec.bits((8,)))
