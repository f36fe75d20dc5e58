"""Integers with one scale to fewer bits, and sums with a scale a row back to one, against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
from requantized import narrow, requantize

import bitlearn as bl
from bitlearn.ops.quantized import Quantized
from bitlearn.rng import Key

SHAPES = [(7, 65), (3, 2, 5, 9), (1, 1), (0, 4), (4, 0), (64, 129)]


def integers(rng, shape, bits=16) -> np.ndarray:
    limit = 2 ** (bits - 1) - 1
    values = rng.integers(-limit, limit + 1, size=shape).astype(np.int8 if bits <= 8 else np.int16)
    if values.size > 8:
        values[0] = 0  # nothing to scale
        values[-1] //= limit // 3 + 1  # fits into few bits
    return values


def expected(values, axis, limit) -> tuple[np.ndarray, np.ndarray]:
    """Quotients and the steps, which broadcast."""
    wide = values.astype(np.float64)
    others = None if axis is None else tuple(each for each in range(values.ndim) if each != axis % values.ndim)
    step = np.maximum(np.abs(wide).max(axis=others, keepdims=axis is not None, initial=0) / limit, 1)
    return wide / step, step


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("axis", [None, 0, -1])
@pytest.mark.parametrize(("wide", "bits"), [(16, 9), (16, 8), (16, 4), (16, 2), (8, 4), (8, 3)])
def test_narrow_to_nearest(shape, axis, wide, bits, rng, variant):
    values, limit = integers(rng, shape, wide), 2 ** (bits - 1) - 1
    found = narrow(Quantized(values, 0.375, 0, wide), bits, axis=None if axis is None else axis % len(shape))
    quotients, step = expected(values, axis, limit)
    np.testing.assert_array_equal(found.values, np.rint(quotients))
    np.testing.assert_array_equal(found.scale, 0.375 * step)
    assert found.bits == bits and found.values.dtype == (np.int8 if bits <= 8 else np.int16)
    if axis is not None:
        assert np.shape(found.scale) == tuple(
            size if index == axis % len(shape) else 1 for index, size in enumerate(shape)
        )


@pytest.mark.parametrize("axis", [None, 0, 2])
def test_narrow_at_random_by_the_words_of_the_key(axis, rng, variant):
    values, key = integers(rng, (7, 5, 65)), Key(3, 5, 7)
    found = narrow(Quantized(values, 1.0, 0, 16), 4, axis=axis, key=key)
    quotients, _ = expected(values, axis, 7)
    # A word's place is that of its value where the axis is moved first.
    moved = quotients if axis is None else np.moveaxis(quotients, axis, 0)
    up = key.words(values.size).reshape(moved.shape) < (moved - np.floor(moved)) * 2.0**32
    codes = np.floor(moved) + up
    np.testing.assert_array_equal(found.values, codes if axis is None else np.moveaxis(codes, 0, axis))


def test_narrow_at_random_is_unbiased(rng):
    values = integers(rng, (5, 40))
    quotients, _ = expected(values, 0, 7)
    draws = 400
    mean = (
        sum(
            narrow(Quantized(values, 1.0, 0, 16), 4, axis=0, key=Key(1, step)).values.astype(float)
            for step in range(draws)
        )
        / draws
    )
    assert np.abs(mean - quotients).max() < 4.5 * 0.5 / np.sqrt(draws)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("shape", [(7, 65), (3, 2, 5, 9), (1, 1), (0, 4)])
@pytest.mark.parametrize("bits", [8, 16])
def test_sums_with_a_scale_a_row_get_one(shape, dtype, bits, rng, variant):
    sums = rng.integers(-(10**6), 10**6, size=shape).astype(dtype)
    scale = rng.uniform(1e-6, 1e-3, size=(shape[0], *[1] * (len(shape) - 1)))
    found = requantize(sums, scale, bits)
    real, limit = sums * scale, 2 ** (bits - 1) - 1
    step = np.abs(real).max(initial=0) / limit or 1.0
    assert np.ndim(found.scale) == 0 and found.bits == bits
    assert float(found.scale) == pytest.approx(step, rel=1e-12)
    clear = np.abs(np.abs(real / step) % 1 - 0.5) > 1e-9
    np.testing.assert_array_equal(found.values[clear], np.rint(real / step)[clear])
    assert np.abs(found.values.astype(int)).max(initial=0) <= limit


def test_sums_of_nothing_with_a_scale_a_row():
    found = requantize(np.zeros((2, 3), dtype=np.int32), np.array([[0.5], [2.0]]), 8)
    assert found.values.tolist() == [[0, 0, 0], [0, 0, 0]] and found.scale == 1.0


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_narrow_on_threads(threads, rng):
    values = Quantized(integers(rng, (300, 257)), 1.0, 0, 16)
    with_one = []
    for count in (1, threads):
        before = bl.get_num_threads()
        bl.set_num_threads(count)
        try:
            with_one.append([narrow(values, 4, axis=axis, key=Key(9)).values for axis in (None, 0, 1)])
        finally:
            bl.set_num_threads(before)
    for alone, together in zip(*with_one, strict=True):
        np.testing.assert_array_equal(alone, together)
