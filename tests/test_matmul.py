"""Products of packed matrices against NumPy's `@` on the unpacked values."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from cases import INT32_LIMITS, PRODUCTS, THREADS, packed, signs, tails_are_zero

import bitlearn as bl
from bitlearn.bits import WORD, words_for

A, B = np.zeros((2, 2), dtype=np.uint64), np.zeros((3, 2), dtype=np.uint64)

FUNCTIONS = [bl.xnor_matmul, bl.hamming, lambda a, b, n, **more: bl.xnor_matmul_sign(a, b, n, 0, **more)]


def frozen(array):
    array.flags.writeable = False
    return array


def operands(rng, m, k, n):
    a, b = signs(rng, m, n), signs(rng, k, n)
    return packed(a), packed(b), a.astype(np.int64) @ b.astype(np.int64).T


@pytest.mark.usefixtures("variant")
def test_products(rng):
    for m, k, n in PRODUCTS:
        a, b, dots = operands(rng, m, k, n)
        for dtype in (np.int16, np.int32, np.float32):
            np.testing.assert_array_equal(bl.xnor_matmul(a, b, n, dtype=dtype), dots.astype(dtype), strict=True)
            counts = ((n - dots) // 2).astype(dtype)
            for right in (b, bl.pack_weights(b, n)):
                np.testing.assert_array_equal(bl.hamming(a, right, n, dtype=dtype), counts, strict=True)
        np.testing.assert_array_equal(bl.hamming(a, b, n), counts.astype(np.int32), strict=True)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_signs_at_and_around_each_dot(offset, rng):
    for m, k, n in PRODUCTS:
        a, b, dots = operands(rng, m, k, n)
        for threshold in dots[:2]:
            got = bl.xnor_matmul_sign(a, b, n, threshold + offset)
            flags = dots >= threshold + offset
            np.testing.assert_array_equal(got, packed(np.where(flags, 1, -1)), strict=True)
            assert tails_are_zero(got, k)


@pytest.mark.usefixtures("variant")
def test_signs_with_scalars_and_limits(rng):
    a, b, dots = operands(rng, 5, 67, 130)
    for threshold in (0, 7, -130, 130, 131, *INT32_LIMITS, np.int8(3), np.uint64(4), [0] * 67):
        flags = dots >= np.asarray(threshold).astype(np.int64)
        np.testing.assert_array_equal(bl.xnor_matmul_sign(a, b, 130, threshold), packed(np.where(flags, 1, -1)))


@pytest.mark.usefixtures("variant")
def test_leading_axes_layouts_and_prepared_weights(rng):
    a, b = signs(rng, 2, 3, 4, 130), signs(rng, 5, 130)
    dots = (a.astype(np.int64) @ b.astype(np.int64).T).astype(np.int32)
    words, weights = packed(a), packed(b)
    prepared = bl.pack_weights(weights, 130)
    assert (prepared.n, prepared.shape) == (130, weights.shape)
    assert prepared.nbytes >= weights.nbytes
    for right in (weights, prepared, np.asfortranarray(weights)):
        np.testing.assert_array_equal(bl.xnor_matmul(words, right, 130), dots, strict=True)
        np.testing.assert_array_equal(bl.hamming(words[0, 0], right, 130), (130 - dots[0, 0]) // 2)
        got = bl.xnor_matmul_sign(words, right, 130, 3)
        np.testing.assert_array_equal(got, packed(np.where(dots >= 3, 1, -1)), strict=True)
    np.testing.assert_array_equal(bl.xnor_matmul(words[::-1, 1:, ::2], weights[::-1], 130), dots[::-1, 1:, ::2, ::-1])
    for empty in (words[:0], words[:, :, :0]):
        assert bl.xnor_matmul(empty, weights, 130).shape == (*empty.shape[:-1], 5)


def test_prepared_weights_are_their_own(rng):
    a, b, dots = operands(rng, 3, 5, 70)
    prepared = bl.pack_weights(b, 70)
    b[...] = 0
    np.testing.assert_array_equal(bl.xnor_matmul(a, prepared, 70), dots)


@pytest.mark.usefixtures("variant")
def test_threads_do_not_show(rng):
    a, b, dots = operands(rng, 17, 67, 130)
    for threads in THREADS:
        np.testing.assert_array_equal(bl.xnor_matmul(a, b, 130, threads=threads), dots)
        np.testing.assert_array_equal(bl.hamming(a, b, 130, threads=threads), (130 - dots) // 2)
        got = bl.xnor_matmul_sign(a, b, 130, 1, threads=threads)
        np.testing.assert_array_equal(got, packed(np.where(dots >= 1, 1, -1)))
        np.testing.assert_array_equal(bl.xnor_matmul(a[:1], b, 130, threads=threads), dots[:1])


@pytest.mark.usefixtures("variant")
def test_out_is_written_and_returned(rng):
    a, b, dots = operands(rng, 5, 7, 70)
    out = np.full((5, 7), 99, dtype=np.int16)
    assert bl.xnor_matmul(a, b, 70, dtype=np.int16, out=out) is out
    np.testing.assert_array_equal(out, dots)
    out = np.full((5, 7), 99, dtype=np.int32)
    assert bl.hamming(a, b, 70, out=out) is out
    np.testing.assert_array_equal(out, (70 - dots) // 2)
    out = np.full((5, 1), 99, dtype=WORD)
    assert bl.xnor_matmul_sign(a, b, 70, 0, out=out) is out
    np.testing.assert_array_equal(out, packed(np.where(dots >= 0, 1, -1)))


@pytest.mark.usefixtures("variant")
def test_prepared_weights_in_a_loop_over_one_result(rng):
    """The way that skips the careful checks where nothing is to be said."""
    for k, n in ((7, 70), (33, 130), (64, 64), (0, 3), (5, 0)):
        prepared = bl.pack_weights(packed(signs(rng, k, n)), n)
        weights = bl.unpack(prepared.words(), n).astype(np.int64)
        for dtype in (np.int16, np.int32, np.float32):
            for threads in THREADS:
                out = np.full((9, k), 99, dtype=dtype)
                for _ in range(2):
                    a = signs(rng, 9, n)
                    assert bl.xnor_matmul(packed(a), prepared, n, dtype=dtype, out=out, threads=threads) is out
                    np.testing.assert_array_equal(out, a.astype(np.int64) @ weights.T)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n": 70.0}, TypeError, "n must be an integer, got 70.0"),
        ({"n": 71}, ValueError, "b must pack n=71 values, got n=70"),
        ({"a": np.zeros((2, 2), np.int64)}, TypeError, "a must be packed words of dtype uint64, got dtype int64"),
        ({"a": np.zeros((2, 3), WORD)}, ValueError, "a must have 2 words in its last axis"),
        ({"a": np.zeros(2, WORD)}, ValueError, "a must have at least 2 dimensions"),
        ({"dtype": np.int16}, TypeError, "out must have dtype int16, got int32"),
        ({"dtype": np.int64}, TypeError, "dtype must be one of int16, int32, float32, got"),
        ({"dtype": ["int32"]}, TypeError, "dtype must be one of int16, int32, float32, got"),
        ({"out": np.full((3, 3), 7, np.int32)}, ValueError, r"out must have shape \(2, 3\), got \(3, 3\)"),
        ({"out": frozen(np.full((2, 3), 7, np.int32))}, ValueError, "out must be writeable"),
        ({"out": np.full((3, 2), 7, np.int32).T}, ValueError, "out must be C-contiguous"),
        ({"threads": 0}, ValueError, "threads must be an integer from 1 to 256, got 0"),
    ],
)
def test_prepared_weights_with_one_argument_wrong(change, error, message):
    right = {"a": A, "b": bl.pack_weights(B, 70), "n": 70, "dtype": np.int32, "out": np.full((2, 3), 7, np.int32)}
    arguments = right | change
    with pytest.raises(error, match=message):
        bl.xnor_matmul(**arguments)
    assert (arguments["out"] == 7).all()
    beyond = 2**15
    prepared = bl.pack_weights(np.zeros((1, words_for(beyond)), WORD), beyond)
    with pytest.raises(ValueError, match="n must be at most 32767 for dtype int16, got 32768"):
        bl.xnor_matmul(prepared.words(), prepared, beyond, dtype=np.int16, out=np.zeros((1, 1), np.int16))


def test_prepared_weights_with_a_result_over_the_input():
    both = np.zeros((1, 2), WORD)
    prepared = bl.pack_weights(np.zeros((4, 2), WORD), 70)
    with pytest.raises(ValueError, match="out must not overlap an input"):
        bl.xnor_matmul(both, prepared, 70, out=both.view(np.int32))


def test_prepared_weights_are_copied_and_pickled(rng):
    a, b, dots = operands(rng, 3, 5, 70)
    prepared = bl.pack_weights(b, 70)
    bl.xnor_matmul(a, prepared, 70, out=np.empty((3, 5), np.int32))  # it holds addresses by now
    for copied in (copy.deepcopy(prepared), pickle.loads(pickle.dumps(prepared))):
        assert not np.shares_memory(copied.panels, prepared.panels)
        np.testing.assert_array_equal(bl.xnor_matmul(a, copied, 70, out=np.empty((3, 5), np.int32)), dots)


def test_results_larger_than_memory_raise_before_any_work():
    """Rows of no values: the operands take no memory, the result would take 4 PiB."""
    rows = np.zeros((2**25, 0), WORD)
    for function in FUNCTIONS[:2]:
        with pytest.raises(MemoryError):
            function(rows, rows, 0)


@pytest.mark.usefixtures("variant")
def test_limits_of_int16_and_float32():
    for dtype, limit in ((np.int16, 2**15 - 1), (np.float32, 2**24)):
        a = np.full((1, words_for(limit)), 2**64 - 1, dtype=WORD)
        if limit % 64:
            a[0, -1] = 2 ** (limit % 64) - 1
        b = np.concatenate([a, np.zeros_like(a)])
        assert bl.xnor_matmul(a, b, limit, dtype=dtype).tolist() == [[limit, -limit]]
        beyond = np.zeros((1, words_for(limit + 1)), dtype=WORD)
        with pytest.raises(ValueError, match=f"n must be at most {limit} for dtype {np.dtype(dtype)}, got {limit + 1}"):
            bl.xnor_matmul(beyond, beyond, limit + 1, dtype=dtype)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("a", "b", "n", "error", "message"),
    [
        (A.astype(float), B, 70, TypeError, "a must be packed words of dtype uint64, got dtype float64"),
        (A, B.astype(np.int64), 70, TypeError, "b must be packed words of dtype uint64, got dtype int64"),
        (A[0], B, 70, ValueError, r"a must have (at least )?2 dimensions, got shape \(2,\)"),
        (A, B[None], 70, ValueError, r"b must have 2 dimensions, got shape \(1, 3, 2\)"),
        (A, B, 64, ValueError, r"a must have 1 words in its last axis to hold n=64 values, got shape \(2, 2\)"),
        (A, B, 129, ValueError, r"a must have 3 words in its last axis to hold n=129 values"),
        (A, B[:, :1], 70, ValueError, r"b must have 2 words in its last axis to hold n=70 values, got shape \(3, 1\)"),
        (A, B, -1, ValueError, "n must be at least 0, got -1"),
        (A, B, 70.0, TypeError, "n must be an integer, got 70.0"),
        (A, bl.pack_weights(B, 71), 70, ValueError, "b must pack n=70 values, got n=71"),
    ],
)
def test_wrong_operands(function, a, b, n, error, message):
    with pytest.raises(error, match=message):
        function(a, b, n)


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        (np.int8, "dtype must be one of int16, int32, float32, got .*int8"),
        ("bogus", "dtype must be one of .*, got 'bogus'"),
        (np.float64, "dtype must be one of .*, got .*float64"),
    ],
)
def test_wrong_dtype(dtype, message):
    with pytest.raises(TypeError, match=message):
        bl.xnor_matmul(A, B, 70, dtype=dtype)
    with pytest.raises(TypeError, match=message):
        bl.hamming(A, B, 70, dtype=dtype)


@pytest.mark.parametrize(
    ("threshold", "error", "message"),
    [
        (0.5, TypeError, "threshold must be integers, got dtype float64"),
        (True, TypeError, "threshold must be integers, got dtype bool"),
        ([0, 0], ValueError, r"threshold must be a scalar or of shape \(3,\), got shape \(2,\)"),
        (2**31, ValueError, "threshold must fit int32, got 2147483648 to 2147483648"),
        (-(2**31) - 1, ValueError, "threshold must fit int32"),
    ],
)
def test_wrong_threshold(threshold, error, message):
    out = np.full((2, 1), 7, dtype=np.uint64)
    with pytest.raises(error, match=message):
        bl.xnor_matmul_sign(A, B, 70, threshold, out=out)
    assert (out == 7).all()


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        ([[0] * 3] * 2, TypeError, "out must be a NumPy array, got list"),
        (np.full((2, 3), 7, np.int64), TypeError, "out must have dtype int32, got int64"),
        (np.full((3, 2), 7, np.int32), ValueError, r"out must have shape \(2, 3\), got \(3, 2\)"),
        (np.full((3, 2), 7, np.int32).T, ValueError, "out must be C-contiguous, got a strided array"),
        (frozen(np.full((2, 3), 7, np.int32)), ValueError, "out must be writeable, got a read-only array"),
    ],
)
def test_wrong_out(out, error, message):
    for function in (bl.xnor_matmul, bl.hamming):
        with pytest.raises(error, match=message):
            function(A, B, 70, out=out)
        assert isinstance(out, list) or (out == 7).all()


def test_out_that_overlaps_an_input():
    buffer = np.arange(24, dtype=np.uint64)
    before = buffer.copy()
    a, b = buffer[:4].reshape(2, 2), buffer[4:10].reshape(3, 2)
    strided = buffer[:16].reshape(2, 8)[:, ::4]  # copied on the way, and still the caller's
    for left, right, out in (
        (a, b, buffer[2:4].reshape(2, 1)),
        (a, b, buffer[9:11].reshape(2, 1)),
        (strided, b.copy(), buffer[8:10].reshape(2, 1)),
    ):
        with pytest.raises(ValueError, match="out must not overlap an input, got one that does"):
            bl.xnor_matmul_sign(left, right, 70, 0, out=out)
        np.testing.assert_array_equal(buffer, before)
    with pytest.raises(ValueError, match="out must not overlap an input"):
        bl.xnor_matmul(a, b, 70, out=buffer[:3].view(np.int32).reshape(2, 3))
    np.testing.assert_array_equal(buffer, before)
