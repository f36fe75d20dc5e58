"""Every kernel and variant against the executable specification, bit for bit; and more of packing and products."""

from __future__ import annotations

import numpy as np
import pytest
from cases import EDGES, LARGE, PRODUCTS, integers, packed, signs, star, tails_are_zero, words
from guards import around, check_exactly, filled, rivals
from operands import OPERANDS
from operands_packing import LAYOUTS, PACKED_TYPES, laid_out, limits, numbers
from operands_quantize import SCALED

from bitlearn.backends import lookup, use_backend
from bitlearn.bits import WORD, words_for
from bitlearn.rng import Key


@pytest.mark.parametrize(("kernel", "variant"), rivals(*OPERANDS))
def test_every_size_and_type(kernel, variant, rng):
    operands = OPERANDS[kernel]
    for size in operands.sizes:
        for dtype in operands.dtypes:
            check_exactly(kernel, variant, operands.make(rng, size, dtype))


@pytest.mark.parametrize(("kernel", "variant"), rivals("pack"))
@pytest.mark.parametrize("dtype", PACKED_TYPES)
def test_pack(kernel, variant, dtype, rng):
    for layout in LAYOUTS:
        for each in (False, True):
            for rows, n in [*star(3, 70), (70, 700), (600, 70)]:
                x = numbers(rng, dtype, 2, rows, n)
                threshold = limits(rng, x, each)
                out = filled((2, rows, words_for(n)), WORD)
                assert tails_are_zero(check_exactly(kernel, variant, (laid_out(x, layout), threshold, out)), n)


@pytest.mark.parametrize(("kernel", "variant"), rivals("pack"))
@pytest.mark.parametrize("dtype", [np.float32, np.int8])
def test_pack_takes_any_axes_that_are_contiguous(kernel, variant, dtype, rng):
    for shape in ((70,), (3, 70), (2, 0, 70), (2, 3, 2, 65)):
        x = numbers(rng, dtype, *shape)
        check_exactly(kernel, variant, (x, limits(rng, x, False), filled((*shape[:-1], words_for(shape[-1])), WORD)))


@pytest.mark.parametrize(("kernel", "variant"), rivals("pack"))
def test_pack_every_float16(kernel, variant):
    x = np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(1, 1, 2**16)
    for threshold in (0.0, -0.0, 1.0, -1.5, 6e-8, -6e-8, 65504.0, np.inf, -np.inf, np.nan):
        check_exactly(kernel, variant, (x, np.array([threshold], np.float16), filled((1, 1, 2**10), WORD)))


@pytest.mark.parametrize(("kernel", "variant"), rivals("unpack"))
@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.float16, np.float32, np.float64])
def test_unpack(kernel, variant, dtype, rng):
    for rows, n in star(3, 70):
        values = signs(rng, rows, n)
        out = check_exactly(kernel, variant, (packed(values), n, filled((rows, n), dtype)))
        np.testing.assert_array_equal(out, values.astype(dtype), strict=True)


@pytest.mark.parametrize(("kernel", "variant"), rivals("popcount"))
@pytest.mark.parametrize("layout", LAYOUTS)
def test_popcount(kernel, variant, layout, rng):
    for rows, n_words in [*star(3, 2, sizes=(0, 1, 2, 7, 8, 9, 33)), (600, 5), (2, 2000)]:
        x = rng.integers(0, 2**64, size=(2, rows, n_words), dtype=np.uint64)
        x[:, ::2] |= np.uint64(0xFFFF_0000_FFFF_FFFF)
        x[:, 1::3] = 2**64 - 1
        check_exactly(kernel, variant, (laid_out(x, layout), filled((2, rows), np.int64)))


@pytest.mark.parametrize(("kernel", "variant"), rivals("transpose_bits"))
def test_transpose_bits(kernel, variant, rng):
    for m, n in [*star(5, 70), (200, 259), (513, 577), (1030, 70), *((m, n) for m in EDGES for n in EDGES)]:
        out = check_exactly(kernel, variant, (words(rng, m, n), n, filled((n, words_for(m)), WORD)))
        assert tails_are_zero(out, m)


@pytest.mark.parametrize(("kernel", "variant"), rivals("xnor_matmul_sign"))
def test_xnor_matmul_sign(kernel, variant, rng):
    for m, k, n in PRODUCTS:
        a, b = signs(rng, m, n), signs(rng, k, n)
        threshold = around(a.astype(np.int64) @ b.T.astype(np.int64))
        arguments = (packed(a), packed(b), n, threshold, filled((m, words_for(k)), WORD))
        assert tails_are_zero(check_exactly(kernel, variant, arguments), k)


@pytest.mark.parametrize(("kernel", "variant"), rivals("xnor_matmul"))
@pytest.mark.parametrize(("dtype", "n"), [(np.int16, 2**15 - 1), (np.int32, 2**18 + 1), (np.float32, 2**18 + 1)])
def test_longest_rows(kernel, variant, dtype, n, rng):
    # All equal and all different give the largest magnitudes that a result and its partial sums can have.
    a = signs(rng, 3, n)
    a[0] = 1
    b = np.stack([a[0], -a[0], a[1], -a[1]])
    out = check_exactly(kernel, variant, (packed(a), packed(b), n, filled((3, 4), dtype)))
    assert (out[0, :2].tolist(), out[1, 2:].tolist()) == ([n, -n], [n, -n])


@pytest.mark.parametrize(("kernel", "variant"), rivals("quantize_linear"))
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.int16, np.int32, np.int64])
@pytest.mark.parametrize("stochastic", [False, True])
def test_quantize_linear(kernel, variant, dtype, stochastic, rng):
    for out_type, limit in ((np.int8, 127), (np.int16, 32767)):
        for size in SCALED:
            x = rng.normal(size=size) * 3 * limit
            x[..., ::4] = np.rint(x[..., ::4]) + 0.5  # ties, where the scale is 1
            whole = np.issubdtype(dtype, np.integer)
            if whole:
                x = (x * 100).clip(max(np.iinfo(dtype).min, -(2**40)), min(np.iinfo(dtype).max, 2**40))
            x = x.astype(dtype)
            channels = size[1]
            scale = np.exp(rng.normal(size=channels)).astype(np.float32 if dtype == np.float32 else np.float64)
            scale[::2] = 8 if whole else 1
            zero_point = integers(rng, np.int8, channels).astype(np.int64)
            shape = (channels, size[0], size[2]) if stochastic else (0, 0, 0)
            noise = rng.integers(0, 2**32, size=shape, dtype=np.uint32)
            noise.reshape(-1)[::5] = 2**31  # half: exactly the fraction of a tie
            arguments = (x, scale, zero_point, -limit, limit, noise, filled(size, out_type))
            check_exactly(kernel, variant, arguments)


@pytest.mark.parametrize(("kernel", "variant"), rivals("quantize_linear"))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_noise_beside_the_fraction(kernel, variant, dtype, rng):
    """The largest noise below a fraction rounds up, the fraction itself does not; -0.0 stays 0 whatever the noise."""
    x = np.array([0.25, -0.25, 2.75, -0.0, 0.0, -3.0, -1e-30, 1e-30], dtype=dtype)
    fraction = ((x - np.floor(x)).astype(np.float64) * 2.0**32).clip(0, 2**32 - 1).astype(np.uint32)
    noise = np.concatenate([fraction, np.maximum(fraction, 1) - np.uint32(1), np.full(8, 2**32 - 1, np.uint32)])
    arguments = (np.tile(x, 3)[None, None], np.ones(1, dtype), np.zeros(1, np.int64), -127, 127, noise[None, None])
    out = check_exactly(kernel, variant, (*arguments, filled((1, 1, 24), np.int8)))
    assert out[0, 0].tolist() == [0, -1, 2, 0, 0, -3, 0, 1] + [1, 0, 3, 0, 0, -3, 0, 1] + [0, -1, 2, 0, 0, -3, 0, 0]


@pytest.mark.parametrize(("kernel", "variant"), rivals("largest_magnitude"))
@pytest.mark.parametrize("dtype", OPERANDS["largest_magnitude"].dtypes)
def test_largest_magnitude(kernel, variant, dtype, rng):
    operands = OPERANDS[kernel]
    for size in operands.sizes:
        x, out = operands.make(rng, size, dtype)
        found = check_exactly(kernel, variant, (x, out))
        real, result = (each.view(np.float16) if dtype == np.uint16 else each for each in (x, found))
        expected = (
            [
                max((abs(value) for value in channel), default=0)
                for channel in real.swapaxes(0, 1).reshape(size[1], -1).tolist()
            ]
            if x.size
            else [0] * size[1]
        )
        for got, wanted, channel in zip(result.tolist(), expected, real.swapaxes(0, 1), strict=True):
            assert np.isnan(got) if np.isnan(channel).any() else got == wanted


@pytest.mark.parametrize(("kernel", "variant"), rivals("random_words"))
def test_random_words(kernel, variant, rng):
    key = Key(2**40 + 5, step=3, stream=2**31)
    for rows, n in [*star(3, 70), (4, LARGE)]:
        for start, stride in ((0, n), (3, 0), (1, 4 * n + 1), (2**34 - 2, 1)):
            out = check_exactly(kernel, variant, (key.as_words(), start, stride, filled((rows, n), np.uint32)))
            if start < 2**20 and rows and n:
                words = key.words(start + stride * (rows - 1) + n)
                np.testing.assert_array_equal(out[-1], words[start + stride * (rows - 1) :])


@pytest.mark.parametrize(("kernel", "variant"), rivals("xnor_matmul"))
def test_prepared_words_are_read_only(kernel, variant, rng):
    a, b = words(rng, 3, LARGE), words(rng, 4, LARGE)
    expected, out = np.empty((3, 4), np.int32), np.empty((3, 4), np.int32)
    with use_backend(variant):
        lookup(kernel)(a, b, LARGE, expected)
        b.flags.writeable = False
        lookup(kernel)(a, b, LARGE, out)
    np.testing.assert_array_equal(out, expected)
