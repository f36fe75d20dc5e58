"""What holds for every array, found out with random ones."""

from __future__ import annotations

import numpy as np
from cases import packed, tails_are_zero
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import bitlearn as bl
from bitlearn.backends import variants

LENGTHS = st.integers(0, 200)
BACKENDS = st.sampled_from(variants())
DTYPES = st.one_of(
    hnp.floating_dtypes(sizes=(16, 32, 64)), hnp.integer_dtypes(endianness="="), hnp.unsigned_integer_dtypes()
)


@st.composite
def values(draw):
    shape = draw(st.integers(0, 4)), draw(LENGTHS)
    return draw(hnp.arrays(draw(DTYPES), shape))


@st.composite
def sign_pairs(draw):
    """Two ±1 matrices with rows of the same length."""
    n = draw(LENGTHS)
    flags = [draw(hnp.arrays(bool, (draw(st.integers(1, 5)), n))) for _ in range(2)]
    return [np.where(each, 1, -1).astype(np.int64) for each in flags]


@given(BACKENDS, values())
def test_unpack_of_pack_is_the_sign(backend, x):
    with bl.use_backend(backend):
        words = bl.pack(x)
        np.testing.assert_array_equal(bl.unpack(words, x.shape[1]), np.where(x >= 0, 1, -1))
    assert tails_are_zero(words, x.shape[1])


@given(BACKENDS, values(), st.integers(-3, 3) | st.floats(-3, 3, width=16))
def test_pack_is_packbits(backend, x, threshold):
    with bl.use_backend(backend):
        words = bl.pack(x, threshold=threshold)
    np.testing.assert_array_equal(words, packed(np.where(x >= threshold, 1, -1)))


@given(BACKENDS, sign_pairs())
def test_dots(backend, pair):
    a, b = pair
    n = a.shape[1]
    with bl.use_backend(backend):
        words = bl.pack(a)
        assert (np.diag(bl.xnor_matmul(words, words, n)) == n).all()
        assert (np.diag(bl.xnor_matmul(words, bl.pack(-a), n)) == -n).all()
        dots = bl.xnor_matmul(words, bl.pack(b), n)
        np.testing.assert_array_equal(dots, a @ b.T)
        assert ((dots - n) % 2 == 0).all()
        np.testing.assert_array_equal(bl.xnor_matmul(bl.pack(b), words, n), dots.T)
        np.testing.assert_array_equal(bl.hamming(words, bl.pack(b), n), bl.popcount(words[:, None] ^ bl.pack(b)))


@given(BACKENDS, sign_pairs(), st.data())
def test_splitting_n_adds(backend, pair, data):
    a, b = pair
    n = a.shape[1]
    cut = data.draw(st.integers(0, n))
    with bl.use_backend(backend):
        parts = [
            bl.xnor_matmul(bl.pack(a[:, part]), bl.pack(b[:, part]), len(range(n)[part]))
            for part in (slice(None), slice(cut), slice(cut, None))
        ]
    np.testing.assert_array_equal(parts[0], parts[1] + parts[2])


@given(BACKENDS, sign_pairs(), st.integers(-205, 205))
def test_sign_is_the_comparison(backend, pair, threshold):
    a, b = pair
    with bl.use_backend(backend):
        words = bl.xnor_matmul_sign(bl.pack(a), bl.pack(b), a.shape[1], threshold)
    np.testing.assert_array_equal(words, packed(np.where(a @ b.T >= threshold, 1, -1)))


@given(BACKENDS, hnp.arrays(bool, st.tuples(LENGTHS, LENGTHS)))
def test_transpose_twice_is_identity(backend, x):
    m, n = x.shape
    with bl.use_backend(backend):
        words = bl.pack(x)
        once = bl.transpose_bits(words, n)
        np.testing.assert_array_equal(once, bl.pack(x.T))
        np.testing.assert_array_equal(bl.transpose_bits(once, m), words)
    assert tails_are_zero(once, m)


@given(BACKENDS, hnp.arrays(np.int8, st.tuples(st.integers(0, 5), st.integers(0, 70))), LENGTHS, st.integers(0, 2**32))
def test_gradients_are_the_products(backend, g, n, seed):
    signs = np.where(np.random.default_rng(seed).random((sum(g.shape), n)) < 0.4, 1, -1)
    w, x, wide = signs[: g.shape[1]], signs[g.shape[1] :], g.astype(np.int64)
    with bl.use_backend(backend):
        np.testing.assert_array_equal(bl.grad_input(g, bl.pack(w), n), wide @ w)
        values = bl.grad_weight(g, bl.pack(x), n)
        bits = bl.grad_weight(g, bl.pack(x), n, output="sign")
    np.testing.assert_array_equal(values, wide.T @ x)
    np.testing.assert_array_equal(bits, packed(np.where(values >= 0, 1, -1)))


@given(
    hnp.arrays(np.float32, st.integers(0, 50), elements=st.floats(-(2.0**100), 2.0**100, width=32)),
    st.integers(2, 16),
    st.sampled_from(["symmetric", "affine"]),
)
def test_quantized_values_are_within_a_step(g, bits, scheme):
    q = bl.quantize(g, bits, scheme=scheme)
    real = (q.values.astype(np.float64) - q.zero_point) * float(q.scale)
    step = float(q.scale) * (0.5 if scheme == "symmetric" else 1)
    assert (np.abs(real - g) <= step + 2.0**-22 * np.abs(g).max(initial=0)).all()
    assert (real[g == 0] == 0).all()
