"""Gradients of some rows and columns of weights, against the whole products of what is kept."""

from __future__ import annotations

import re

import numpy as np
import oracles
import pytest
from cases import integers, packed, signs, tails_are_zero

import bitlearn as bl
from bitlearn.bits import WORD

WIDE = {np.int8: np.int32, np.int16: np.int64, np.float32: np.float32}
#: Sizes (m, outputs, n), kept rows and columns: none, one, in no order, past a word, all.
CASES = (
    ((3, 5, 70), [4, 0, 2], [69, 3, 64, 0]),
    ((2, 9, 129), [1], list(range(0, 129, 2))),
    ((4, 7, 65), [], [64]),
    ((4, 7, 65), [6, 5], []),
    ((1, 66, 64), list(range(65)), list(range(63, -1, -1))),
    ((0, 4, 3), [3], [0, 1]),
    ((5, 64, 1), None, [0]),
    ((5, 3, 200), [2, 1], None),
)


def small(rng, dtype, *shape):
    """Gradients whose sums are exact in every type."""
    return integers(rng, np.int8 if dtype == np.float32 else dtype, *shape).astype(dtype)


def only(values, rows, columns):
    """Return values, of weights, with 0 in the place of what is not kept."""
    found = np.zeros_like(values)
    rows = range(values.shape[0]) if rows is None else rows
    columns = range(values.shape[-1]) if columns is None else columns
    for i in rows:
        for j in columns:
            found[i, ..., j] = values[i, ..., j]
    return found


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize(("size", "rows", "columns"), CASES)
def test_products(dtype, size, rows, columns, rng):
    m, k, n = size
    g, w, x = small(rng, dtype, m, k), signs(rng, k, n), signs(rng, m, n)
    kept = {"rows": rows, "columns": columns}
    exact = g.astype(np.int64)
    expected = (exact @ only(w.astype(np.int64), rows, columns)).astype(WIDE[dtype])
    for weights in (packed(w), bl.pack_weights(packed(w), n)):
        np.testing.assert_array_equal(bl.grad_input(g, weights, n, **kept), expected, strict=True)
    out = np.full((m, n), 5, WIDE[dtype])
    assert bl.grad_input(g, packed(w), n, out=out, **kept) is out
    np.testing.assert_array_equal(out, expected)

    whole = (exact.T @ x.astype(np.int64)).astype(WIDE[dtype])
    expected = only(whole, rows, columns)
    np.testing.assert_array_equal(bl.grad_weight(g, packed(x), n, **kept), expected, strict=True)
    out = np.full((k, n), 7, WIDE[dtype])
    assert bl.grad_weight(g, packed(x), n, accumulate=True, out=out, **kept) is out
    np.testing.assert_array_equal(out, expected + 7)
    factors = rng.integers(-4, 5, k) / 4
    scaled = (expected * factors[:, None]).astype(np.float32)
    np.testing.assert_array_equal(bl.grad_weight(g, packed(x), n, scale=factors, **kept), scaled, strict=True)
    out = np.full((k, n), 2, np.float32)
    bl.grad_weight(g, packed(x), n, scale=factors, accumulate=True, out=out, **kept)
    np.testing.assert_array_equal(out, scaled + 2)

    mask = signs(rng, k, n)
    allowed = only(np.ones((k, n), np.int8), rows, columns) > 0
    for given in ({}, {"mask": packed(mask)}):
        bits = (whole >= -2) & allowed & (mask > 0 if given else True)
        got = bl.grad_weight(g, packed(x), n, output="sign", threshold=-2, **given, **kept)
        np.testing.assert_array_equal(got, packed(np.where(bits, 1, -1)), strict=True)
        assert tails_are_zero(got, n)


@pytest.mark.usefixtures("variant")
def test_quantized(rng):
    m, k, n, rows, columns = 6, 9, 70, [8, 1, 3], [0, 69, 10]
    codes, w, x = rng.integers(-7, 8, (m, k)).astype(np.int8), signs(rng, k, n), signs(rng, m, n)
    for along, zero in (((m, 1), 0), ((1, k), 0), ((1, k), rng.integers(-3, 4, (1, k))), ((), 2)):
        scale = (2.0 ** rng.integers(-3, 3, along)).astype(np.float32)
        g = bl.Quantized(codes, scale, zero, 4)
        values = (codes.astype(np.float64) - zero) * scale
        if along != (1, k):
            got = bl.grad_input(g, packed(w), n, rows=rows, columns=columns)
            np.testing.assert_array_equal(got, (values @ only(w, rows, columns)).astype(np.float32))
        if along != (m, 1):
            got = bl.grad_weight(g, packed(x), n, rows=rows, columns=columns)
            np.testing.assert_array_equal(got, only((values.T @ x).astype(np.float32), rows, columns))


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize(
    ("rows", "columns"), [([5, 1], [69, 64, 2]), (None, [0]), ([3], None), ([], [1]), ([0], []), (None, None)]
)
def test_convolutions(dtype, rows, columns, rng):
    w, x, window = signs(rng, 6, 3, 2, 70), signs(rng, 2, 5, 6, 70), {"stride": (2, 1), "padding": (1, 0)}
    kept, g = {"rows": rows, "columns": columns}, small(rng, dtype, 2, 3, 5, 6)
    expected = oracles.grad_input(g, only(w, rows, columns), (5, 6), **window).astype(WIDE[dtype])
    got = bl.conv2d_grad_input(g, packed(w), 70, (5, 6), **window, **kept)
    np.testing.assert_array_equal(got, expected, strict=True)
    factors, mask = rng.integers(-4, 5, 6) / 4, signs(rng, *w.shape)
    for pad_value in (0, 1, -1):
        given = window | {"pad_value": pad_value} | kept
        whole = oracles.grad_weight(g, x, (3, 2), **window, pad_value=pad_value).astype(WIDE[dtype])
        expected = only(whole, rows, columns)
        np.testing.assert_array_equal(bl.conv2d_grad_weight(g, packed(x), 70, (3, 2), **given), expected, strict=True)
        out = np.full(w.shape, 3, WIDE[dtype])
        bl.conv2d_grad_weight(g, packed(x), 70, w.shape, accumulate=True, out=out, **given)
        np.testing.assert_array_equal(out, expected + 3)
        scaled = (expected * factors[:, None, None, None]).astype(np.float32)
        got = bl.conv2d_grad_weight(g, packed(x), 70, (3, 2), scale=factors, **given)
        np.testing.assert_array_equal(got, scaled, strict=True)
        bits = (whole >= 1) & (mask > 0) & (only(np.ones(w.shape), rows, columns) > 0)
        got = bl.conv2d_grad_weight(g, packed(x), 70, (3, 2), output="sign", threshold=1, mask=packed(mask), **given)
        np.testing.assert_array_equal(got, packed(np.where(bits, 1, -1)), strict=True)


def test_what_is_not_kept_is_not_looked_at(rng):
    g, w, x = np.ones((3, 4), np.float32), packed(signs(rng, 4, 5)), packed(signs(rng, 3, 5))
    g[:, 2] = np.nan
    assert np.isfinite(bl.grad_input(g, w, 5, rows=[0, 1, 3])).all()
    assert np.isfinite(bl.grad_weight(g, x, 5, rows=[0, 1, 3])).all()


G, W, X = np.ones((3, 4), np.int8), np.zeros((4, 2), WORD), np.zeros((3, 2), WORD)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"rows": [4]}, ValueError, "rows must be from 0 to 3, got 4 to 4"),
        ({"rows": [-1, 2]}, ValueError, "rows must be from 0 to 3, got -1 to 2"),
        ({"columns": [70]}, ValueError, "columns must be from 0 to 69, got 70 to 70"),
        ({"rows": [1, 1]}, ValueError, "rows must be different numbers, got one twice among 2"),
        ({"rows": [0.5]}, TypeError, "rows must be a list of integers, got [0.5]"),
        ({"columns": [True]}, TypeError, "columns must be a list of integers, got [True]"),
        ({"columns": [[1]]}, TypeError, "columns must be a list of integers, got [[1]]"),
        ({"columns": 3}, TypeError, "columns must be a list of integers, got 3"),
    ],
)
def test_errors(given, error, message):
    for call in (
        lambda **more: bl.grad_input(G, W, 70, **given, **more),
        lambda **more: bl.grad_weight(G, X, 70, **given, **more),
        lambda **more: bl.conv2d_grad_input(G[:, None, None], W[:, None, None], 70, (1, 1), **given, **more),
        lambda **more: bl.conv2d_grad_weight(G[:, None, None], X[:, None, None], 70, (1, 1), **given, **more),
    ):
        with pytest.raises(error, match=re.escape(message)):
            call()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"scale": [1.0] * 3}, ValueError, "scale must have shape (4,), one per row, got (3,)"),
        ({"scale": [1, 2, np.nan, 1]}, ValueError, "scale must be finite"),
        ({"scale": ["a"] * 4}, TypeError, "scale must be real numbers"),
        ({"scale": [1.0] * 4, "output": "sign"}, ValueError, "scale must be left out with output 'sign'"),
        ({"rows": [0], "accumulate": True}, ValueError, "out must be given with accumulate=True"),
        ({"rows": [0], "mask": W}, ValueError, "threshold and mask must be left out with output 'values'"),
        ({"rows": [0], "output": "sign", "mask": X}, ValueError, "mask must have shape (4, 2), got (3, 2)"),
        ({"rows": [0], "output": "sign", "accumulate": True}, ValueError, "accumulate must be False"),
        ({"rows": [0], "output": "bits"}, ValueError, "output must be one of"),
    ],
)
def test_errors_of_weights(given, error, message):
    with pytest.raises(error, match=re.escape(message)):
        bl.grad_weight(G, X, 70, **given)


def test_nothing_is_written_where_a_call_raises():
    out = np.full((4, 70), 9, np.int32)
    for given in ({"rows": [9]}, {"rows": [1], "threshold": 1}, {"rows": [1], "mask": W}):
        with pytest.raises(ValueError, match="must be"):
            bl.grad_weight(G, X, 70, out=out, **given)
    out[1, 0] = 2**31 - 2
    with pytest.raises(ValueError, match="out must hold magnitudes"):
        bl.grad_weight(G, X, 70, rows=[1], accumulate=True, out=out)
    np.testing.assert_array_equal(out[[0, 2, 3]], 9)
