"""Quantization: error bounds, exact zeros, unbiased rounding, and the published powers of two."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from cases import EDGES
from oracles import ROUNDING, gradients, real
from requantized import requantize

import bitlearn as bl
from bitlearn import threads as threading
from bitlearn.ops import quantize as quantization
from bitlearn.rng import Key

BITS = [2, 3, 5, 8, 9, 12, 16]
LINEAR = ["symmetric", "affine"]


def limits(bits, scheme):
    top = 2 ** (bits - 1) - 1
    return (-top if scheme == "symmetric" else -top - 1), top


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("scheme", LINEAR)
@pytest.mark.parametrize("bits", BITS)
def test_error_is_half_a_step(bits, scheme, rng):
    for shape in ((1,), (65,), (3, 70), (2, 3, 4, 5)):
        g = gradients(rng, *shape)
        q = bl.quantize(g, bits, scheme=scheme)
        low, high = limits(bits, scheme)
        assert q.bits == bits
        assert q.values.dtype == (np.int8 if bits <= 8 else np.int16)
        assert q.values.shape == shape
        assert low <= q.values.min()
        assert q.values.max() <= high
        # Snapping the zero point shifts the codes by at most another half step, which shows where they are clipped.
        allowed = q.scale * (0.5 if scheme == "symmetric" else 1.0) + ROUNDING * np.abs(g).max()
        assert np.abs(real(q) - g).max() <= allowed
        np.testing.assert_array_equal(q.dequantize(), real(q).astype(np.float32), strict=True)


@pytest.mark.parametrize("bits", BITS)
def test_scales_use_all_codes(bits, rng):
    g = gradients(rng, 500)
    q = bl.quantize(g, bits)
    assert q.zero_point == 0
    assert np.abs(q.values.astype(int)).max() == 2 ** (bits - 1) - 1
    np.testing.assert_allclose(q.scale, np.abs(g).max() / (2 ** (bits - 1) - 1), rtol=ROUNDING)
    q = bl.quantize(g, bits, scheme="affine")
    np.testing.assert_allclose(q.scale, (float(g.max()) - float(g.min())) / (2**bits - 1), rtol=ROUNDING)
    assert int(q.values.max()) - int(q.values.min()) >= 2**bits - 2


@pytest.mark.parametrize("scheme", LINEAR)
@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
@pytest.mark.parametrize("bits", BITS)
def test_zero_is_exact(bits, rounding, scheme, rng):
    for shift in (-3.0, 0.0, 0.01, 5.0):
        g = gradients(rng, 80) + np.float32(shift)
        g[::3] = 0
        q = bl.quantize(g, bits, scheme=scheme, rounding=rounding, rng=1)
        assert (q.values[::3] == q.zero_point).all()
        assert isinstance(q.zero_point, int)
        low, high = limits(bits, scheme)
        assert low <= q.zero_point <= high


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("scheme", [*LINEAR, "power-of-two"])
def test_all_zeros_give_zeros_and_scale_one(scheme):
    for g in (np.zeros((2, 3)), np.array([0.0, -0.0]), np.zeros(0), np.zeros((0, 3), np.float32)):
        q = bl.quantize(g, 4, scheme=scheme)
        assert (q.scale, q.zero_point) == (1, 0)
        assert q.values.shape == g.shape
        assert not q.values.any()
    q = bl.quantize([[0.0, 0.0], [1.0, 3.0]], 4, axis=0, scheme=scheme)
    assert q.scale[0, 0] == 1
    assert not real(q)[0].any()


@pytest.mark.usefixtures("variant")
def test_ties_go_to_even():
    # The largest magnitude is the largest code, so the scale is 1 and halves are ties.
    g = np.array([127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5])
    assert bl.quantize(g, 8).values.tolist() == [127, 0, 2, 2, 0, -2, -2, 126]
    g = np.array([255, 0.5, 1.5, 2.5, 0])
    q = bl.quantize(g, 8, scheme="affine")
    assert (q.values.astype(int) - q.zero_point).tolist() == [255, 0, 2, 2, 0]


@pytest.mark.parametrize("scheme", LINEAR)
@pytest.mark.parametrize("bits", [2, 8, 16])
def test_stochastic_rounding_is_unbiased(bits, scheme):
    count = 40_000
    for target in (0.1, -0.37, 0.5, 0.99, -1e-3):
        g = np.full(count, target, dtype=np.float32)
        g[:2] = 1, -1
        q = bl.quantize(g, bits, scheme=scheme, rounding="stochastic", rng=Key(11, step=bits))
        codes = np.asarray(q.values[2:].astype(np.float64) - q.zero_point)
        ratio = float(np.float32(target)) / float(q.scale)
        low, high = (limit - q.zero_point for limit in limits(bits, scheme))
        if not low <= ratio <= high:
            continue  # past the last code: the snapped zero point shifts the codes by up to half a step
        assert set(codes) <= {np.floor(ratio), np.ceil(ratio)}
        # A Bernoulli mean: five standard deviations, and the rounding of the quotient to float32.
        fraction = ratio - np.floor(ratio)
        allowed = 5 * np.sqrt(fraction * (1 - fraction) / count) + ROUNDING * (abs(ratio) + 1)
        assert abs(codes.mean() - ratio) <= allowed


@pytest.mark.usefixtures("variant")
def test_the_same_noise_gives_the_same_values(rng):
    g = gradients(rng, 3, 70)
    with bl.use_backend("reference"):
        expected = bl.quantize(g, 8, rounding="stochastic", rng=7)
    for key in (7, Key(7), np.int64(7)):
        np.testing.assert_array_equal(bl.quantize(g, 8, rounding="stochastic", rng=key).values, expected.values)
    for key in (8, Key(7, step=1), Key(7, stream=1)):
        assert (bl.quantize(g, 8, rounding="stochastic", rng=key).values != expected.values).any()


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("words", [2**15, 1, 7, 40])
def test_a_word_belongs_to_a_place_in_the_array(words, rng, monkeypatch):
    """With an axis moved first, whatever is formed at a time, and on however many threads."""
    monkeypatch.setattr(quantization, "NOISE_WORDS", words)
    g = gradients(rng, 3, 4, 15)
    for axis in (None, 0, 1, 2, -2):
        moved = g.reshape(1, -1) if axis is None else np.moveaxis(g, axis, 0).reshape(g.shape[axis], -1)
        scale = np.abs(moved).max(axis=1, keepdims=True) / np.float32(127)
        ratio = moved / scale
        fraction = (ratio - np.floor(ratio)).astype(np.float64)
        codes = np.floor(ratio) + (Key(5).words(g.size).reshape(moved.shape) / 2.0**32 < fraction)
        for threads in (1, 2, 5):
            monkeypatch.setattr(threading, "_num_threads", threads)
            values = bl.quantize(g, 8, axis=axis, rounding="stochastic", rng=5).values
            found = values.reshape(1, -1) if axis is None else np.moveaxis(values, axis, 0).reshape(moved.shape)
            np.testing.assert_array_equal(found, codes)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("shape", [(200,), (7, 30), (1, 40, 5), (3, 1, 50), (2, 3, 5, 7), (0, 4), (4, 0)])
def test_the_same_from_any_number_of_threads(shape, rng, monkeypatch):
    g, sums = gradients(rng, *shape), rng.integers(-(2**40), 2**40, size=shape)
    axes = (None, *range(len(shape)))

    def all_of_them():
        found = [bl.quantize(g, 5, axis=axis, scheme=scheme) for axis in axes for scheme in (*LINEAR, "power-of-two")]
        found += [requantize(sums >> shift, 0.5, 8) for shift in (0, 20, 39)]
        return [(q.values.tobytes(), np.asarray(q.scale).tobytes(), np.asarray(q.zero_point).tobytes()) for q in found]

    expected = all_of_them()
    for threads in (2, 3, 200):
        monkeypatch.setattr(threading, "_num_threads", threads)
        assert all_of_them() == expected


@pytest.mark.skipif(not bl.which("quantize_linear").startswith("cext"), reason="other kernels allocate")
@pytest.mark.parametrize("options", [{}, {"axis": 1}, {"axis": 0}, {"axis": 1, "rounding": "stochastic", "rng": 1}])
def test_no_temporary_array(options, rng):
    g = gradients(rng, 2000, 600)
    bl.quantize(g[:2], 8, **options)
    tracemalloc.start()
    try:
        values = bl.quantize(g, 8, **options).values
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    noise = 4 * quantization.NOISE_WORDS if "rng" in options else 0
    assert peak < values.nbytes + 2 * noise + 2**17


def published_power_of_two(g, bits):
    """The formula of arXiv 2102.04270v1, with exact logarithms of fractions: (real values, codes)."""

    def rounded_log2(value):
        value, exponent = Fraction(value), 0
        while value >= 2:
            value, exponent = value / 2, exponent + 1
        while value < 1:
            value, exponent = value * 2, exponent - 1
        return exponent + (value * value > 2)  # log2 above a half

    half = 2 ** (bits - 2)
    bias = half - rounded_log2(float(np.abs(g).max()))
    values = []
    for each in g.reshape(-1).tolist():
        exponent = -half if each == 0 else min(max(rounded_log2(abs(each)) + bias, -half), half - 1)
        values.append((-1 if each < 0 else 1) * 2.0 ** (exponent - bias))
    return np.array(values).reshape(g.shape)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("bits", [2, 3, 4, 5])
def test_powers_of_two_are_the_published_ones(bits, rng):
    edge = np.float32(np.sqrt(0.5))
    for largest in (1.0, 0.7, edge, np.nextafter(edge, np.float32(1)), 3e-20, 5e10):
        g = (np.exp2(rng.uniform(-20, 0, size=300)) * rng.choice([-1, 1], size=300)).astype(np.float32)
        g[:6] = 1, -1, 0, -0.0, edge, np.nextafter(edge, np.float32(1))
        g *= np.float32(largest)
        q = bl.quantize(g, bits, scheme="power-of-two")
        assert q.values.dtype == np.int32
        assert np.isin(np.abs(q.values), 2 ** np.arange(2 ** (bits - 1))).all()
        np.testing.assert_array_equal(real(q), published_power_of_two(g, bits))


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("scheme", [*LINEAR, "power-of-two"])
def test_scales_of_an_axis(scheme, rng):
    g = gradients(rng, 3, 4, 5) * np.array([1, 100, 1e-3], dtype=np.float32)[:, None, None]
    for axis in (0, 1, 2, -1, -3):
        q = bl.quantize(g, 5, axis=axis, scheme=scheme)
        shape = [1, 1, 1]
        shape[axis] = g.shape[axis]
        assert q.scale.shape == tuple(shape)
        assert q.values.flags.c_contiguous
        zero_points = np.broadcast_to(q.zero_point, shape)
        for i in range(g.shape[axis]):
            alone = bl.quantize(np.take(g, i, axis=axis), 5, scheme=scheme)
            np.testing.assert_array_equal(np.take(q.values, i, axis=axis), alone.values, strict=True)
            assert np.take(q.scale, i, axis=axis).item() == alone.scale
            assert np.take(zero_points, i, axis=axis).item() == alone.zero_point
        assert q.dequantize().shape == g.shape


@pytest.mark.parametrize("size", EDGES)
def test_sizes_types_and_layouts(size, rng):
    g = gradients(rng, size, 2)
    expected = bl.quantize(g, 8)
    for same in (np.asfortranarray(g), g.astype(np.float64), g.tolist() if size else g, np.repeat(g, 2, axis=0)[::2]):
        q = bl.quantize(same, 8)
        np.testing.assert_array_equal(q.values, expected.values, strict=True)
        assert q.scale == expected.scale
    assert bl.quantize(np.arange(size), 8).values.shape == (size,)
    assert bl.quantize(3.0, 8).values.shape == ()


def test_the_ends_of_float32():
    top, tiny = np.finfo(np.float32).max, np.finfo(np.float32).smallest_subnormal
    for scheme in LINEAR:
        q = bl.quantize([top, -top, 0.0], 8, scheme=scheme)
        assert np.abs(real(q) - [top, -top, 0]).max() <= q.scale
        q = bl.quantize([tiny, -tiny, 0.0], 8, scheme=scheme)
        assert q.scale > 0
        assert np.abs(real(q)).max() <= q.scale


@pytest.mark.parametrize("bits", [2, 8, 12, 16])
def test_requantize(bits, rng):
    limit = 2 ** (bits - 1) - 1
    sums = rng.integers(-(2**30), 2**30, size=(3, 70))
    sums[0, :2] = 0, 2**30
    q = requantize(sums, 0.25, bits)
    assert (q.bits, q.zero_point, q.values.shape) == (bits, 0, sums.shape)
    assert q.values.dtype == (np.int8 if bits <= 8 else np.int16)
    assert np.abs(q.values.astype(int)).max() == limit
    assert np.abs(real(q) - sums * 0.25).max() <= q.scale * (0.5 + 1e-9)
    assert q.values[0, 0] == 0


def test_requantize_keeps_what_fits(rng):
    sums = rng.integers(-127, 128, size=(3, 70)).astype(np.int32)
    q = requantize(sums, 0.25, 8)
    np.testing.assert_array_equal(q.values, sums.astype(np.int8), strict=True)
    assert q.scale == 0.25
    assert requantize(np.array([-128, 0]), 1.0, 8).values.tolist() == [-127, 0]
    assert requantize(np.zeros((0, 3), np.int64), 2.0, 8).values.shape == (0, 3)
    # Quotients of exact halves go to even: 254 / 2, 1 / 2, 3 / 2.
    assert requantize(np.array([254, 1, 3, -1, -3]), 1.0, 8).values.tolist() == [127, 0, 2, 0, -2]


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (([np.nan, 1], 8), {}, ValueError, "g must be finite in float32, got NaN or infinity"),
        (([np.inf, 1], 8), {"scheme": "affine"}, ValueError, "g must be finite"),
        (([1, -np.inf], 5), {"scheme": "power-of-two"}, ValueError, "g must be finite"),
        (([1e300, 1], 8), {}, ValueError, "g must be finite in float32"),
        (([1j], 8), {}, TypeError, "g must be real numbers, got dtype complex128"),
        (([1.0], 1), {}, ValueError, "bits must be at least 2, got 1"),
        (([1.0], 17), {}, ValueError, "bits must be at most 16 for scheme 'symmetric', got 17"),
        (([1.0], 6), {"scheme": "power-of-two"}, ValueError, "bits must be at most 5 for scheme 'power-of-two', got 6"),
        (([1.0], 8.0), {}, TypeError, "bits must be an integer, got 8.0"),
        (([1.0], 8), {"scheme": "log"}, ValueError, "scheme must be one of 'symmetric', 'affine', 'power-of-two', got"),
        (([1.0], 8), {"rounding": "up"}, ValueError, "rounding must be one of 'nearest', 'stochastic', got 'up'"),
        (
            ([1.0], 8),
            {"rounding": "stochastic"},
            ValueError,
            "rounding 'stochastic' needs rng and a linear scheme, got",
        ),
        (
            ([1.0], 5),
            {"rounding": "stochastic", "rng": 1, "scheme": "power-of-two"},
            ValueError,
            "needs rng and a linear scheme",
        ),
        (([1.0], 8), {"rounding": "stochastic", "rng": 0.5}, TypeError, "rng must be an integer, got 0.5"),
        (([1.0], 8), {"axis": 1}, ValueError, "axis must be less than 1, the number of dimensions, got 1"),
        (([1.0], 8), {"axis": -2}, ValueError, "axis must be at least -1, got -2"),
        (([1.0], 8), {"axis": 0.5}, TypeError, "axis must be an integer, got 0.5"),
    ],
)
def test_errors(arguments, options, error, message):
    with pytest.raises(error, match=message):
        bl.quantize(*arguments, **options)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("axis", [None, 0])
def test_powers_of_two_of_the_smallest_numbers(axis):
    """The scale is what the formula says, and no code is worth nothing."""
    g = np.array([[1e-45, -3e-45, 0], [1e-40, 2e-38, -1e-38]], dtype=np.float32)
    q = bl.quantize(g, 5, axis=axis, scheme="power-of-two")
    largest = np.abs(g).max(axis=None if axis is None else 1, keepdims=axis is not None).astype(np.float64)
    np.testing.assert_array_equal(q.scale, 2.0 ** (np.rint(np.log2(largest)) - 16))
    wide = q.values * q.scale
    assert (np.sign(wide) == np.where(g < 0, -1, 1)).all()
    most = np.abs(g) == largest
    assert (np.abs(wide[most]) >= np.abs(g[most]).astype(np.float64) / 3).all()


@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
@pytest.mark.parametrize("bits", range(2, 17))
def test_the_largest_numbers_stay_finite(bits, scheme):
    most = np.finfo(np.float32).max
    for g in ([most], [-most], [most, -most], [0, most], [-most, most / 3]):
        g = np.array(g, dtype=np.float32)
        q = bl.quantize(g, bits, scheme=scheme)
        found = q.dequantize().astype(np.float64)
        assert np.isfinite(found).all()
        assert (np.abs(found - g) <= float(q.scale)).all()
