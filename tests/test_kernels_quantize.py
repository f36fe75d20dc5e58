"""Scales, and sums, gradients and codes to codes: more contents, and examples."""

from __future__ import annotations

import numpy as np
import pytest
from guards import check_exactly, filled, results_of, rivals
from operands import OPERANDS

from bitlearn.backends.reference.quantization import random_words
from bitlearn.rng import Key

OF_ARRAYS = ("peaks", "quantize", "requantize", "requantize_rows", "equalize_rows", "narrow")
OF_PEAKS = ("quantize_step", "requantize_step", "largest_scale", "narrow_step")
#: Past the blocks of every kernel, and a multiple of none; rows for more than a tile of random words.
LONG = [(3, 1091), (130, 65), (1, 2500)]


@pytest.mark.parametrize(("kernel", "variant"), rivals(*OF_ARRAYS))
def test_long_rows(kernel, variant, rng):
    for size in LONG:
        for dtype in OPERANDS[kernel].dtypes:
            check_exactly(kernel, variant, OPERANDS[kernel].make(rng, size, dtype))


@pytest.mark.parametrize(("kernel", "variant"), rivals(*OF_PEAKS))
def test_many_contents(kernel, variant, rng):
    operands = OPERANDS[kernel]
    for size in operands.sizes:
        for dtype in operands.dtypes:
            for _ in range(20):
                check_exactly(kernel, variant, operands.make(rng, size, dtype))


@pytest.mark.parametrize(("kernel", "variant"), rivals("peaks"))
@pytest.mark.parametrize("dtype", OPERANDS["peaks"].dtypes)
def test_peaks(kernel, variant, dtype):
    least = -(2**53) if dtype == np.int64 else -np.inf if dtype == np.float32 else np.iinfo(dtype).min
    x = np.array([[0, 0, 0], [1, -3, 2], [least, 5, 0]], dtype=dtype)
    out = check_exactly(kernel, variant, (x, filled((3,), np.float64)))
    assert out.tolist() == [0, 3, -least]
    assert check_exactly(kernel, variant, (x[:, :0], filled((3,), np.float64))).tolist() == [0, 0, 0]
    if dtype == np.float32:
        x[1, 1] = np.nan
        out = check_exactly(kernel, variant, (x, filled((3,), np.float64)))
        assert np.isnan(out).tolist() == [False, True, False]


@pytest.mark.parametrize(("kernel", "variant"), rivals("quantize_step"))
def test_quantize_step(kernel, variant):
    tiny = float(np.finfo(np.float32).tiny)
    for peaks, step, finite in (
        ([], 1, 1),
        ([0, 0], 1, 1),
        ([3, 254], 2, 1),
        ([tiny / 2], tiny, 1),
        ([2.0**-149], 1, 1),  # the quotient is 0
        ([1, np.inf], np.inf, 0),
        ([1, np.nan, np.inf], np.nan, 0),
    ):
        for before in (0, 1):
            arguments = np.array(peaks, float), 127, filled((1,), np.float64), np.array([before], np.uint8)
            check_exactly(kernel, variant, arguments)
            found = results_of(kernel, variant, arguments)
            np.testing.assert_array_equal(found[0], [step])
            assert found[1] == finite * before


@pytest.mark.parametrize(("kernel", "variant"), rivals("requantize_step"))
def test_requantize_step(kernel, variant):
    for peaks, scale, step, worth in (
        ([3, 14], [0.5], [2, 2], 1),
        ([3, 7], [0.5], [1, 1], 0.5),
        ([0, 14], [2.0**30], [2, 2], 2.0**30),
        ([14, 14], [1.0, 4.0], [8, 2], 8),
        ([0, 0], [2.0, 4.0], [0.5, 0.25], 1),
        ([14, 0], [2.0**30, 1], [2, 2.0**31], 2.0**30),
    ):
        arguments = (np.array(peaks, float), 7, np.array(scale), filled((2,), np.float64), filled((1,), np.float64))
        check_exactly(kernel, variant, arguments)
        found = results_of(kernel, variant, arguments)
        assert [each.tolist() for each in found] == [step, [worth]]
    # One step for all rows.
    arguments = (np.array([3.0, 14.0]), 7, np.array([0.5]), filled((1,), np.float64), filled((1,), np.float64))
    assert [each.tolist() for each in results_of(kernel, variant, arguments)] == [[2], [1]]


@pytest.mark.parametrize(("kernel", "variant"), rivals("requantize"))
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_requantize(kernel, variant, dtype):
    """Ties go to the even code, and what is beyond the limit to the limit."""
    x = np.array([[14, 3, 1, -3], [-100, 3, 5, 2]], dtype=dtype)
    for step, expected in (
        ([2.0], [[7, 2, 0, -2], [-7, 2, 2, 1]]),
        ([2.0, 4.0], [[7, 2, 0, -2], [-7, 1, 1, 0]]),
    ):
        out = check_exactly(kernel, variant, (x, np.array(step), 7, filled(x.shape, np.int8)))
        assert out.tolist() == expected


@pytest.mark.parametrize(("kernel", "variant"), rivals("requantize_rows"))
def test_requantize_rows(kernel, variant):
    """A row that fits is kept."""
    x = np.array([[14, 3, 1, -3], [7, 3, 1, -3], [0, 0, 0, 0]], dtype=np.int32)
    arguments = (x, np.array([0.5]), 7, filled((3,), np.float64), filled(x.shape, np.int8))
    check_exactly(kernel, variant, arguments)
    worth, out = results_of(kernel, variant, arguments)
    assert worth.tolist() == [1, 0.5, 0.5]
    assert out.tolist() == [[7, 2, 0, -2], [7, 3, 1, -3], [0, 0, 0, 0]]


@pytest.mark.parametrize(("kernel", "variant"), rivals("narrow"))
@pytest.mark.parametrize("axis", [-1, 0, 1])
@pytest.mark.parametrize("random", [False, True])
def test_narrow_in_parts(kernel, variant, axis, random, rng):
    """Any rows of all get the codes that they have in the whole, by the words of their places in it."""
    key = Key(2**40 + 5, step=3, stream=2**31).as_words() if random else np.empty(0, np.uint32)
    for rows, n in ((130, 7), (67, 130), (5, 1), (9, 300), (70, 66)):
        x = rng.integers(-128, 128, size=(rows, n)).astype(np.int8)
        step = rng.uniform(1, 40, size={-1: 1, 0: rows, 1: n}[axis])
        whole = check_exactly(kernel, variant, (x, step, axis, 7, key, 0, rows, filled(x.shape, np.int8)))
        for first, stop in ((0, 0), (0, 1), (1, 4), (3, rows), (rows - 1, rows)):
            part = x[first:stop], step, axis, 7, key, first, rows, filled((stop - first, n), np.int8)
            np.testing.assert_array_equal(check_exactly(kernel, variant, part), whole[first:stop])


@pytest.mark.parametrize(("kernel", "variant"), rivals("narrow"))
@pytest.mark.parametrize("axis", [-1, 1])
def test_narrow_far_into_a_stream(kernel, variant, axis, rng):
    """Only the words of the rows are drawn, wherever they are: their numbers pass 2**32."""
    x = rng.integers(-128, 128, size=(5, 7)).astype(np.int8)
    first, total, key = 2**34, 2**34 + 5, Key(3).as_words()
    step = np.full(1 if axis == -1 else 7, 9.5)
    found = results_of(kernel, variant, (x, step, axis, 127, key, first, total, filled(x.shape, np.int8)))[0]
    noise = np.empty((5, 7), np.uint32)
    if axis == -1:
        random_words(key, first * 7, 7, noise)
    else:
        random_words(key, first, total, noise.T)
    whole = np.floor(x / 9.5)
    np.testing.assert_array_equal(found, whole + (noise < (x / 9.5 - whole) * 2.0**32))
