"""What is checked when it is made and trusted by the kernels ever after: quantized gradients, packed weights, bits."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from cases import packed, signs

import bitlearn as bl
from bitlearn.bits import WORD

WEIGHTS = bl.pack_weights(packed(np.ones((33, 70))), 70)


def codes(value, dtype=np.int8, size=4):
    return np.full((size, size), value, dtype)


@pytest.mark.parametrize("size", [64, 1024])
def test_a_value_of_more_bits_is_refused_whatever_the_size(size):
    for value in (8, 100, -9, -100):
        with pytest.raises(ValueError, match=f"values must be from -8 to 7 with 4 bits, got {value} to {value}"):
            bl.Quantized(codes(value, size=size), 1.0, 0, 4)
        with pytest.raises(ValueError, match="g must hold values of 4 bits, -8 to 7, got others"):
            bl.grad_input(codes(value, size=size), packed(np.ones((size, 70))), 70, bits=4)


@pytest.mark.parametrize("size", [64, 1024])
def test_and_so_is_one_that_was_written_later(size):
    for zero_point in (0, 3):
        q = bl.Quantized(codes(7, size=size), 1.0, zero_point, 4)
        q.values[-1, -1] = 8
        with pytest.raises(ValueError, match="g must hold values of 4 bits, -8 to 7, got others"):
            bl.grad_input(q, packed(np.ones((size, 70))), 70)


@pytest.mark.parametrize(
    ("values", "scale", "zero_point", "bits", "error", "message"),
    [
        (codes(1, np.int32) * 100001, 1.0, 0, 5, ValueError, "values must be from -32768 to 32768 with 5 bits"),
        (codes(-257, np.int16), 1.0, 0, 9, ValueError, "values must be from -256 to 255 with 9 bits, got -257 to -257"),
        (codes(1), 1.0, 0, 9, ValueError, "bits must be from 2 to 8 for values of int8, got 9"),
        (codes(1, np.int16), 1.0, 0, 8, ValueError, "bits must be from 9 to 16 for values of int16, got 8"),
        (codes(1, np.int64), 1.0, 0, 8, TypeError, "values must be int8, int16 or int32, got dtype int64"),
        (codes(1), -1.0, 0, 8, ValueError, "scale must be finite and positive, got -1.0"),
        (codes(1), 0, 0, 8, ValueError, "scale must be finite and positive, got 0"),
        (codes(1), np.float32(np.nan), 0, 8, ValueError, "scale must be finite and positive"),
        (codes(1), np.ones((4, 1, 1)), 0, 8, ValueError, "scale must broadcast to the shape of values"),
        (codes(1), np.ones(3), 0, 8, ValueError, "scale must broadcast to the shape of values"),
        (codes(1), 1.0, np.zeros((4, 1), int), 8, ValueError, "zero_point be a scalar or as scale"),
        (codes(1), 1.0, 128, 8, ValueError, "zero_point must be a code of 8 bits, and 0 for int32, got 128"),
        (codes(1, np.int32), 1.0, 1, 5, ValueError, "zero_point must be a code of 5 bits, and 0 for int32, got 1"),
        (codes(1), 1.0, 0.0, 8, TypeError, "zero_point must be whole numbers, got dtype float64"),
        (codes(1), "1", 0, 8, TypeError, "scale must be real numbers, got dtype <U1"),
    ],
)
def test_what_is_no_quantized_gradient(values, scale, zero_point, bits, error, message):
    with pytest.raises(error, match=message):
        bl.Quantized(values, scale, zero_point, bits)


@pytest.mark.usefixtures("variant")
def test_the_largest_codes_of_every_width(rng):
    w = signs(rng, 3, 5)
    for dtype, widths in ((np.int8, (2, 5, 8)), (np.int16, (9, 16)), (np.int32, (2, 5))):
        for bits in widths:
            high = 2 ** (bits - 1) - 1 if dtype != np.int32 else 2 ** (2 ** (bits - 1) - 1)
            low = -high - (dtype != np.int32)
            q = bl.Quantized(np.array([[low, high, low], [high, high, 1]], dtype), 0.5, 0, bits)
            np.testing.assert_array_equal(bl.grad_input(q, packed(w), 5), q.values.astype(float) @ w / 2)


def test_scales_are_copied_and_cannot_be_written():
    scale, zero_point = np.ones((4, 1)), np.ones((4, 1), np.int64)
    q = bl.Quantized(codes(1), scale, zero_point, 8)
    scale[...], zero_point[...] = -1, 1000
    assert (q.dequantize() == 0).all()
    for held in (q.scale, q.zero_point):
        with pytest.raises(ValueError, match="read-only"):
            held[0] = 5
    with pytest.raises(AttributeError):
        q.bits = 9
    for again in (pickle.loads(pickle.dumps(q)), copy.deepcopy(q)):
        np.testing.assert_array_equal(again.dequantize(), q.dequantize())


@pytest.mark.parametrize(
    ("panels", "shape", "n", "error", "message"),
    [
        (np.zeros(8, WORD), (100000, 10), 640, ValueError, r"panels must be 1000000 words for weights of shape"),
        (np.zeros(16, WORD), (8, 2), 64, ValueError, r"shape must end in 1 words to hold n=64 values, got \(8, 2\)"),
        (np.zeros(16, np.int64), (8, 2), 70, TypeError, "panels must be packed words of dtype uint64, got dtype int64"),
        (np.zeros((8, 2), WORD), (8, 2), 70, ValueError, r"panels must have 1 dimensions, got shape \(8, 2\)"),
        (np.zeros(16, WORD), [8, 2], 70, TypeError, r"shape must be a tuple of at least two sizes, got \[8, 2\]"),
        (np.zeros(16, WORD), (8, -2), 70, ValueError, "shape must be at least 0, got -2"),
        (np.zeros(16, WORD), (2**62, 2**62, 2), 70, ValueError, r"panels must be \d+ words for weights of shape"),
    ],
)
def test_what_are_no_packed_weights(panels, shape, n, error, message):
    with pytest.raises(error, match=message):
        bl.PackedWeights(panels, shape, n)


def test_packed_weights_stay_as_they_are():
    for name, value in (("shape", (10**6, 2)), ("n", 128), ("panels", np.zeros(1, WORD))):
        with pytest.raises(AttributeError, match=f"{name} of packed weights must stay as it is"):
            setattr(WEIGHTS, name, value)
    room = np.zeros(64, WORD)
    weights = bl.PackedWeights(room[:16], (8, 2), 70)
    room[...] = 1
    assert not weights.words().any()
    for again in (pickle.loads(pickle.dumps(WEIGHTS)), copy.deepcopy(WEIGHTS)):
        np.testing.assert_array_equal(again.words(), WEIGHTS.words())


def test_a_result_in_the_memory_of_packed_weights(rng):
    weights, a = bl.pack_weights(packed(signs(rng, 64, 64)), 64), packed(signs(rng, 64, 64))
    with pytest.raises(ValueError, match="out must not overlap an input"):
        bl.xnor_matmul_sign(a, weights, 64, 0, out=weights.panels.reshape(64, 1))


@pytest.mark.parametrize(
    ("words", "n", "error", "message"),
    [
        (np.zeros((2, 1), np.int64), 3, TypeError, "words must be an array of dtype uint64, got an array of shape"),
        (
            np.ma.MaskedArray(np.zeros((2, 1), WORD)),
            3,
            TypeError,
            "words must be an array .*, got a MaskedArray of shape",
        ),
        ([[1]], 3, TypeError, r"words must be an array of dtype uint64, got \[\[1\]\]"),
        (np.zeros((2, 1), WORD), 65, ValueError, r"words must have ceil\(n / 64\) words in their last axis"),
        (np.zeros((), WORD), 3, ValueError, r"words must have ceil\(n / 64\) words in their last axis"),
        (np.zeros((2, 0), WORD), -3, ValueError, r"words must have ceil\(n / 64\) words in their last axis"),
        (np.full((2, 1), 8, WORD), 3, ValueError, "words must have no bit past n=3 values set, got some"),
        (np.zeros((2, 1), WORD), True, TypeError, "n must be an integer, got True"),
    ],
)
def test_what_are_no_bits(words, n, error, message):
    with pytest.raises(error, match=message):
        bl.Bits(words, n)


def test_an_array_of_bits_that_got_another_shape():
    model = bl.nn.Model([bl.nn.BinaryLinear(4)], bl.nn.Spec.bits((70,)))
    bits = bl.Bits(packed(np.ones((6, 70))), 70)
    assert model.apply(bits).shape == (6, 4)
    object.__setattr__(bits, "words", bits.words.reshape(12, 1))
    with pytest.raises(ValueError, match="examples must have 2 words in their last axis, got 1"):
        model.apply(bits)


def test_codes_under_a_mask():
    model = bl.nn.Model([bl.nn.BinaryLinear(4)], bl.nn.Spec.codes((7,)))
    with pytest.raises(TypeError, match="examples must be an array without a mask, got a masked array"):
        model.apply(np.ma.MaskedArray(np.ones((3, 7), np.int8), mask=True))
