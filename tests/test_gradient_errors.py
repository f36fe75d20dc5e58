"""Gradients refused: what was wanted, what was got, and nothing written."""

from __future__ import annotations

import numpy as np
import pytest

import bitlearn as bl
from bitlearn.bits import WORD

G = np.zeros((4, 3), dtype=np.int8)
W, X = np.zeros((3, 2), dtype=WORD), np.zeros((4, 2), dtype=WORD)
MAPS = np.zeros((2, 2, 3, 5), dtype=np.int8)
KERNELS, IMAGES = np.zeros((5, 3, 3, 2), dtype=WORD), np.zeros((2, 4, 5, 2), dtype=WORD)


def seven(dtype, *shape):
    return np.full(shape, 7, dtype=dtype)


INPUT = [
    (G.astype(np.int32), W, {}, TypeError, "g must be int8, int16, floating or quantized, got dtype int32"),
    (G[0], W, {}, ValueError, r"g must have 2 dimensions, got shape \(3,\)"),
    (G[:, :2], W, {}, ValueError, r"g must have as many columns as w has rows, got shapes \(4, 2\) and \(3, 2\)"),
    (G, W[:, :1], {}, ValueError, "w must have 2 words in its last axis to hold n=70 values"),
    (G, bl.pack_weights(W, 71), {}, ValueError, "w must pack n=70 values, got n=71"),
    (G, W, {"out": seven(np.int64, 4, 70)}, TypeError, "out must have dtype int32, got int64"),
    (G, W, {"out": seven(np.int32, 3, 70)}, ValueError, r"out must have shape \(4, 70\), got \(3, 70\)"),
    (G.astype(np.int16), W, {"out": seven(np.int32, 4, 70)}, TypeError, "out must have dtype int64, got int32"),
    (
        G,
        W,
        {"out": seven(np.int32, 4, 70), "threads": 0},
        ValueError,
        "threads must be an integer from 1 to 256, got 0",
    ),
    (bl.quantize(np.ones((4, 3)), 8, axis=1), W, {}, ValueError, r"scale of g must be a scalar or of shape \(4, 1\)"),
]
BITS = {"output": "sign"}
WEIGHT = [
    (G[:3], X, {}, ValueError, r"g and x must have the same number of rows, got shapes \(3, 3\) and \(4, 2\)"),
    (G, X.astype(float), {}, TypeError, "x must be packed words of dtype uint64, got dtype float64"),
    (G, X, {"output": "bits"}, ValueError, "output must be one of 'values', 'sign', got 'bits'"),
    (G, X, {"threshold": 1}, ValueError, "threshold and mask must be left out with output 'values'"),
    (G, X, {"mask": W}, ValueError, "threshold and mask must be left out with output 'values'"),
    (G, X, {"accumulate": True}, ValueError, "out must be given with accumulate=True, got None"),
    (G, X, {"out": seven(np.int32, 3, 70), "threads": 0}, ValueError, "threads must be an integer"),
    (G, X, {"out": seven(np.int32, 3, 71)}, ValueError, r"out must have shape \(3, 70\), got \(3, 71\)"),
    (G, X, {**BITS, "accumulate": True, "out": seven(WORD, 3, 2)}, ValueError, "accumulate must be False with output"),
    (G, X, {**BITS, "mask": X}, ValueError, r"mask must have shape \(3, 2\), got \(4, 2\)"),
    (G, X, {**BITS, "mask": W.astype(bool)}, TypeError, "mask must be packed words of dtype uint64, got dtype bool"),
    (G, X, {**BITS, "threshold": np.nan}, ValueError, "threshold must be a finite scalar, got nan"),
    (G, X, {**BITS, "threshold": [0, 0, 0]}, ValueError, "threshold must be a finite scalar"),
    (G, X, {**BITS, "out": seven(np.int32, 3, 70)}, TypeError, "out must have dtype uint64, got int32"),
    (bl.quantize(np.ones((4, 3)), 8, axis=0), X, {}, ValueError, r"scale of g must be a scalar or of shape \(1, 3\)"),
    (
        bl.quantize(np.arange(12.0).reshape(4, 3), 8, scheme="affine"),
        X,
        {**BITS, "out": seven(WORD, 3, 2)},
        ValueError,
        "g must be symmetric and linear with output 'sign'",
    ),
]
CONV_INPUT = [
    (MAPS[0], (4, 5), {}, ValueError, r"g must have 4 dimensions, got shape \(2, 3, 5\)"),
    (MAPS, (5, 5), {}, ValueError, r"g must have shape \(2, 3, 3, 5\), the convolution's result, got \(2, 2, 3, 5\)"),
    (MAPS, (4, 5), {"stride": 2}, ValueError, "g must have shape"),
    (MAPS, 4, {}, TypeError, "input_shape must be a tuple of sizes, got 4"),
    (MAPS, (4, 5, 70), {}, ValueError, r"input_shape must be \(height, width\) or \(2, 'any', 'any', 70\), got"),
    (MAPS, (3, 4, 5, 70), {}, ValueError, r"input_shape must be \(height, width\) or"),
    (MAPS, (-4, 5), {}, ValueError, "input_shape must be at least 0, got -4"),
    (MAPS, (4, 5), {"padding": "full"}, ValueError, "padding must be one of 'same', got 'full'"),
]
CONV_WEIGHT = [
    (MAPS, (2, 3), {}, ValueError, r"g must have shape \(2, 3, 3, 5\), the convolution's result, got \(2, 2, 3, 5\)"),
    (MAPS, (4, 3, 3, 70), {}, ValueError, r"kernel_shape must be \(height, width\) or \(5, 'any', 'any', 70\), got"),
    (MAPS, (3, 3), {"pad_value": 3}, ValueError, "pad_value must be one of 0, 1, -1, got 3"),
    (MAPS, (3, 3), {"threads": 0, "out": seven(np.int32, 5, 3, 3, 70)}, ValueError, "threads must be an integer"),
]


def refused(function, arguments, options, error, message):
    with pytest.raises(error, match=message):
        function(*arguments, **options)
    assert "out" not in options or (options["out"] == 7).all()


@pytest.mark.parametrize(("g", "w", "options", "error", "message"), INPUT)
def test_grad_input(g, w, options, error, message):
    refused(bl.grad_input, (g, w, 70), options, error, message)


@pytest.mark.parametrize(("g", "x", "options", "error", "message"), WEIGHT)
def test_grad_weight(g, x, options, error, message):
    refused(bl.grad_weight, (g, x, 70), options, error, message)


@pytest.mark.parametrize(("g", "shape", "options", "error", "message"), CONV_INPUT)
def test_conv2d_grad_input(g, shape, options, error, message):
    refused(bl.conv2d_grad_input, (g, KERNELS, 70, shape), options, error, message)


@pytest.mark.parametrize(("g", "shape", "options", "error", "message"), CONV_WEIGHT)
def test_conv2d_grad_weight(g, shape, options, error, message):
    refused(bl.conv2d_grad_weight, (g, IMAGES, 70, shape), options, error, message)


def test_overlaps():
    square = np.ones((4, 4), dtype=np.float32)
    bits = np.zeros((4, 1), dtype=WORD)
    for function in (bl.grad_input, bl.grad_weight):
        with pytest.raises(ValueError, match="out must not overlap an input"):
            function(square, bits, 4, out=square)
    for inputs in ({"x": bits}, {"x": np.zeros((4, 1), WORD), "mask": bits}):
        with pytest.raises(ValueError, match="out must not overlap an input"):
            bl.grad_weight(square, n=4, output="sign", out=bits, **inputs)
    assert (square == 1).all()
    assert not bits.any()


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize(("dtype", "total", "most"), [(np.int8, np.int32, 128), (np.int16, np.int64, 2**15)])
@pytest.mark.parametrize("sign", [1, -1])
def test_totals_that_sums_added_to_might_leave_their_type(dtype, total, most, sign):
    # The least integers with -1, or with +1: the largest sums there are of either sign.
    g, x = np.full((5, 3), -most, dtype=dtype), bl.pack(np.full((5, 70), -sign))
    room = np.iinfo(total).max - 5 * most
    out = np.full((3, 70), sign * room, total)
    bl.grad_weight(g, x, 70, accumulate=True, out=out)
    assert (out == sign * np.iinfo(total).max).all()
    out[...], out[-1, -1] = 7, sign * (room + 1)
    before, taps = out.copy(), (slice(None), None, None)
    for call in (
        lambda: bl.grad_weight(g, x, 70, accumulate=True, out=out),
        lambda: bl.conv2d_grad_weight(g[taps], x[taps], 70, (1, 1), accumulate=True, out=out[taps]),
    ):
        with pytest.raises(ValueError, match=f"out must hold magnitudes of at most {room} where sums of 5 terms are"):
            call()
    np.testing.assert_array_equal(out, before)


def test_int8_sums_that_might_leave_int32():
    limit = 2**24
    g, empty = np.zeros((1, limit), dtype=np.int8), np.zeros((limit, 0), dtype=WORD)
    for call in (lambda g: bl.grad_input(g, empty, 0), lambda g: bl.grad_weight(g.T, empty, 0)):
        with pytest.raises(ValueError, match=f"an int8 g must be summed over fewer than {limit} terms, got {limit}"):
            call(g)
        call(g.astype(np.int16))


@pytest.mark.usefixtures("variant")
def test_sums_of_floats_are_compared_with_the_threshold_itself():
    """Not with the nearest float32, which 0.7 is above and 0.3 below."""
    x = bl.pack(np.ones((1, 70)))
    for threshold in (0.7, 0.3, -0.7, -0.3, 2**24 + 1, 1e300, -1e300):
        g = np.array([[np.clip(threshold, -1e30, 1e30)]], dtype=np.float32)
        found = bl.unpack(bl.grad_weight(g, x, 70, output="sign", threshold=threshold), 70)
        assert (found == (1 if float(g[0, 0]) >= threshold else -1)).all(), threshold


@pytest.mark.parametrize("stride", [1, 2])
def test_values_of_more_bits_are_refused_whatever_the_stride(stride):
    g, w = np.array([[[[-8, 64]]]], dtype=np.int8), bl.pack(np.ones((2, stride, stride, 5)))
    given = {"input_shape": (1, stride, stride, 5), "stride": stride}
    assert bl.conv2d_grad_input(g, w, 5, bits=8, **given).shape == (1, stride, stride, 5)
    with pytest.raises(ValueError, match="g must hold values of 7 bits, -64 to 63, got others"):
        bl.conv2d_grad_input(g, w, 5, bits=7, **given)
