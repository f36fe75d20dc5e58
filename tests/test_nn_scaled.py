"""Binary weights times the mean magnitude of their latent weights, and the gradient that passes the scale by."""

from __future__ import annotations

import numpy as np
import pytest
from published import sgn
from recorded import bits, bound, gradient, inferred, passes

import bitlearn as bl
from bitlearn.nn import BatchNorm, BinaryConv2d, BinaryLinear, MaxPool2d, Sequential, Spec

INTEGER = ["int8", "low-memory", "int4"]

#: a layer, what flows in
SCALED = {
    "linear": (lambda **options: BinaryLinear(65, **options), Spec.bits((70,))),
    "linear of codes": (lambda **options: BinaryLinear(65, **options), Spec.codes((70,))),
    "conv": (lambda **options: BinaryConv2d(5, stride=2, **options), Spec.bits((6, 7, 66))),
    "conv of codes": (lambda **options: BinaryConv2d(5, **options), Spec.codes((6, 5, 3))),
}


@pytest.mark.parametrize("policy", INTEGER)
@pytest.mark.parametrize("name", SCALED)
def test_scaled_weights(name, policy, rng):
    """Forward sums times the mean magnitude, backward the gradient of the sums times it, in codes anew."""
    make, spec = SCALED[name]
    layer, plain = bound(make(scaled=True), spec, policy), bound(make(), spec, policy)
    layer.weight[...] = plain.weight[...] = rng.normal(size=layer.weight.shape) * np.exp(
        rng.normal(size=(len(layer.weight), *[1] * (layer.weight.ndim - 1)))
    )
    if spec.kind == "bits":
        x = bits(rng.normal(size=(9, *spec.shape)))
    else:
        x = rng.integers(-128, 128, size=(9, *spec.shape)).astype(np.int8)
    scale = np.abs(layer.weight.astype(np.float64)).reshape(len(layer.weight), -1).mean(axis=1)
    g = gradient(rng, policy, 9, *layer.output.shape)
    found = passes(layer, x, g, wanted=spec.kind == "bits")
    np.testing.assert_allclose(found.y, passes(plain, x).y * spec.unit * scale, rtol=1e-6)
    np.testing.assert_array_equal(inferred(layer, x), found.y)

    # Rounding to float32 as the kernels do, one operation at a time.
    wanted = g.values.astype(np.float32) * scale.astype(np.float32)
    step = np.abs(wanted).max() / np.float32(2 ** (g.bits - 1) - 1)
    codes = np.rint(wanted / step).astype(g.values.dtype)
    expected = passes(plain, x, bl.Quantized(codes, g.scale * float(step), 0, g.bits), wanted=spec.kind == "bits")
    ours, theirs = found.parameters["weight"], expected.parameters["weight"]
    np.testing.assert_array_equal(ours.values, theirs.values)
    np.testing.assert_array_equal(ours.scale, theirs.scale)
    assert (ours.clip, ours.fan_in) == (1.0, theirs.fan_in)
    if spec.kind == "bits":
        np.testing.assert_array_equal(found.dx.values, expected.dx.values)
        assert found.dx.scale == expected.dx.scale
    else:
        assert found.dx is None


def test_the_gradient_of_scaled_weights_under_standard(rng):
    """dL/dW = s dL/dW^ 1[|W| <= 1]: the scale is a constant to it (arXiv 1808.00278)."""
    layer = bound(BinaryLinear(9, scaled=True), Spec.bits((70,)))
    layer.weight[...] = rng.normal(size=(9, 70))
    plain, g = sgn(rng.normal(size=(13, 70))), rng.normal(size=(13, 9)).astype(np.float32)
    found = passes(layer, bits(plain), g)
    scale = np.abs(layer.weight.astype(np.float64)).mean(axis=1)
    passing = np.abs(layer.weight) <= 1
    assert passing.any() and not passing.all()
    np.testing.assert_allclose(found.y, plain @ sgn(layer.weight).T * scale, rtol=1e-6)
    expected = (scale * g).T @ plain * passing
    np.testing.assert_allclose(found.parameters["weight"].real(layer.weight), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.dx, (g * scale) @ sgn(layer.weight), rtol=1e-4, atol=1e-5)


def test_a_batch_norm_divides_the_scale_out(rng):
    x, g = bits(rng.normal(size=(31, 70))), rng.normal(size=(31, 9)).astype(np.float32)
    found = []
    for scaled in (False, True):
        layer = bound(Sequential([BinaryLinear(9, scaled=scaled), BatchNorm()]), Spec.bits((70,)))
        found.append(passes(layer, x, g))
    for ours, theirs in ((found[0].y, found[1].y), (found[0].dx, found[1].dx)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
    first, second = (each.parameters["linear1.weight"].values for each in found)
    np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-4)


def test_only_what_is_set_is_shown():
    assert repr(BinaryLinear(8)) == "BinaryLinear(outputs=8)"
    assert repr(BinaryLinear(8, scaled=True)) == "BinaryLinear(outputs=8, scaled=True)"
    assert "scaled" not in repr(BinaryConv2d(8)) and "scaled=True" in repr(BinaryConv2d(8, scaled=True))
    assert repr(MaxPool2d(3, 2)) == "MaxPool2d(window=3, stride=2)"
