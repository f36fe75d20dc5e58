"""Batch norm, its passes over channels and what becomes of their sums: special contents."""

from __future__ import annotations

import numpy as np
import pytest
from guards import check_exactly, filled, results_of, rivals, run
from operands import OPERANDS

from bitlearn.backends import lookup, use_backend

OF_SUMS = (
    "mean_bounds",
    "batch_statistics",
    "norm_bounds",
    "mean_magnitude",
    "mean_inverse",
    "bias_gradient",
    "l2_factors",
    "l1_factors",
    "l1_exact_factors",
    "norm_step",
)
NO_MASK = np.empty((0, 1), np.uint64)


@pytest.mark.parametrize(("kernel", "variant"), rivals(*OF_SUMS))
def test_many_contents(kernel, variant, rng):
    operands = OPERANDS[kernel]
    for _ in range(50):
        for dtype in operands.dtypes:
            check_exactly(kernel, variant, operands.make(rng, (2, 7), dtype))


@pytest.mark.parametrize(("kernel", "variant"), rivals("norm_gradient_peak"))
@pytest.mark.parametrize("beyond", [np.inf, -np.inf, np.nan])
def test_a_peak_that_is_not_finite_shows(kernel, variant, beyond, rng):
    for at in (0, 63, 64):
        *arrays, _ = OPERANDS[kernel].make(rng, (2, 3, 65), (np.int8, np.int16, True))
        arrays[3][1, at] = beyond
        with np.errstate(invalid="ignore"):
            got = run(kernel, variant, (*arrays, filled((2,), np.float32)))
        assert not np.isfinite(got).any()


@pytest.mark.parametrize(("kernel", "variant"), rivals("gradient_sums"))
@pytest.mark.parametrize("rows", [255, 256, 257, 1100])
def test_sums_of_extremes(kernel, variant, rows):
    """Products of the least int8 and int16: 512 of them leave int32."""
    d, x = np.full((1, rows, 3), -128, dtype=np.int8), np.full((1, rows, 3), -(2**15), dtype=np.int16)
    mask = np.full((1, rows, 1), 0b011, dtype=np.uint64)
    got = check_exactly(kernel, variant, (d, mask, x, filled((1, 2, 3), np.int64)))
    assert got[0].tolist() == [[-128 * rows] * 2 + [0], [2**22 * rows] * 2 + [0]]


@pytest.mark.parametrize(("kernel", "variant"), rivals("gradient_sums"))
@pytest.mark.parametrize("beyond", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_counts_on_the_mask_alone(kernel, variant, beyond):
    d = np.array([[[1, beyond, 2, beyond]]], np.float32)
    for x in (np.ones((1, 1, 4), np.int16), np.full((1, 1, 1), 0b0111, np.uint64)):
        mask = np.full((1, 1, 1), 0b1101, np.uint64)
        with np.errstate(invalid="ignore"):
            got = check_exactly(kernel, variant, (d, mask, x, filled((1, 2, 4), np.float64)))
        assert np.isfinite(got[0]).tolist() == [[True, True, True, False]] * 2


@pytest.mark.parametrize(("kernel", "variant"), rivals("norm_gradient"))
def test_ties_go_to_the_even_code(kernel, variant):
    d = np.arange(-127, 128, dtype=np.int8).reshape(1, -1)
    factors = np.zeros((3, d.shape[1]), np.float32)
    factors[2] = 1
    x, step = np.zeros(d.shape, dtype=np.int16), np.array([2], np.float32)
    for limit in (127, 20):
        got = check_exactly(kernel, variant, (d, NO_MASK, x, factors, step, limit, filled(d.shape, np.int8)))
        assert got.tolist() == [[max(-limit, min(limit, round(int(value) / 2))) for value in d[0]]]


@pytest.mark.parametrize(("kernel", "variant"), rivals("norm_gradient"))
@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.float32])
def test_a_gradient_may_be_changed_in_place(kernel, variant, dtype, rng):
    *arguments, out = OPERANDS[kernel].make(rng, (1, 5, 130), (dtype, np.int16, True))
    expected = check_exactly(kernel, variant, (*arguments, out))
    with use_backend(variant):
        lookup(kernel)(*arguments, arguments[0])
    np.testing.assert_array_equal(arguments[0], expected, strict=True)


@pytest.mark.parametrize(("kernel", "variant"), rivals("norm_bounds"))
@pytest.mark.parametrize("beyond", [np.inf, -np.inf, np.nan])
def test_bounds_of_what_is_not_finite(kernel, variant, beyond, rng):
    for place in range(3):
        statistics, bias, *others = OPERANDS[kernel].make(rng, (1, 65), None)
        (*statistics, bias)[place][64] = beyond
        assert results_of(kernel, variant, (statistics, bias, *others))[1] == 0


@pytest.mark.parametrize(("kernel", "variant"), rivals("norm_bounds"))
def test_bounds_out_of_range(kernel, variant):
    """What overflows float64 is clipped too."""
    statistics, bias = np.array([[0.0, 0, 1e300], [1e300, 1e300, 1]]), np.array([1e38, -1e38, 0], np.float32)
    arguments = statistics, bias, 1.25, filled((3, 3), np.int32), filled((1,), np.uint8)
    check_exactly(kernel, variant, arguments)


@pytest.mark.parametrize(("kernel", "variant"), rivals("batch_statistics"))
@pytest.mark.parametrize("at", [0, 64])
def test_a_running_statistic_that_is_not_finite(kernel, variant, at, rng):
    for place in (6, 7):
        for beyond in (np.inf, np.nan, 1.0):
            arguments = OPERANDS[kernel].make(rng, (2, 65), (False, False))
            for running in arguments[6:8]:
                running[~np.isfinite(running)] = 0
            arguments[place][at] = beyond
            assert (check_exactly(kernel, variant, arguments)[0] == 0) == (beyond != 1.0)


@pytest.mark.parametrize(("kernel", "variant"), rivals("mean_magnitude"))
def test_a_float16_is_rounded_once(kernel, variant, rng):
    """Doubles at and beside ties, which float32 would move onto them; with no sums the mean is what is rounded."""
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64)
    ties = (halves[1:] + halves[:-1]) / 2
    beside = [np.nextafter(ties, to) for to in (np.inf, 0)] + [ties * (1 + 1e-12), ties * (1 - 1e-12)]
    past = [65504, 65519.999999999, 65520, 65536, 1e30, 1e300, 5e-324, 1e-310, 2.0**-25, 2.0**-24, 2.0**-14]
    anything = np.exp(rng.uniform(-20, 12, size=20000))
    values = np.concatenate([halves, ties, *beside, past, anything])
    values = np.concatenate([values, -values])
    nothing, statistics = np.zeros((1, 2, values.size), np.int64), np.stack([values, np.ones(values.size)])
    bias, out = np.zeros(values.size, np.float32), filled(values.shape, np.float64)
    got = check_exactly(kernel, variant, (nothing, nothing, 1, statistics, bias, True, out))
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(got, values.astype(np.float16))


@pytest.mark.parametrize(("kernel", "variant"), rivals("norm_step"))
def test_steps_at_the_limits(kernel, variant):
    tiny = np.finfo(np.float32).tiny
    for peak, scale, step, out in (
        (0, 3.0, 1, 3.0),
        (127, 3.0, 1, 3.0),
        (1e-40, 1.0, tiny, float(tiny)),
        (127 * 2.0**31, 1.0, 2.0**31, 2.0**30),
        (np.inf, 1.0, np.inf, 2.0**30),
        (np.nan, 1.0, np.nan, 2.0**30),
    ):
        for peaks in ([peak, 0], [0, peak], [peak]):
            arguments = np.array(peaks, np.float32), 127, np.array([scale])
            got = results_of(kernel, variant, (*arguments, filled((1,), np.float32), filled((1,), np.float64)))
            np.testing.assert_array_equal(np.concatenate(got), [step, out])
