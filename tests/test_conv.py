"""Convolutions of packed images against SciPy's correlation of the unpacked ones."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
from cases import INT32_LIMITS, THREADS, WINDOWS, packed, signs, tails_are_zero

import bitlearn as bl
from bitlearn.bits import WORD


def operands(rng, case):
    return signs(rng, case.batch, *case.image, case.n), signs(rng, case.k, *case.kernel, case.n)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("case", WINDOWS, ids=str)
def test_values_and_signs(case, rng):
    x, w = operands(rng, case)
    for pad_value in (0, 1, -1):
        options = {"stride": case.stride, "padding": case.padding, "pad_value": pad_value}
        expected = oracles.conv2d(x, w, **options)
        got = bl.xnor_conv2d(packed(x), packed(w), case.n, **options)
        np.testing.assert_array_equal(got, expected.astype(np.int32), strict=True)
        for threshold in (0, expected.reshape(-1, case.k)[0] + np.arange(case.k) % 3 - 1, *INT32_LIMITS):
            got = bl.xnor_conv2d_sign(packed(x), packed(w), case.n, threshold, **options)
            np.testing.assert_array_equal(got, packed(np.where(expected >= threshold, 1, -1)), strict=True)
            assert tails_are_zero(got, case.k)


@pytest.mark.usefixtures("variant")
def test_result_types_threads_layouts_and_prepared_weights(rng):
    x, w = signs(rng, 5, 6, 7, 70), signs(rng, 9, 3, 3, 70)
    expected = oracles.conv2d(x, w, padding=1, pad_value=-1)
    words, weights = packed(x), packed(w)
    bits = packed(np.where(expected >= 2, 1, -1))
    options = {"padding": 1, "pad_value": -1}
    for dtype in (np.int16, np.int32, np.float32):
        got = bl.xnor_conv2d(words, weights, 70, dtype=dtype, **options)
        np.testing.assert_array_equal(got, expected.astype(dtype), strict=True)
    prepared = bl.pack_weights(weights, 70)
    for threads in THREADS:
        np.testing.assert_array_equal(bl.xnor_conv2d(words, prepared, 70, threads=threads, **options), expected)
        np.testing.assert_array_equal(bl.xnor_conv2d_sign(words, prepared, 70, 2, threads=threads, **options), bits)
    np.testing.assert_array_equal(bl.xnor_conv2d(words[::-2], weights[::-1], 70, **options), expected[::-2, ..., ::-1])
    mirrored = oracles.conv2d(x[:, :, ::-1], w, **options)
    np.testing.assert_array_equal(bl.xnor_conv2d(words[:, :, ::-1], weights, 70, **options), mirrored)
    out = np.full(expected.shape, 99, dtype=np.int32)
    assert bl.xnor_conv2d(words, weights, 70, out=out, **options) is out
    np.testing.assert_array_equal(out, expected)
    out = np.full(bits.shape, 99, dtype=WORD)
    assert bl.xnor_conv2d_sign(words, weights, 70, 2, out=out, **options) is out
    np.testing.assert_array_equal(out, bits)


@pytest.mark.usefixtures("variant")
def test_same_is_tensorflows(rng):
    # ceil(size / stride) outputs, the odd pixel after: worked out by hand from the published rule.
    x, w = signs(rng, 1, 5, 6, 3), signs(rng, 2, 2, 4, 3)
    got = bl.xnor_conv2d(packed(x), packed(w), 3, padding="same", stride=(2, 3))
    assert got.shape == (1, 3, 2, 2)
    canvas = np.pad(x.astype(int), ((0, 0), (0, 1), (0, 1), (0, 0)))
    for r in range(3):
        for c in range(2):
            window = canvas[0, 2 * r : 2 * r + 2, 3 * c : 3 * c + 4]
            assert got[0, r, c].tolist() == [(window * kernel).sum() for kernel in w.astype(int)]


@pytest.mark.usefixtures("variant")
def test_empty_images(rng):
    w = packed(signs(rng, 4, 3, 3, 5))
    assert bl.xnor_conv2d(np.zeros((0, 6, 6, 1), WORD), w, 5).shape == (0, 4, 4, 4)
    assert bl.xnor_conv2d(np.zeros((2, 0, 0, 1), WORD), w, 5, padding="same").shape == (2, 0, 0, 4)
    assert bl.xnor_conv2d_sign(np.zeros((2, 6, 6, 1), WORD), w[:0], 5, 0).shape == (2, 4, 4, 0)
    no_channels = bl.xnor_conv2d(np.zeros((1, 4, 4, 0), WORD), np.zeros((2, 3, 3, 0), WORD), 0, padding=1, pad_value=1)
    assert not no_channels.any()


def test_limit_of_int16():
    x, w = np.zeros((1, 1, 1, 512), WORD), np.zeros((1, 1, 1, 512), WORD)
    assert bl.xnor_conv2d(x, w, 32767, dtype=np.int16).item() == 32767
    with pytest.raises(ValueError, match="n must be at most 32767 for dtype int16, got 32768"):
        bl.xnor_conv2d(x, w, 32768, dtype=np.int16)
    x, w = np.zeros((1, 2, 2, 128), WORD), np.zeros((1, 2, 2, 128), WORD)
    with pytest.raises(ValueError, match="for dtype int16, got 32768"):
        bl.xnor_conv2d(x, w, 8192, dtype=np.int16)


X, W = np.zeros((2, 4, 5, 2), dtype=np.uint64), np.zeros((3, 3, 3, 2), dtype=np.uint64)


@pytest.mark.parametrize("function", [bl.xnor_conv2d, lambda x, w, n, **more: bl.xnor_conv2d_sign(x, w, n, 0, **more)])
@pytest.mark.parametrize(
    ("x", "w", "options", "error", "message"),
    [
        (X.astype(np.int8), W, {}, TypeError, "x must be packed words of dtype uint64, got dtype int8"),
        (X[0], W, {}, ValueError, r"x must have 4 dimensions, got shape \(4, 5, 2\)"),
        (X[..., :1], W, {}, ValueError, "x must have 2 words in its last axis to hold n=70 values"),
        (X, W[0], {}, ValueError, r"w must have 4 dimensions, got shape \(3, 3, 2\)"),
        (X, W[..., :1], {}, ValueError, "w must have 2 words in its last axis"),
        (X, bl.pack_weights(W, 71), {}, ValueError, "w must pack n=70 values, got n=71"),
        (X, W, {"stride": 0}, ValueError, "stride must be at least 1, got 0"),
        (X, W, {"stride": (1, 0)}, ValueError, "stride must be at least 1, got 0"),
        (X, W, {"stride": 1.5}, TypeError, "stride must be an integer, got 1.5"),
        (X, W, {"stride": (1, 1, 1)}, ValueError, r"stride must be an integer or a pair \(height, width\), got"),
        (X, W, {"padding": -1}, ValueError, "padding must be at least 0, got -1"),
        (X, W, {"padding": (1,)}, ValueError, r"padding must be an integer or a pair \(height, width\), got \(1,\)"),
        (X, W, {"padding": "valid"}, ValueError, "padding must be one of 'same', got 'valid'"),
        (X, W, {"padding": None}, TypeError, "padding must be an integer, got None"),
        (X, W, {"pad_value": 2}, ValueError, "pad_value must be one of 0, 1, -1, got 2"),
        (
            X[:, :2],
            W,
            {},
            ValueError,
            r"kernels must fit images of size \(2, 5\) with padding \(0, 0\), got size \(3, 3\)",
        ),
        (X, W, {"out": np.zeros((2, 2, 3, 3))}, TypeError, "out must have dtype .*, got float64"),
    ],
)
def test_errors(function, x, w, options, error, message):
    with pytest.raises(error, match=message):
        function(x, w, 70, **options)


def test_wrong_out_is_left_alone():
    out = np.full((2, 2, 3, 4), 7, dtype=np.int32)
    with pytest.raises(ValueError, match=r"out must have shape \(2, 2, 3, 3\), got \(2, 2, 3, 4\)"):
        bl.xnor_conv2d(X, W, 70, out=out)
    assert (out == 7).all()
    with pytest.raises(ValueError, match="out must not overlap an input"):
        bl.xnor_conv2d_sign(X, W, 70, 0, out=X.reshape(-1)[:12].reshape(2, 2, 3, 1))
    assert not X.any()
