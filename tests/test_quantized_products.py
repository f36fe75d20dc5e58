"""Products with quantized gradients: the same as with the real numbers that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import ROUNDING, gradients, real

import bitlearn as bl
from bitlearn.ops.quantized import Quantized


def close(got, exact, magnitude):
    """Within the rounding of the result and of its scale to float32."""
    assert got.dtype == np.float32
    assert (np.abs(got - exact) <= ROUNDING * np.abs(exact) + 1e-12 * magnitude).all()


CASES = [
    ({"bits": 8}, None),
    ({"bits": 16}, None),
    ({"bits": 8, "scheme": "affine"}, None),
    ({"bits": 12, "scheme": "affine"}, None),
    ({"bits": 5, "scheme": "power-of-two"}, None),
    ({"bits": 8}, "own"),
    ({"bits": 8, "scheme": "affine"}, "own"),
    ({"bits": 5, "scheme": "power-of-two"}, "own"),
]


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize(("options", "axes"), CASES, ids=str)
def test_products_equal_those_of_the_dequantized(options, axes, rng):
    g, w, x = gradients(rng, 6, 9), bl.pack(gradients(rng, 9, 70)), bl.pack(gradients(rng, 6, 70))
    q = bl.quantize(g, axis=0 if axes else None, **options)
    close(bl.grad_input(q, w, 70), real(q) @ bl.unpack(w, 70), np.abs(real(q)).sum())
    q = bl.quantize(g, axis=1 if axes else None, **options)
    exact = real(q).T @ bl.unpack(x, 70)
    close(bl.grad_weight(q, x, 70), exact, np.abs(real(q)).sum())
    out = np.full((9, 70), 0.5, dtype=np.float32)
    assert bl.grad_weight(q, x, 70, accumulate=True, out=out) is out
    np.testing.assert_array_equal(out, bl.grad_weight(q, x, 70) + np.float32(0.5))


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("pad_value", [0, -1])
@pytest.mark.parametrize(("options", "axes"), CASES, ids=str)
def test_convolutions_equal_those_of_the_dequantized(options, axes, pad_value, rng):
    g = gradients(rng, 2, 4, 5, 3)
    w, x = bl.pack(gradients(rng, 3, 3, 3, 20)), bl.pack(gradients(rng, 2, 4, 5, 20))
    window = {"padding": 1, "pad_value": pad_value}
    q = bl.quantize(g, axis=0 if axes else None, **options)
    magnitude = np.abs(real(q)).sum()
    exact = by_parts(lambda part: bl.conv2d_grad_input(part, w, 20, (4, 5), **window), q, 0)
    close(bl.conv2d_grad_input(q, w, 20, (4, 5), **window), exact, magnitude)
    q = bl.quantize(g, axis=3 if axes else None, **options)
    exact = by_parts(lambda part: bl.conv2d_grad_weight(part, x, 20, (3, 3), **window), q, 3)
    close(bl.conv2d_grad_weight(q, x, 20, (3, 3), **window), exact, magnitude)


def by_parts(product, q, axis):
    """The product of the integers `values - zero_point`, in two int16 halves, times the scale along the first axis."""
    codes = q.values.astype(np.int64) - q.zero_point
    half = codes // 2
    total = product(half.astype(np.int16)) + product((codes - half).astype(np.int16))
    scale = np.asarray(q.scale, dtype=np.float64)
    return total * (scale if scale.ndim == 0 else np.moveaxis(scale, axis, 0))


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("axis", [None, 1])
def test_signs_compare_the_scaled_values(axis, rng):
    g, x = gradients(rng, 6, 9), bl.pack(gradients(rng, 6, 70))
    q = bl.quantize(g, 8, axis=axis)
    codes = q.values.astype(np.int64).T @ bl.unpack(x, 70).astype(np.int64)
    scale = np.broadcast_to(np.asarray(q.scale, dtype=np.float64), (1, 9)).T
    for threshold in (0, 0.5, float(scale[3, 0] * codes[3, 5]), -1.25):
        bits = bl.grad_weight(q, x, 70, output="sign", threshold=threshold)
        np.testing.assert_array_equal(bits, bl.pack(codes * scale >= threshold))


def test_a_users_own_quantized_gradient():
    q = Quantized(np.array([[3, -4]], dtype=np.int8), 0.5, 0, 8)
    got = bl.grad_input(q, bl.pack([[1, -1, 1], [1, 1, -1]]), 3)
    np.testing.assert_array_equal(got, np.array([[-0.5, -3.5, 3.5]], dtype=np.float32), strict=True)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize(("bits", "scheme"), [(5, "power-of-two"), (8, "affine")])
def test_a_quantized_gradient_with_strides(bits, scheme, rng):
    q = bl.quantize(gradients(rng, 6, 9), bits, scheme=scheme)
    turned = Quantized(np.asfortranarray(q.values), q.scale, q.zero_point, bits)
    w, x = bl.pack(gradients(rng, 9, 70)), bl.pack(gradients(rng, 6, 70))
    np.testing.assert_array_equal(bl.grad_input(turned, w, 70), bl.grad_input(q, w, 70))
    np.testing.assert_array_equal(bl.grad_weight(turned, x, 70), bl.grad_weight(q, x, 70))


@pytest.mark.usefixtures("variant")
def test_a_quantized_gradient_of_rows_without_values():
    q = bl.quantize(np.ones((6, 9)), 8)
    assert bl.grad_input(q, bl.pack(np.ones((9, 0))), 0).shape == (6, 0)
    assert bl.grad_weight(q, bl.pack(np.ones((6, 0))), 0).shape == (9, 0)
    images = bl.quantize(np.ones((2, 3, 3, 4)), 8)
    assert bl.conv2d_grad_input(images, bl.pack(np.ones((4, 1, 1, 0))), 0, (3, 3)).shape == (2, 3, 3, 0)
