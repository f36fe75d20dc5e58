"""Products of gradients of few bits: the integers of int8, whichever way is taken, and what a wrong width raises."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CONVOLUTIONS, GRADIENTS, THREADS, packed, signs
from operands_planes import codes

import bitlearn as bl
from bitlearn.ops import dispatch, gradient_operands, planes
from bitlearn.ops.conv import geometry

WIDTHS = (1, 2, 3, 4, 8)


@pytest.fixture(params=[True, False], ids=["planes", "int8"])
def way(request, monkeypatch):
    """Take one way for every product, in short chunks."""
    monkeypatch.setattr(gradient_operands, "planes_pay", lambda *sizes, passes=0: request.param)
    monkeypatch.setattr(planes, "TERMS", 64)
    monkeypatch.setattr(planes, "_SUMS", 100)


@pytest.mark.parametrize("bits", WIDTHS)
def test_products(way, bits, rng):
    for m, k, n in GRADIENTS:
        g, w, x = codes(rng, bits, m, k), signs(rng, k, n), signs(rng, m, n)
        wide = g.astype(np.int64)
        np.testing.assert_array_equal(bl.grad_input(g, packed(w), n, bits=bits), wide @ w)
        expected, mask = wide.T @ x, packed(signs(rng, k, n))
        for threads in THREADS:
            options = {"bits": bits, "threads": threads}
            np.testing.assert_array_equal(bl.grad_weight(g, packed(x), n, **options), expected)
            out = np.full((k, n), 3, np.int32)
            bl.grad_weight(g, packed(x), n, accumulate=True, out=out, **options)
            np.testing.assert_array_equal(out, expected + 3)
            reached = bl.grad_weight(g, packed(x), n, output="sign", threshold=2.5, mask=mask, **options)
            np.testing.assert_array_equal(reached, bl.pack(expected >= 2.5) & mask)


@pytest.mark.parametrize("bits", [1, 4])
@pytest.mark.parametrize("pad_value", [0, 1, -1])
def test_convolutions(way, bits, pad_value, rng):
    for case in CONVOLUTIONS:
        g = codes(rng, bits, case.batch, *case.out, case.k)
        w, x = packed(signs(rng, case.k, *case.kernel, case.n)), packed(signs(rng, case.batch, *case.image, case.n))
        fixed = {"stride": case.stride, "padding": case.padding, "pad_value": pad_value}
        if geometry(case.image, case.kernel, case.stride, case.padding, 0).out_size != case.out:
            continue  # what the functions cannot ask for
        with bl.use_backend("reference"):
            images = bl.conv2d_grad_input(g, w, case.n, case.image, **fixed)
            kernels = bl.conv2d_grad_weight(g, x, case.n, case.kernel, **fixed)
            reached = bl.conv2d_grad_weight(g, x, case.n, case.kernel, output="sign", **fixed)
        for threads in (1, 3):
            options = {"bits": bits, "threads": threads, **fixed}
            np.testing.assert_array_equal(bl.conv2d_grad_input(g, w, case.n, case.image, **options), images)
            np.testing.assert_array_equal(bl.conv2d_grad_weight(g, x, case.n, case.kernel, **options), kernels)
            out = np.full_like(kernels, 3)
            bl.conv2d_grad_weight(g, x, case.n, case.kernel, accumulate=True, out=out, **options)
            np.testing.assert_array_equal(out, kernels + 3)
            got = bl.conv2d_grad_weight(g, x, case.n, case.kernel, output="sign", **options)
            np.testing.assert_array_equal(got, reached)


@pytest.mark.parametrize("pad_value", [0, 1, -1])
def test_convolutions_of_one_row_or_column(way, pad_value, rng):
    """A stride leaves views of a canvas whose pixels do not lie side by side."""
    for image, kernel, stride in (
        ((1, 9), (1, 3), (1, 2)),
        ((9, 1), (3, 1), (2, 1)),
        ((1, 9), (1, 2), (1, 3)),
        ((2, 7), (2, 2), (2, 2)),
        ((7, 2), (3, 2), (3, 1)),
        ((5, 6), (5, 2), (1, 2)),
        ((3, 3), (3, 3), (2, 2)),
    ):
        for batch in (1, 3, 5):
            g_size = geometry(image, kernel, stride, 0, 0).out_size
            g, x = codes(rng, 2, batch, *g_size, 7), packed(signs(rng, batch, *image, 70))
            options = {"stride": stride, "pad_value": pad_value}
            with bl.use_backend("reference"):
                expected = bl.conv2d_grad_weight(g, x, 70, kernel, **options)
            out = np.full_like(expected, 3)
            bl.conv2d_grad_weight(g, x, 70, kernel, bits=2, accumulate=True, out=out, **options)
            np.testing.assert_array_equal(out, expected + 3)


def test_a_value_of_more_bits_in_a_convolution(way, rng):
    g = codes(rng, 4, 2, 5, 6, 7)
    g[1, 4, 5, 6] = 8
    out = np.full((2, 5, 6, 3), 7, np.int32)
    with pytest.raises(ValueError, match="g must hold values of 4 bits"):
        bl.conv2d_grad_input(g, packed(signs(rng, 7, 3, 3, 3)), 3, (5, 6), padding=1, bits=4, out=out)
    assert (out == 7).all()
    x = packed(signs(rng, 2, 5, 6, 3))
    for output in ("values", "sign"):
        with pytest.raises(ValueError, match="g must hold values of 4 bits"):
            bl.conv2d_grad_weight(g, x, 3, (3, 3), padding=1, bits=4, output=output)


def test_quantized_gradients(way, rng):
    g, w, x = rng.normal(size=(70, 33)), signs(rng, 33, 65), signs(rng, 70, 65)
    rows, columns = bl.quantize(g, 4, axis=0), bl.quantize(g, 4, axis=1)
    expected = (rows.values.astype(np.float64) @ w * rows.scale).astype(np.float32)
    np.testing.assert_array_equal(bl.grad_input(rows, packed(w), 65), expected)
    expected = (columns.values.T.astype(np.float64) @ x * columns.scale.reshape(-1, 1)).astype(np.float32)
    np.testing.assert_array_equal(bl.grad_weight(columns, packed(x), 65), expected)
    affine = bl.quantize(g + 1, 4, scheme="affine")
    expected = (affine.values.astype(np.float64) - affine.zero_point) @ w * affine.scale
    np.testing.assert_allclose(bl.grad_input(affine, packed(w), 65), expected, rtol=1e-6)


@pytest.mark.parametrize(("bits", "value"), [(1, 0), (1, 2), (2, 2), (2, -3), (4, 8), (4, -9), (7, 64)])
def test_a_value_of_more_bits_is_refused_before_anything_is_written(way, bits, value, rng):
    g, w = codes(rng, bits, 130, 70), packed(signs(rng, 70, 5))
    g[-1, -1] = value
    out = np.full((130, 5), 7, np.int32)
    with pytest.raises(ValueError, match=f"g must hold values of {bits} bits"):
        bl.grad_input(g, w, 5, bits=bits, out=out)
    assert (out == 7).all()
    out = np.full((70, 5), 7, np.int32)
    for options in ({"accumulate": True, "out": out}, {"output": "sign"}):
        with pytest.raises(ValueError, match=f"g must hold values of {bits} bits"):
            bl.grad_weight(g, packed(signs(rng, 130, 5)), 5, bits=bits, **options)
    assert (out == 7).all()


@pytest.mark.parametrize(
    ("g", "bits", "error", "message"),
    [
        (np.zeros((2, 2), np.int8), 0, ValueError, "bits must be at least 1, got 0"),
        (np.zeros((2, 2), np.int8), 9, ValueError, "bits must be from 1 to 8, got 9"),
        (np.zeros((2, 2), np.int8), 2.0, TypeError, "bits must be an integer, got 2.0"),
        (
            np.zeros((2, 2), np.int16),
            4,
            ValueError,
            "bits must be None where g is not int8, got bits=4 and dtype int16",
        ),
    ],
)
def test_widths_that_do_not_exist(g, bits, error, message):
    with pytest.raises(error, match=message):
        bl.grad_input(g, np.zeros((2, 1), np.uint64), 3, bits=bits)
    with pytest.raises(error, match=message):
        bl.grad_weight(g, np.zeros((2, 1), np.uint64), 3, bits=bits)


def test_the_rule_asks_for_few_bits_and_large_products():
    with bl.use_backend("reference"):
        assert not dispatch.planes_pay(1, 4096, 4096, 4096)
    assert not dispatch.planes_pay(8, 4096, 4096, 4096)
    assert not dispatch.planes_pay(1, 4, 4, 4)
    # Fewer bits are never the slower ones.
    chosen = [dispatch.planes_pay(bits, 1024, 1024, 1024) for bits in range(1, 9)]
    assert chosen == sorted(chosen, reverse=True)
