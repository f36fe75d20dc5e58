"""Batch norm on integer sums against rational arithmetic, and where it must agree with itself."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bitlearn as bl
from bitlearn.errors import NonFiniteError
from bitlearn.nn import norm_integer
from bitlearn.nn.norm_integer import l1_statistics, l2_statistics, mean_magnitude, sign_thresholds
from bitlearn.ops import passes
from bitlearn.ops.passes import norm_bounds

COLUMNS = st.lists(st.integers(-(2**15), 2**15 - 1), min_size=2, max_size=12)


def fractions(column) -> tuple[Fraction, Fraction, Fraction]:
    """Return mean, mean absolute deviation and variance, exactly."""
    values = [Fraction(int(value)) for value in column]
    mean = sum(values) / len(values)
    deviation = sum(abs(value - mean) for value in values) / len(values)
    return mean, deviation, sum((value - mean) ** 2 for value in values) / len(values)


def check_statistics(columns: np.ndarray) -> None:
    first, second = l1_statistics(columns), l2_statistics(columns)
    for j, column in enumerate(columns.T):
        mean, deviation, variance = fractions(column)
        assert first.mean[j] == second.mean[j] == float(mean)
        assert first.spread[j] == pytest.approx(float(deviation), rel=1e-13)
        assert second.spread[j] == pytest.approx(float(variance) ** 0.5, rel=1e-13)


@given(COLUMNS)
def test_statistics_equal_rational_arithmetic(values):
    check_statistics(np.array(values, dtype=np.int16)[:, None])
    check_statistics(np.array(values, dtype=np.int32)[:, None] * 4001)


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
def test_statistics_of_awkward_columns(dtype, rng):
    low, high = np.iinfo(np.int16).min, np.iinfo(np.int16).max
    columns = np.array(
        [
            np.where(np.arange(2003) % 2, low, high),
            np.where(np.arange(2003) == 5, low + 1, low),
            np.where(np.arange(2003) == 5, high - 1, high),
            np.arange(2003) - 1000,
            rng.integers(low, high + 1, 2003),
        ],
        dtype=dtype,
    ).T
    check_statistics(np.ascontiguousarray(columns))


@pytest.mark.parametrize("value", [0, 1, -7, 2**15 - 1, -(2**15)])
@pytest.mark.parametrize("count", [2, 3, 7, 100, 4096])
def test_a_constant_channel_has_spread_zero(value, count):
    y = np.full((count, 3), value, dtype=np.int16)
    for statistics in (l1_statistics, l2_statistics):
        found = statistics(y)
        assert (found.mean == value).all() and (found.spread == 0).all()


def test_statistics_of_many_rows(rng):
    # 100 images of 32x32: sums of 1e5 int32 values pass int32.
    y = rng.integers(-100_000, 100_001, size=(102_400, 2)).astype(np.int32) + np.int32(90_000)
    wide = y.astype(np.int64)
    count = len(y)
    for j in range(2):
        total, squares = int(wide[:, j].sum()), int((wide[:, j] ** 2).sum())
        assert l1_statistics(y).mean[j] == total / count
        deviations = sum(abs(int(value) * count - total) for value in wide[:, j])
        assert l1_statistics(y).spread[j] == pytest.approx(float(Fraction(deviations, count**2)), rel=1e-14)
        variance = Fraction(squares * count - total**2, count**2)
        assert l2_statistics(y).spread[j] == pytest.approx(float(variance) ** 0.5, rel=1e-14)


QUARTERS = st.integers(-40, 40).map(lambda k: k / 4)


@given(st.lists(st.integers(-30, 30), min_size=1, max_size=8), QUARTERS, QUARTERS.map(abs), QUARTERS)
def test_thresholds_and_bounds_equal_rational_arithmetic(values, mean, spread, shift):
    """Quarters are exact in float64, so ties are too: 0 is +1, and |x| = 1 passes."""
    arrays = [np.array([value]) for value in (mean, spread, shift)]
    threshold, low, high = norm_bounds(*arrays[:2], arrays[2].astype(np.float32))
    assert sign_thresholds(*arrays, 1.0) == threshold
    assert threshold.dtype == low.dtype == high.dtype == np.int32
    for y in values:
        scaled = Fraction(y) - Fraction(mean) + Fraction(shift) * Fraction(spread)  # spread times x
        assert (y >= threshold[0]) == (scaled >= 0)
        assert (low[0] <= y <= high[0]) == (abs(scaled) <= Fraction(spread))
    if spread > 0:
        y = np.array(values, dtype=np.int16)[:, None]
        terms = [abs((Fraction(v) - Fraction(mean)) / Fraction(spread) + Fraction(shift)) for v in values]
        omega = mean_magnitude(y, threshold, y.sum(axis=0, dtype=np.int64), *arrays)
        assert omega[0] == pytest.approx(float(sum(terms) / len(terms)), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("scale", [1.0, 2.0**-7])
def test_signs_equal_the_direct_evaluation(scale, rng):
    y = rng.integers(-(2**15), 2**15, size=(257, 67)).astype(np.int16)
    mean, spread = rng.normal(scale=5000, size=67) * scale, rng.uniform(1e-3, 9000, size=67) * scale
    shift = rng.normal(scale=2, size=67).astype(np.float32)
    direct = (y * scale - mean) / spread + shift
    clear = np.abs(direct) > 1e-9
    np.testing.assert_array_equal((y >= sign_thresholds(mean, spread, shift, scale))[clear], (direct >= 0)[clear])


def test_thresholds_out_of_range_never_wrap():
    mean, spread, shift = np.array([0.0, 0.0]), np.array([1.0, 1.0]), np.array([1e12, -1e12])
    limits = np.iinfo(np.int32)
    assert sign_thresholds(mean, spread, shift, 2.0**-7).tolist() == [limits.min, limits.max]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_thresholds_must_be_finite(bad):
    one = np.ones(1)
    for arrays in ((one * bad, one, one), (one, one * bad, one), (one, one, one * bad)):
        with pytest.raises(NonFiniteError, match="must be finite, got NaN or infinity"):
            sign_thresholds(*arrays, 1.0)


@pytest.mark.parametrize("precision", ["int8", "low-memory"])
@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_a_constant_channel_gets_no_gradient(precision, norm, rng):
    layer = bl.nn.BatchNormSign(3, norm=norm, precision=precision)
    y = rng.integers(-50, 50, size=(20, 3)).astype(np.int16)
    y[:, 1] = 7
    bits, cache = layer.forward(y, training=True)
    # (7 - 7) / 0 counts as 0: on the threshold, and within the clip.
    assert (bl.unpack(bits.words, 3)[:, 1] == 1).all()
    dy, grads = layer.backward(cache, bl.quantize(rng.normal(size=(20, 3)), layer.precision.gradient_bits))
    assert (dy.values[:, 1] == 0).all() and (dy.values[:, [0, 2]] != 0).any(axis=0).all()
    assert np.isfinite(grads["shift"]).all() and grads["shift"][1] != 0


@pytest.mark.parametrize("precision", ["standard", "int8", "low-memory"])
@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("scale", [1.0, 2.0**-7])
def test_running_statistics(precision, norm, scale, rng):
    layer = bl.nn.BatchNormSign(5, norm=norm, input_scale=scale, precision=precision)
    mean, spread = np.zeros(5), np.ones(5)
    for _ in range(3):
        y = rng.integers(-300, 900, size=(2, 4, 3, 5)).astype(np.int16)
        layer.forward(y, training=True)
        real = y.reshape(-1, 5) * scale
        centred = real - real.mean(axis=0)
        found = np.abs(centred).mean(axis=0) if norm == "l1" else np.sqrt((centred**2).mean(axis=0))
        mean, spread = 0.9 * mean + 0.1 * real.mean(axis=0), 0.9 * spread + 0.1 * found
    assert layer.running_mean.dtype == layer.running_spread.dtype == np.float32
    np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-5, atol=1e-5)
    # float16 keeps 11 bits of a spread; the float policy adds 1e-5 to a variance.
    np.testing.assert_allclose(layer.running_spread, spread, rtol=1e-3 if precision == "low-memory" else 1e-4)


@pytest.mark.parametrize("precision", ["standard", "int8", "low-memory"])
def test_inference_compares_with_the_thresholds(precision, rng):
    layer = bl.nn.BatchNormSign(65, input_scale=2.0**-7, precision=precision)
    layer.running_mean[...] = rng.normal(size=65)
    layer.running_spread[...] = rng.uniform(0, 3, size=65)
    layer.running_spread[::9] = 0
    layer.shift[...] = rng.normal(size=65)
    y = rng.integers(-600, 600, size=(40, 65)).astype(np.int32)
    bits, cache = layer.forward(y, training=False)
    assert cache is None
    found = bl.unpack(bits.words, 65)
    np.testing.assert_array_equal(found > 0, y >= layer.thresholds())
    live = layer.running_spread > 0
    wide = [array.astype(np.float64)[live] for array in (layer.running_mean, layer.running_spread, layer.shift)]
    direct = (y[:, live] / 128 - wide[0]) / wide[1] + wide[2]
    clear = np.abs(direct) > 1e-12
    np.testing.assert_array_equal((found[:, live] > 0)[clear], (direct >= 0)[clear])
    np.testing.assert_array_equal(found[:, ~live] > 0, y[:, ~live] / 128 >= layer.running_mean[~live])


@pytest.mark.parametrize("kind", [np.int16, np.int32])
@pytest.mark.parametrize("precision", ["standard", "int8", "low-memory"])
def test_types(kind, precision, rng):
    y = rng.integers(-90, 90, size=(6, 4)).astype(kind)
    norm = bl.nn.BatchNorm(4, precision=precision)
    for training in (True, False):
        assert norm.forward(y, training=training)[0].dtype == np.float32
    layer = bl.nn.BatchNormSign(4, precision=precision)
    bits, cache = layer.forward(y, training=True)
    assert bits.shape == (6, 4) and bits.words.dtype == np.uint64
    width = layer.precision.gradient_bits
    g = rng.normal(size=(6, 4)).astype(np.float32)
    dy, grads = layer.backward(cache, g if width is None else bl.quantize(g, width))
    values = dy if width is None else dy.values
    assert values.dtype == {None: np.float32, 8: np.int8, 16: np.int16}[width]
    assert grads["shift"].dtype == layer.shift.dtype == np.float32


def test_wrong_input():
    with pytest.raises(ValueError, match=r"norm must be 'l1' or 'l2', got 'l3'"):
        bl.nn.BatchNormSign(4, norm="l3")
    with pytest.raises(ValueError, match=r"at least 2 values a channel in training, got 1"):
        bl.nn.BatchNormSign(4).forward(np.zeros((1, 4), dtype=np.int16), training=True)
    with pytest.raises(ValueError, match=r"last axis is 4, got shape \(3,\)"):
        bl.nn.BatchNorm(4).output_shape((3,))


@pytest.mark.parametrize("precision", ["standard", "int8", "low-memory"])
@pytest.mark.parametrize("name", ["running_mean", "running_spread"])
def test_running_statistics_must_stay_finite(precision, name, rng):
    layer = bl.nn.BatchNormSign(4, precision=precision)
    layer.statistics()[name][2] = np.nan
    before = {key: array.copy() for key, array in layer.statistics().items()}
    with pytest.raises(NonFiniteError, match="running statistics must be finite"):
        layer.forward(rng.integers(-9, 9, size=(6, 4)).astype(np.int16), training=True)
    for key, array in layer.statistics().items():
        if key == name:
            np.testing.assert_array_equal(array, before[key])


def test_inverse_of_no_spread_is_zero():
    assert norm_integer.inverse(np.array([0.0, 2.0, -1.0])).tolist() == [0.0, 0.5, 0.0]


@pytest.mark.parametrize("kind", [bl.nn.BatchNormSign, bl.nn.BatchNorm])
@pytest.mark.parametrize("rows", [2, 100, 1100])
def test_one_call_gives_what_its_parts_give(kind, rows, rng, monkeypatch):
    """Many rows are cut into groups for threads, few are one kernel's: the same bits, running statistics included."""
    y = rng.integers(-300, 300, size=(rows, 70)).astype(np.int16)
    y[:, 3] = 5
    grad = bl.quantize(rng.normal(size=y.shape), 8)
    shift = rng.normal(size=70).astype(np.float32)
    results = []
    for alone in (True, False):
        monkeypatch.setattr(passes, "alone", lambda y, alone=alone: alone)
        layer = kind(70, precision="int8")
        layer.shift[...] = shift
        out, cache = layer.forward(y, training=True)
        flowing = bl.Quantized(grad.values.copy(), grad.scale, 0, 8)
        dy, grads = layer.backward(cache, flowing)
        found = out.words if isinstance(out, bl.Bits) else out
        results.append((found, dy.values, np.float64(dy.scale), grads["shift"], *layer.statistics().values()))
    for one, parts in zip(*results, strict=True):
        np.testing.assert_array_equal(one, parts, strict=True)
