"""Max pooling of sums and of bits against loops over windows."""

from __future__ import annotations

import numpy as np
import published
import pytest
from recorded import bits, bound, gradient, inferred, passes, sums

import bitlearn as bl
from bitlearn.nn import BinaryConv2d, MaxPool2d, Model, Sequential, Spec, conv, pool

#: (window, stride, height, width): windows that fill the map, that do not, that overlap, and that leave gaps.
WINDOWS = [(2, 2, 6, 4), (2, None, 7, 5), (3, 2, 7, 8), (3, 1, 5, 6), (2, 3, 8, 7), (1, 1, 3, 4), (4, 4, 4, 9)]


def values(rng, kind: str, *shape: int):
    """Return maps as integers, as they flow, and their type."""
    if kind == "bits":
        plain = np.where(rng.random(shape) < 0.3, 1, -1).astype(np.int8)
        return plain, bits(plain), Spec.bits(shape[1:])
    plain = rng.integers(-3, 3, size=shape).astype(kind)  # few values: ties in most windows
    return plain, plain, sums(shape[1:], kind)


@pytest.mark.parametrize("sizes", WINDOWS)
@pytest.mark.parametrize("channels", [1, 5, 64, 65])
@pytest.mark.parametrize("kind", ["bits", "int16", "int32"])
def test_forward_and_backward(sizes, channels, kind, rng):
    window, stride, height, width = sizes
    layer = MaxPool2d(window, stride)
    plain, x, spec = values(rng, kind, 3, height, width, channels)
    best, where = published.pooled(plain, window, stride or window)
    for policy in ("standard", "int8", "low-memory"):
        bound(layer, spec, policy)
        assert layer.output == spec.reshaped(best.shape[1:])
        g = gradient(rng, policy, *best.shape)
        found = passes(layer, x, g)
        if kind == "bits":
            np.testing.assert_array_equal(found.y.words, bl.pack(best))
        else:
            np.testing.assert_array_equal(found.y, best, strict=True)
        assert found.parameters == {}
        integers = g if policy == "standard" else g.values
        expected = published.unpooled(integers, where, plain.shape, window, stride or window)
        if policy == "standard":
            np.testing.assert_allclose(found.dx, expected, rtol=1e-6, atol=1e-6)
            assert found.dx.dtype == np.float32
        else:
            published.check_requantized(found.dx, expected, g.bits, g.scale)
            assert found.dx.values.dtype == g.values.dtype
        assert passes(layer, x, g, wanted=False).dx is None
    np.testing.assert_array_equal(published.plain(inferred(layer, x)), best)


@pytest.mark.parametrize("kind", ["bits", "int16"])
def test_a_tie_goes_to_the_first_in_row_order(kind):
    plain = np.full((1, 3, 3, 2), -1, dtype=np.int16)
    plain[0, 1, 2, 0] = plain[0, 2, 0, 0] = 1
    x, spec = (bits(plain), Spec.bits((3, 3, 2))) if kind == "bits" else (plain, sums((3, 3, 2)))
    dx = passes(bound(MaxPool2d(3), spec), x, np.ones((1, 1, 1, 2))).dx
    assert [tuple(place) for place in np.argwhere(dx[0])] == [(0, 0, 1), (1, 2, 0)]


def test_what_is_kept_is_two_bits_a_window():
    found = passes(bound(MaxPool2d(2), sums((8, 8, 64))), np.zeros((2, 8, 8, 64), dtype=np.int16))
    kept = [buffer for buffer in found.program.buffers if buffer.name == "pool mask"]
    assert sum(buffer.nbytes for buffer in kept) == 2 * 4 * 4 * 64 * 2 // 8


@pytest.mark.parametrize("policy", ["standard", "int8", "low-memory", "int4"])
@pytest.mark.parametrize("sizes", WINDOWS)
def test_behind_a_convolution_maps_are_pooled_a_few_images_at_a_time(policy, sizes, rng, monkeypatch):
    """Neither the sums nor the gradient on its way back are ever whole then, and that cannot show."""
    window, stride, height, width = sizes
    layer = Sequential([BinaryConv2d(5), MaxPool2d(window, stride)])
    bound(layer, Spec.bits((height, width, 9)), policy)
    weight = published.sgn(layer.layers["conv1"].weight)
    plain = published.sgn(rng.normal(size=(4, height, width, 9)))
    expected = published.pooled(published.oracles.conv2d(plain, weight, 1, "same"), window, stride or window)[0]
    g = gradient(rng, policy, *expected.shape)
    results = []
    for count in (2**18, 1):
        monkeypatch.setattr(pool, "BLOCK_VALUES", count)
        monkeypatch.setattr(conv, "BLOCK_VALUES", count)
        found = passes(layer, bits(plain), g)
        np.testing.assert_array_equal(found.y, expected)
        dx = found.dx if policy == "standard" else found.dx.values
        results.append((dx, found.parameters["conv1.weight"].real(layer.layers["conv1"].weight)))
    for whole, parts in zip(*results, strict=True):
        np.testing.assert_allclose(parts, whole, rtol=1e-5 if policy == "standard" else 0, atol=0)


@pytest.mark.parametrize("sizes", WINDOWS)
def test_a_network_may_end_in_a_pool_of_sums(sizes, rng):
    """Its result is asked for where it is recorded and where it is read, and is formed once."""
    window, stride, height, width = sizes
    model = Model([BinaryConv2d(5), MaxPool2d(window, stride)], Spec.bits((height, width, 9)))
    plain = published.sgn(rng.normal(size=(4, height, width, 9)))
    sums = published.oracles.conv2d(plain, published.sgn(model["conv1"].weight), 1, "same")
    found = model.apply(bits(plain))
    np.testing.assert_array_equal(found, published.pooled(sums, window, stride or window)[0])


def test_wrong_sizes():
    for arguments in ((0,), (2, 0), (-1,)):
        with pytest.raises(ValueError, match="must be at least 1"):
            MaxPool2d(*arguments)
    for spec in (Spec.bits((1, 5, 3)), Spec.bits((12,)), Spec.real((4, 1, 3)), Spec.codes((4, 4, 3))):
        with pytest.raises(
            ValueError, match="a max pool must get maps of at least 2x2, sums, real values or bits, got"
        ):
            bound(MaxPool2d(2), spec)
