"""Gradients of products and convolutions against sums over the unpacked values."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
from cases import GRADIENTS, THREADS, WINDOWS, integers, packed, signs, tails_are_zero

import bitlearn as bl
from bitlearn.bits import WORD

WIDE = {np.int8: np.int32, np.int16: np.int64, np.float32: np.float32}


def small(rng, dtype, *shape):
    """Gradients whose sums are exact in every type."""
    return integers(rng, np.int8 if dtype == np.float32 else dtype, *shape).astype(dtype)


def exact(values):
    return values.astype(np.int64)


def sign_bits(values, threshold, mask):
    return packed(np.where((values >= threshold) & (mask > 0), 1, -1))


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("dtype", WIDE)
def test_products(dtype, rng):
    for m, k, n in GRADIENTS:
        g, w, x = small(rng, dtype, m, k), signs(rng, k, n), signs(rng, m, n)
        into_input = (exact(g) @ exact(w)).astype(WIDE[dtype])
        into_weight = (exact(g).T @ exact(x)).astype(WIDE[dtype])
        np.testing.assert_array_equal(bl.grad_input(g, packed(w), n), into_input, strict=True)
        np.testing.assert_array_equal(bl.grad_weight(g, packed(x), n), into_weight, strict=True)
        mask = signs(rng, k, n)
        for threshold in (0, -3, 2.5):
            got = bl.grad_weight(g, packed(x), n, output="sign", threshold=threshold, mask=packed(mask))
            np.testing.assert_array_equal(got, sign_bits(into_weight, threshold, mask), strict=True)
            assert tails_are_zero(got, n)
        got = bl.grad_weight(g, packed(x), n, output="sign")
        np.testing.assert_array_equal(got, packed(np.where(into_weight >= 0, 1, -1)), strict=True)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("dtype", WIDE)
def test_out_and_accumulation(dtype, rng):
    g, w, x = small(rng, dtype, 6, 9), packed(signs(rng, 9, 70)), packed(signs(rng, 6, 70))
    once = bl.grad_weight(g, x, 70)
    out = np.full((9, 70), 5, dtype=WIDE[dtype])
    assert bl.grad_weight(g, x, 70, accumulate=True, out=out) is out
    np.testing.assert_array_equal(out, once + 5)
    assert bl.grad_weight(g, x, 70, out=out) is out
    np.testing.assert_array_equal(out, once)
    out = np.full((6, 70), 5, dtype=WIDE[dtype])
    assert bl.grad_input(g, w, 70, out=out) is out
    np.testing.assert_array_equal(out, bl.grad_input(g, w, 70))
    out = np.full((9, 2), 5, dtype=WORD)
    assert bl.grad_weight(g, x, 70, output="sign", out=out) is out
    np.testing.assert_array_equal(out, bl.grad_weight(g, x, 70, output="sign"))


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("dtype", WIDE)
def test_threads_layouts_and_prepared_weights(dtype, rng):
    g, w, x = small(rng, dtype, 9, 7), signs(rng, 7, 70), signs(rng, 9, 70)
    into_input, into_weight = exact(g) @ exact(w), exact(g).T @ exact(x)
    prepared = bl.pack_weights(packed(w), 70)
    for threads in THREADS:
        np.testing.assert_array_equal(bl.grad_input(g, prepared, 70, threads=threads), into_input)
        np.testing.assert_array_equal(bl.grad_weight(g, packed(x), 70, threads=threads), into_weight)
        got = bl.grad_weight(g, packed(x), 70, output="sign", threads=threads)
        np.testing.assert_array_equal(got, packed(np.where(into_weight >= 0, 1, -1)))
        once = np.ones((7, 70), dtype=WIDE[dtype])
        bl.grad_weight(g, packed(x), 70, accumulate=True, out=once, threads=threads)
        np.testing.assert_array_equal(once, into_weight + 1)
    for layout in (np.asfortranarray(g), g[::-1][::-1], np.repeat(g, 2, axis=1)[:, ::2]):
        np.testing.assert_array_equal(bl.grad_input(layout, packed(w), 70), into_input)
        np.testing.assert_array_equal(bl.grad_weight(layout, packed(x), 70), into_weight)


@pytest.mark.usefixtures("variant")
def test_float_types_are_computed_in_float32(rng):
    g, w = rng.normal(size=(5, 40)), signs(rng, 40, 70)
    for dtype in (np.float16, np.float64):
        rounded = g.astype(dtype).astype(np.float32)
        got = bl.grad_input(g.astype(dtype), packed(w), 70)
        assert got.dtype == np.float32
        bound = 4 * 42 * 2.0**-24 * np.abs(rounded.astype(np.float64)).sum(axis=1, keepdims=True)
        assert (np.abs(got - rounded.astype(np.float64) @ w) <= bound).all()


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("case", WINDOWS, ids=str)
def test_convolutions(case, rng):
    image, n, k = case.image, case.n, case.k
    w, x = signs(rng, k, *case.kernel, n), signs(rng, case.batch, *image, n)
    window = {"stride": case.stride, "padding": case.padding}
    size = oracles.conv2d(x[..., :1], w[..., :1], **window).shape
    for dtype in WIDE:
        g = small(rng, dtype, *size)
        expected = oracles.grad_input(g, w, image, **window).astype(WIDE[dtype])
        got = bl.conv2d_grad_input(g, packed(w), n, x.shape, pad_value=1, **window)
        np.testing.assert_array_equal(got, expected, strict=True)
        np.testing.assert_array_equal(bl.conv2d_grad_input(g, packed(w), n, image, **window), expected, strict=True)
        for pad_value in (0, 1, -1):
            options = {**window, "pad_value": pad_value}
            expected = oracles.grad_weight(g, x, case.kernel, **options).astype(WIDE[dtype])
            got = bl.conv2d_grad_weight(g, packed(x), n, w.shape, **options)
            np.testing.assert_array_equal(got, expected, strict=True)
            mask, threshold = signs(rng, *w.shape), int(expected.reshape(-1)[0])
            sign = {"output": "sign", "threshold": threshold, "mask": packed(mask)}
            got = bl.conv2d_grad_weight(g, packed(x), n, case.kernel, **sign, **options)
            np.testing.assert_array_equal(got, sign_bits(expected, threshold, mask), strict=True)


@pytest.mark.usefixtures("variant")
def test_convolution_threads_and_accumulation(rng):
    w, x = signs(rng, 7, 3, 3, 70), signs(rng, 5, 6, 5, 70)
    g = small(rng, np.int8, 5, 6, 5, 7)
    into_input, into_weight = oracles.grad_input(g, w, (6, 5), padding=1), oracles.grad_weight(g, x, (3, 3), padding=1)
    for threads in THREADS:
        options = {"padding": 1, "threads": threads}
        prepared = bl.pack_weights(packed(w), 70)
        np.testing.assert_array_equal(bl.conv2d_grad_input(g, prepared, 70, (6, 5), **options), into_input)
        out = np.full(w.shape, 3, dtype=np.int32)
        bl.conv2d_grad_weight(g, packed(x), 70, (3, 3), accumulate=True, out=out, **options)
        np.testing.assert_array_equal(out, into_weight + 3)
        got = bl.conv2d_grad_weight(g, packed(x), 70, (3, 3), output="sign", **options)
        np.testing.assert_array_equal(got, packed(np.where(into_weight >= 0, 1, -1)))


@pytest.mark.usefixtures("variant")
def test_gradients_are_the_adjoints_of_the_convolution(rng):
    # For every g: sum(g * conv(x, w)) = sum(x * grad_input(g, w)) = sum(w * grad_weight(g, x)), with zero padding.
    x, w, window = signs(rng, 2, 6, 7, 33), signs(rng, 5, 3, 2, 33), {"stride": (2, 1), "padding": (1, 2)}
    y = bl.xnor_conv2d(packed(x), packed(w), 33, **window)
    g = integers(rng, np.int16, *y.shape)
    total = (exact(g) * y).sum()
    assert (exact(x) * bl.conv2d_grad_input(g, packed(w), 33, x.shape, **window)).sum() == total
    assert (exact(w) * bl.conv2d_grad_weight(g, packed(x), 33, w.shape, **window)).sum() == total


@pytest.mark.usefixtures("variant")
def test_empty_convolutions():
    g, w = np.zeros((0, 1, 2, 3), np.int8), np.zeros((3, 3, 3, 1), WORD)
    assert bl.conv2d_grad_input(g, w, 5, (0, 3, 4, 5)).shape == (0, 3, 4, 5)
    got = bl.conv2d_grad_weight(g, np.zeros((0, 3, 4, 1), WORD), 5, (3, 3, 3, 5))
    np.testing.assert_array_equal(got, np.zeros((3, 3, 3, 5), np.int32), strict=True)
    no_channels = np.zeros((2, 1, 2, 0), np.int8)
    assert bl.conv2d_grad_weight(no_channels, np.zeros((2, 3, 4, 1), WORD), 5, (0, 3, 3, 5)).shape == (0, 3, 3, 5)


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
@pytest.mark.parametrize(("n", "shift"), [(640, 0), (640, 4), (700, 1), (1000, 15)])
def test_results_that_no_cache_holds(dtype, n, shift, rng):
    """They may be written past the caches: from any place in a line, with nothing before and behind them."""
    m = 2**23 // n + 3
    g, w = rng.integers(-9, 10, (m, 8)).astype(dtype), rng.choice([-1, 1], (8, n)).astype(np.int8)
    result = np.int32 if dtype == np.int8 else np.float32
    memory = np.full(m * n + 48, 99, result)
    first = -memory.ctypes.data % 64 // 4 + shift
    out = memory[first : first + m * n].reshape(m, n)
    bl.grad_input(g, bl.pack(w), n, out=out)
    assert np.array_equal(out, g.astype(np.float32) @ w.astype(np.float32))
    assert (memory[:first] == 99).all()
    assert (memory[first + m * n :] == 99).all()
