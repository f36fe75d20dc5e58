"""Gradient products: every variant against the executable specification, exactly for integers."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CONVOLUTIONS, GRADIENTS, integers, tails_are_zero, words
from guards import check_exactly, filled, rivals, run, specified

from bitlearn.bits import WORD, ones, words_for

WIDE = {np.int8: np.int32, np.int16: np.int64, np.float32: np.float32}
TYPES = list(WIDE)
#: The channels of a gradient before and after those that are wanted.
PARTS = [(0, 0), (3, 2)]
#: Float gradients are multiples of this, so that int16 ones times it are an exact oracle.
UNIT = np.float32(2.0**-10)


def gradient(rng, dtype, *shape):
    return integers(rng, np.int16, *shape) * UNIT if dtype == np.float32 else integers(rng, dtype, *shape)


def start(rng, dtype, shape):
    """What the accumulating kernels add to."""
    return (rng.integers(-1000, 1000, size=shape) * (UNIT if dtype == np.float32 else 1)).astype(WIDE[dtype])


def check(kernel, variant, arguments, terms):
    """Compare exactly, or a float result with the exact one within the rounding of a sum of `terms` in any order.

    Every sum of t terms, in whatever order, is within (t - 1) u times the sum of the magnitudes, u = 2**-24, to first
    order. ``2 * sum_{s = 1} g - sum g`` has three such sums' worth of error at most; 4 (t + 2) u covers both, and what
    is added to.
    """
    g, out = arguments[0], arguments[-1]
    if g.dtype != np.float32:
        check_exactly(kernel, variant, arguments)
        return
    got = run(kernel, variant, arguments)
    adds = "weight" in kernel and arguments[-2]
    into = (out / UNIT).astype(np.int64) if adds else np.zeros(out.shape, dtype=np.int64)
    codes = (g / UNIT).astype(np.int64)
    bits, n, *geometry = arguments[1:-1]
    (exact,) = specified(kernel, (codes, bits, n, *geometry, into))
    # The sum of the magnitudes is the product with all values +1, those of the padding too.
    geometry = [abs(each) if isinstance(each, int) else each for each in geometry]
    (magnitude,) = specified(kernel, (np.abs(codes), ones(bits.shape[:-1], n), n, *geometry, np.abs(into)))
    error = np.abs(got.astype(np.float64) / UNIT - exact)
    assert (error <= 4 * (terms + 2) * 2.0**-24 * magnitude).all(), f"{variant}, {kernel}: off by {error.max()}"


@pytest.mark.parametrize(("kernel", "variant"), rivals("grad_input"))
@pytest.mark.parametrize("dtype", TYPES)
def test_grad_input(kernel, variant, dtype, rng):
    for m, k, n in GRADIENTS:
        arguments = (gradient(rng, dtype, m, k), words(rng, k, n), n, filled((m, n), WIDE[dtype]))
        check(kernel, variant, arguments, k)


@pytest.mark.parametrize(("kernel", "variant"), rivals("grad_input"))
@pytest.mark.parametrize("dtype", TYPES)
def test_grad_input_larger_than_a_cache(kernel, variant, dtype, rng):
    """More than a megabyte is written while the next rows are multiplied, in one block of terms or behind another."""
    m, n = 257, 1030
    for k in (5, 3 + 256 // np.dtype(dtype).itemsize):
        check(kernel, variant, (gradient(rng, dtype, m, k), words(rng, k, n), n, filled((m, n), WIDE[dtype])), k)


@pytest.mark.parametrize(("kernel", "variant"), rivals("grad_weight"))
@pytest.mark.parametrize("dtype", TYPES)
def test_grad_weight(kernel, variant, dtype, rng):
    for m, k, n in GRADIENTS:
        for first, more in PARTS:
            g = gradient(rng, dtype, m, first + k + more)
            inputs = (g, words(rng, m, n), n, first)
            check(kernel, variant, (*inputs, True, start(rng, dtype, (k, n))), m)
            check(kernel, variant, (*inputs, False, filled((k, n), WIDE[dtype])), m)


def bounds(values, dtype):
    """Thresholds at, one step below and one step above a value of each row, and out of reach of all."""
    k = len(values)
    step = UNIT if dtype == np.float32 else 1
    picked = values.reshape(k, values.size // k)[:, 0] if values.size else np.zeros(k)
    threshold = (picked + (np.arange(k) % 3 - 1) * step).astype(np.float32 if dtype == np.float32 else np.int64)
    threshold[5::7] = 2**62
    threshold[6::7] = -(2**62)
    return threshold


def exact_gradient(rng, dtype, *shape):
    """Floats so small that their sums are exact in any order: signs can then be compared exactly."""
    return integers(rng, np.int8, *shape) * UNIT if dtype == np.float32 else integers(rng, dtype, *shape)


@pytest.mark.parametrize(("kernel", "variant"), rivals("grad_weight_sign"))
@pytest.mark.parametrize("dtype", TYPES)
def test_grad_weight_sign(kernel, variant, dtype, rng):
    for m, k, n in GRADIENTS:
        for first, more in PARTS:
            fixed = (exact_gradient(rng, dtype, m, first + k + more), words(rng, m, n), n, first)
            (values,) = specified("grad_weight", (*fixed, False, np.zeros((k, n), dtype=np.float64)))
            arguments = (*fixed, bounds(values, dtype), words(rng, k, n), filled((k, words_for(n)), WORD))
            assert tails_are_zero(check_exactly(kernel, variant, arguments), n)


#: So many int16 extremes leave int32: 65,538 * 32,768 > 2**31.
LONG = 65_538


def extremes(dtype):
    """Rows of the least value, of the greatest, and of both in turn; and bits that are all set, and every other."""
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    g = np.array([[low], [high], [low]], dtype=dtype).repeat(LONG, axis=1)
    g[2, ::2] = high
    return g, np.where(np.arange(LONG) % 2, 0b11, 0b01).astype(WORD)[:, None]


@pytest.mark.parametrize(("kernel", "variant"), rivals("grad_weight", "grad_input"))
@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_long_sums_of_extremes(kernel, variant, dtype):
    g, words_of_two = extremes(dtype)
    inputs = (g, words_of_two, 2) if kernel == "grad_input" else (g.T.copy(), words_of_two, 2, 0, True)
    out = check_exactly(kernel, variant, (*inputs, np.zeros((3, 2), WIDE[dtype])))
    assert out[:, 0].tolist() == g.sum(axis=1, dtype=np.int64).tolist()


@pytest.mark.parametrize(("kernel", "variant"), rivals("grad_weight_sign"))
@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_signs_of_long_sums_of_extremes(kernel, variant, dtype):
    g, x = extremes(dtype)
    g = np.concatenate([g] * 15)  # more rows than have room for sums past int32
    rows, sums = len(g), g.sum(axis=1, dtype=np.int64)
    for below in (0, 1):
        arguments = (g.T.copy(), x, 2, 0, sums + below, ones((rows,), 2), filled((rows, 1), WORD))
        out = check_exactly(kernel, variant, arguments)
        assert (out[:, 0] & np.uint64(1)).tolist() == [1 - below] * rows


@pytest.mark.parametrize(("kernel", "variant"), rivals("conv2d_grad_input"))
@pytest.mark.parametrize("dtype", TYPES)
def test_conv2d_grad_input(kernel, variant, dtype, rng):
    for case in CONVOLUTIONS:
        g = gradient(rng, dtype, case.batch, *case.out, case.k)
        w = words(rng, case.k, *case.kernel, case.n)
        out = filled((case.batch, *case.image, case.n), WIDE[dtype])
        terms = case.k * case.kernel[0] * case.kernel[1]
        check(kernel, variant, (g, w, case.n, case.stride, case.padding, out), terms)


@pytest.mark.parametrize(("kernel", "variant"), rivals("conv2d_grad_weight"))
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("pad_value", [0, 1, -1])
def test_conv2d_grad_weight(kernel, variant, dtype, pad_value, rng):
    for case in CONVOLUTIONS:
        first, more = PARTS[case.k % 2]
        g = gradient(rng, dtype, case.batch, *case.out, first + case.k + more)
        x = words(rng, case.batch, *case.image, case.n)
        out = start(rng, dtype, (case.k, *case.kernel, case.n))
        terms = case.batch * case.out[0] * case.out[1]
        fixed = (g, x, case.n, case.stride, case.padding, pad_value, first)
        check(kernel, variant, (*fixed, True, out), terms)
        check(kernel, variant, (*fixed, False, filled(out.shape, out.dtype.type)), terms)


@pytest.mark.parametrize(("kernel", "variant"), rivals("conv2d_grad_weight_sign"))
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("pad_value", [0, 1, -1])
def test_conv2d_grad_weight_sign(kernel, variant, dtype, pad_value, rng):
    for case in CONVOLUTIONS:
        first, more = PARTS[case.k % 2]
        g = exact_gradient(rng, dtype, case.batch, *case.out, first + case.k + more)
        fixed = (words(rng, case.batch, *case.image, case.n), case.n, case.stride, case.padding, pad_value, first)
        into = np.zeros((case.k, *case.kernel, case.n), dtype=np.float64)
        (values,) = specified("conv2d_grad_weight", (g, *fixed, False, into))
        shape = (case.k, *case.kernel, words_for(case.n))
        mask = words(rng, case.k, *case.kernel, case.n)
        arguments = (g, *fixed, bounds(values, dtype), mask, filled(shape, WORD))
        assert tails_are_zero(check_exactly(kernel, variant, arguments), case.n)
