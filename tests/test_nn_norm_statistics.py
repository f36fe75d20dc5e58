"""The statistics and bounds of batch norm against rational arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitlearn.ops.dispatch import run

COLUMNS = st.lists(st.integers(-(2**15), 2**15 - 1), min_size=2, max_size=12)
LIMITS = np.iinfo(np.int32)


def statistics(y: np.ndarray, norm: str, groups: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation of each column, as a step finds them; float64 but for the deviation, float32."""
    rows, channels = y.shape
    parts = np.ascontiguousarray(y).reshape(groups, rows // groups, channels)
    sums, above = np.empty((groups, 2, channels), dtype=np.int64), np.empty((0, 2, channels), dtype=np.int64)
    run("channel_sums", (parts, sums))
    if norm == "l1":
        bound, above = np.empty(channels, dtype=np.int32), np.empty_like(sums)
        run("mean_bounds", (sums, rows, bound))
        run("channel_sums_above", (parts, bound, above))
    running, finite = np.zeros(channels, dtype=np.float32), np.ones(1, dtype=np.uint8)
    found, moved = np.empty((2, channels)), np.empty((2, channels), dtype=np.float32)
    run("batch_statistics", (sums, above, rows, 1.0, 0.9, False, running, running, found, moved, finite))
    assert finite[0] == 1
    return found[0], found[1]


def fractions(column) -> tuple[Fraction, Fraction, Fraction]:
    """Return mean, mean absolute deviation and variance, exactly."""
    values = [int(value) for value in column]
    count, total = len(values), sum(values)
    deviation = Fraction(sum(abs(value * count - total) for value in values), count**2)
    squares = sum(value * value for value in values)
    return Fraction(total, count), deviation, Fraction(squares * count - total**2, count**2)


def check_statistics(columns: np.ndarray, groups: int = 1) -> None:
    first, second = statistics(columns, "l1", groups), statistics(columns, "l2", groups)
    for j, column in enumerate(columns.T):
        mean, deviation, variance = fractions(column)
        assert first[0][j] == second[0][j] == float(mean)
        # As exact as the float32 in which it is kept.
        assert first[1][j] == pytest.approx(float(deviation), rel=2.0**-24)
        assert second[1][j] == pytest.approx(float(variance) ** 0.5, rel=2.0**-24)


@given(COLUMNS)
def test_statistics_equal_rational_arithmetic(values):
    check_statistics(np.array(values, dtype=np.int16)[:, None])
    check_statistics(np.array(values, dtype=np.int32)[:, None] * 4001)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("dtype", [np.int16, np.int32])
def test_statistics_of_awkward_columns(dtype, rng):
    low, high = np.iinfo(np.int16).min, np.iinfo(np.int16).max
    at = np.arange(2004)
    columns = [
        np.where(at % 2, low, high),
        np.where(at == 5, low + 1, low),
        np.where(at == 5, high - 1, high),
        at - 1000,
        rng.integers(low, high + 1, len(at)),
    ]
    for groups in (1, 6):
        check_statistics(np.array(columns, dtype=dtype).T, groups)


@pytest.mark.parametrize("value", [0, 1, -7, 2**15 - 1, -(2**15)])
@pytest.mark.parametrize("count", [2, 3, 7, 100, 4096])
def test_a_constant_channel_has_no_deviation(value, count):
    for norm in ("l1", "l2"):
        mean, std = statistics(np.full((count, 3), value, dtype=np.int16), norm)
        assert (mean == value).all() and (std == 0).all()


def test_statistics_of_many_rows_far_from_zero(rng):
    # 100 images of 32x32: sums of int32 values pass int32, and a mean far beyond the deviation.
    wide = rng.integers(-100_000, 100_001, size=(102_400, 1)) + 90_000
    far = rng.integers(-1, 2, size=(102_400, 1)) + 2_000_000
    check_statistics(np.concatenate([wide, far], axis=1).astype(np.int32), groups=16)


QUARTERS = st.integers(-40, 40).map(lambda k: k / 4)


@given(st.lists(st.integers(-30, 30), min_size=1, max_size=8), QUARTERS, QUARTERS.map(abs), QUARTERS)
def test_bounds_and_magnitude_equal_rational_arithmetic(values, mean, std, bias):
    """Quarters are exact in float64, so ties are too: 0 is +1, and |x| = 1 passes."""
    found, finite = np.empty((3, 1), dtype=np.int32), np.ones(1, dtype=np.uint8)
    statistic, biases = np.array([[mean], [std]]), np.array([bias], dtype=np.float32)
    run("norm_bounds", (statistic, biases, 1.0, found, finite))
    assert finite[0] == 1
    threshold, low, high = found[:, 0]
    for y in values:
        scaled = Fraction(y) - Fraction(mean) + Fraction(bias) * Fraction(std)  # std times x
        assert (y >= threshold) == (scaled >= 0)
        assert (low <= y <= high) == (abs(scaled) <= Fraction(std))
    y = np.array(values, dtype=np.int16)[:, None]
    sums, above, magnitude = np.empty((1, 2, 1), np.int64), np.empty((1, 2, 1), np.int64), np.empty(1)
    run("channel_sums", (y[None], sums))
    run("channel_sums_above", (y[None], found[0], above))
    run("mean_magnitude", (sums, above, len(values), statistic, biases, False, magnitude))
    if std > 0:
        terms = [abs((Fraction(v) - Fraction(mean)) / Fraction(std) + Fraction(bias)) for v in values]
        assert magnitude[0] == pytest.approx(float(sum(terms) / len(terms)), rel=2.0**-24, abs=1e-12)
    else:
        assert magnitude[0] == 1


@pytest.mark.usefixtures("variant")
def test_bounds_out_of_range_never_wrap():
    found, finite = np.empty((3, 4), dtype=np.int32), np.ones(1, dtype=np.uint8)
    bias = np.array([1e12, -1e12, 3e38, -3e38], dtype=np.float32)
    run("norm_bounds", (np.ones((2, 4)), bias, 1.0, found, finite))
    assert finite[0] == 1
    assert found[0].tolist() == [LIMITS.min, LIMITS.max] * 2


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", ["mean", "std", "bias"])
def test_bounds_of_what_is_not_finite(bad, place):
    arrays = {"mean": np.zeros(3), "std": np.ones(3), "bias": np.zeros(3)}
    arrays[place][1] = bad
    finite = np.ones(1, dtype=np.uint8)
    statistic = np.stack([arrays["mean"], arrays["std"]])
    run("norm_bounds", (statistic, arrays["bias"].astype(np.float32), 1.0, np.empty((3, 3), dtype=np.int32), finite))
    assert finite[0] == 0


def test_the_inverse_of_no_deviation_is_zero():
    out = np.empty((2, 3), dtype=np.float32)
    run("mean_inverse", (np.array([[1.0, 2.0, 3.0], [0.0, 2.0, 0.5]]), out))
    assert out.tolist() == [[1, 2, 3], [0, 0.5, 2]]
