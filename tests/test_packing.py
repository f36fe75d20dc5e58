"""pack, unpack and their relatives against NumPy's own packing."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from cases import EDGES, SIZES, packed, signs, star, tails_are_zero, words

import bitlearn as bl
from bitlearn.bits import WORD, words_for

FLOATS = [np.float16, np.float32, np.float64, np.longdouble]
INTEGERS = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]


def by_numpy(flags: np.ndarray) -> np.ndarray:
    """Pack booleans as the contract states it, with `numpy.packbits`."""
    return packed(np.where(flags, 1, -1))


def reaches(x: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Compare as real numbers, which Python's own integers and floats do exactly, and pack."""
    limits = threshold.tolist()
    return by_numpy(np.array([[a >= b for a, b in zip(row, limits, strict=True)] for row in x.tolist()]))


def values(rng, dtype, *shape):
    if np.dtype(dtype).kind == "f":
        x = rng.normal(size=shape).astype(dtype)
        for special in (np.nan, np.inf, -np.inf, 0.0, -0.0):
            x[rng.random(shape) < 0.08] = special
        return x
    info = np.iinfo(dtype)
    x = rng.integers(info.min, info.max, size=shape, endpoint=True, dtype=dtype)
    x[rng.random(shape) < 0.2] = 0
    return x


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("dtype", FLOATS + INTEGERS)
def test_every_type(dtype, rng):
    for shape in star(3, 70):
        x = values(rng, dtype, *shape)
        got = bl.pack(x)
        np.testing.assert_array_equal(got, by_numpy(x >= 0), strict=True)
        assert tails_are_zero(got, shape[-1])


@pytest.mark.usefixtures("variant")
def test_special_values():
    x = [0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1e-45, -1e-45]
    for dtype in (np.float32, np.float64):
        assert bl.pack(np.array(x, dtype=dtype)).tolist() == [0b01010011]
    assert bl.pack([True, False, True]).tolist() == [0b101]
    assert bl.pack(x, threshold=np.nan).tolist() == [0]
    assert bl.pack(x, threshold=-np.inf).tolist() == [0b11110011]


@pytest.mark.usefixtures("variant")
def test_layouts(rng):
    x = values(rng, np.float32, 6, 10, 130)
    views = [
        x[::2],
        x[:, ::-1],
        x[..., ::-1],
        x[..., 1::3],
        np.asfortranarray(x),
        x.T,
        x.astype(">f4"),
        x[1, 2],
        x[:, :0],
    ]
    for view in views:
        np.testing.assert_array_equal(bl.pack(view), by_numpy(view >= 0), strict=True)
        np.testing.assert_array_equal(bl.pack(view > 0), by_numpy(view > 0), strict=True)
    read_only = x.copy()
    read_only.flags.writeable = False
    np.testing.assert_array_equal(bl.pack(read_only), by_numpy(x >= 0), strict=True)
    assert bl.pack([]).shape == (0,)
    assert bl.pack(x[:0]).shape == (0, 10, 3)


def test_other_axes_are_moved_last(rng):
    x = values(rng, np.float64, 3, 70, 5)
    for axis in (-3, -2, -1, 0, 1, 2):
        np.testing.assert_array_equal(bl.pack(x, axis=axis), by_numpy(np.moveaxis(x, axis, -1) >= 0), strict=True)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("dtype", FLOATS + INTEGERS)
def test_thresholds_compare_as_numpy_does(dtype, rng):
    x = values(rng, dtype, 4, 70)
    array = rng.normal(size=70)
    scalars = [0, 1, -1, 0.5, 0.1, 300, np.float64(0.1), np.float32(0.1)]
    for threshold in [*scalars, array, array.astype(np.float32), np.arange(70) - 35, list(array)]:
        # 0.1 itself, as this type holds it
        x[0] = np.asarray(0.1).astype(dtype)
        got = bl.pack(x, threshold=threshold)
        np.testing.assert_array_equal(got, by_numpy(x >= threshold), f"threshold={threshold!r}", strict=True)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("dtype", FLOATS + INTEGERS)
def test_extreme_thresholds_compare_exactly(dtype, rng):
    x = values(rng, dtype, 3, 70)
    if np.dtype(dtype).kind == "f":
        info = np.finfo(dtype)
        x[0, :6] = [info.max, info.min, info.smallest_subnormal, -info.smallest_subnormal, 1, 1 + info.eps]
    else:
        info = np.iinfo(dtype)
        x[0, :6] = [info.max, info.min, info.max - 1, info.min + 1, info.max // 2, info.max // 2 + 1]
    floats = [np.nan, np.inf, -np.inf, 65519.0, 65520.0, 1e300, -1e300, 1e-300, -1e-300, 2.0**53, 2.0**63, 2.0**64]
    wholes = [-(2**63), 2**63 - 1, -(2**53) - 1, 2**53 + 1, -129, 128, 255, 256, -(2**31), 2**31 - 1, 2**32]
    thresholds = [np.float64(each) for each in floats] + [np.int64(each) for each in wholes] + [np.uint64(2**64 - 1)]
    thresholds += [np.float16(np.inf), np.float16(-0.5), np.int8(1), np.uint8(200), np.int16(-300), np.uint64(1)]
    for threshold in thresholds:
        expected = reaches(x, np.full(70, threshold))
        np.testing.assert_array_equal(bl.pack(x, threshold=threshold), expected, f"threshold={threshold!r}")
        array = np.full(70, threshold)
        array[::3] = 0
        np.testing.assert_array_equal(bl.pack(x, threshold=array), reaches(x, array), f"threshold=[{threshold!r}...]")


def test_integers_past_float64_are_compared_exactly():
    x = np.array([2**53, 2**53 + 1, 2**63 - 1], dtype=np.int64)
    assert bl.pack(x, threshold=2**53 + 1).tolist() == [0b110]
    assert bl.pack(x.astype(np.uint64) * 2, threshold=2**64 - 2).tolist() == [0b100]
    # NumPy makes such a list float64.
    assert bl.pack(x.astype(np.uint64) * 2, threshold=[0, 2**54 + 3, 2**64 - 3]).tolist() == [0b101]
    assert bl.pack(x.astype(np.uint64) * 2, threshold=(2**54, 2**54, 2**64 - 1)).tolist() == [0b011]
    assert bl.pack(np.array([-1, 0], dtype=np.int8), threshold=1000).tolist() == [0]
    assert bl.pack(np.array([-1, 0], dtype=np.int8), threshold=-1000).tolist() == [0b11]
    assert bl.pack(x, threshold=2.0**53 + 2).tolist() == [0b100]
    assert bl.pack(x - 1, threshold=2.0**53).tolist() == [0b110]
    assert bl.pack(x.astype(np.float64), threshold=np.int64(2**53 + 1)).tolist() == [0b100]


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("dtype", [np.int8, np.uint64, np.float16, np.float64, np.longdouble, ">i4", ">f4"])
def test_python_numbers_past_every_type(dtype):
    x = np.array([[0, 1, 100]], dtype=dtype)
    for threshold, expected in ((2**70, 0), (-(2**70), 7), (2**2000, 0), (-(2**2000), 7), (1e300, 0), (-1e300, 7)):
        assert bl.pack(x, threshold=threshold).tolist() == [[expected]]
    if np.dtype(dtype).kind == "f":
        assert bl.pack(np.array([np.inf, -np.inf, 0], dtype), threshold=2**2000).tolist() == [1]


@pytest.mark.usefixtures("variant")
def test_a_python_number_takes_the_type_of_floats_and_numpys_own_does_not():
    for dtype in (np.float16, np.float32, ">f4"):
        x = np.array([0.7], dtype)
        assert bl.pack(x, threshold=0.7).tolist() == [1]
        assert bl.pack(x, threshold=np.float64(0.7)).tolist() == [int(float(x[0]) >= 0.7)]


@pytest.mark.usefixtures("variant")
def test_rows_longer_than_the_blocks(rng):
    # The one is compared by NumPy, a block at a time; the others run through the scratch of the kernels.
    for x in (
        values(rng, ">f4", 2, 2**16 + 70),
        values(rng, np.float32, 70, 7000).T,
        values(rng, "i2", 2, 9000)[:, ::2],
    ):
        np.testing.assert_array_equal(bl.pack(x), by_numpy(x >= 0), strict=True)
    odd = np.zeros(4 * 70 + 1, np.uint8)[1:].view(np.float32)  # at an odd address
    odd[...] = values(rng, np.float32, 70)
    np.testing.assert_array_equal(bl.pack(odd), by_numpy(odd >= 0), strict=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64, bool])
def test_no_layout_is_copied(dtype):
    """The peak of NumPy's memory is the result, and what an array object takes."""
    x = np.ones((8, 256, 1024), dtype)
    views = [(x, -1), (x, 0), (x, 1), (x[:, ::2], -1), (x[..., ::-1], -1), (x.T, 0), (x[:, 1::2, ::3], 1)]
    for view, axis in views:
        out = bl.pack(view, axis=axis)
        tracemalloc.start()
        bl.pack(view, axis=axis, out=out)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2**16


@pytest.mark.usefixtures("variant")
def test_out_is_written_and_returned(rng):
    x = values(rng, np.float32, 4, 70)
    for source in (x, x > 0):
        out = np.full((4, 2), 7, dtype=WORD)
        assert bl.pack(source, out=out) is out
        np.testing.assert_array_equal(out, bl.pack(source))


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, *FLOATS, ">f4"])
def test_unpack(dtype, rng):
    for shape in star(3, 70):
        x = signs(rng, *shape)
        np.testing.assert_array_equal(bl.unpack(packed(x), shape[-1], dtype=dtype), x.astype(dtype), strict=True)
    x = signs(rng, 2, 3, 65)
    np.testing.assert_array_equal(bl.unpack(packed(x)[:, ::-1], 65), x[:, ::-1], strict=True)
    np.testing.assert_array_equal(bl.unpack(packed(x[0, 0]), 65), x[0, 0], strict=True)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("bitorder", ["little", "big"])
@pytest.mark.parametrize("n", SIZES)
def test_to_and_from_packbits(n, bitorder, rng):
    x = signs(rng, 3, 2, n)
    theirs = np.packbits(x > 0, axis=-1, bitorder=bitorder)
    np.testing.assert_array_equal(bl.to_packbits(packed(x), n, bitorder=bitorder), theirs, strict=True)
    np.testing.assert_array_equal(bl.from_packbits(theirs, n, bitorder=bitorder), packed(x), strict=True)
    if n % 8:  # bits past the last value are cleared
        theirs[..., -1] |= 0xFF >> n % 8 if bitorder == "big" else (0xFF << n % 8) & 0xFF
        np.testing.assert_array_equal(bl.from_packbits(theirs, n, bitorder=bitorder), packed(x))


def test_to_packbits_is_a_copy(rng):
    source = words(rng, 3, 70)
    before = source.copy()
    bl.to_packbits(source, 70)[...] = 0
    np.testing.assert_array_equal(source, before)


@pytest.mark.usefixtures("variant")
def test_popcount(rng):
    x = rng.integers(0, 2**64, size=(3, 4, 5), dtype=np.uint64)
    counts = np.bitwise_count(x).astype(np.int64)
    for axis in (-1, 0, 1, 2, -3, None):
        np.testing.assert_array_equal(bl.popcount(x, axis=axis), counts.sum(axis=axis), strict=axis is not None)
    np.testing.assert_array_equal(bl.popcount(x[:, ::-2, 1:]), counts[:, ::-2, 1:].sum(axis=-1), strict=True)
    assert bl.popcount(x[0, 0]) == counts[0, 0].sum()
    assert bl.popcount(x[:, ::2], axis=None) == counts[:, ::2].sum()
    for view, axis in ((x.T, 0), (x[::-1, :, ::2], 1), (x[:, ::3].swapaxes(0, 1), -1)):
        expected = np.bitwise_count(view).astype(np.int64).sum(axis=axis)
        np.testing.assert_array_equal(bl.popcount(view, axis=axis), expected, strict=True)
    for empty in (x[:0], x[:, :0], x[..., :0]):
        expected = np.zeros(empty.shape[:-1], dtype=np.int64)
        np.testing.assert_array_equal(bl.popcount(empty), expected, strict=True)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("n", SIZES)
def test_transpose_bits(n, rng):
    for m in EDGES:
        x = signs(rng, m, n)
        np.testing.assert_array_equal(bl.transpose_bits(packed(x), n), packed(x.T), strict=True)


ONE = np.zeros((2, 1), dtype=np.uint64)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: bl.pack(1.0), ValueError, "x must have at least one dimension, got a scalar"),
        (lambda: bl.pack([1j]), TypeError, "x must be real numbers or bool, got dtype complex128"),
        (lambda: bl.pack(["1"]), TypeError, "x must be real numbers or bool, got dtype <U1"),
        (lambda: bl.pack([1.0], axis=1), ValueError, "axis must be less than 1, the number of dimensions, got 1"),
        (lambda: bl.pack([1.0], axis=-2), ValueError, "axis must be at least -1, got -2"),
        (lambda: bl.pack([1.0], axis=0.5), TypeError, "axis must be an integer, got 0.5"),
        (lambda: bl.pack([1.0, 2], threshold=[0]), ValueError, r"threshold must be a scalar or of shape \(2,\), got"),
        (lambda: bl.pack([1.0], threshold="0"), TypeError, "threshold must be real numbers, got dtype <U1"),
        (lambda: bl.pack([True], threshold=1), ValueError, "threshold must be 0 for bool"),
        (lambda: bl.unpack(ONE, 65), ValueError, r"words must have 2 words in its last axis to hold n=65 values, got"),
        (lambda: bl.unpack(ONE, 0), ValueError, r"words must have 0 words .* n=0 values, got shape \(2, 1\)"),
        (lambda: bl.unpack(ONE, -1), ValueError, "n must be at least 0, got -1"),
        (lambda: bl.unpack(ONE, 1.0), TypeError, "n must be an integer, got 1.0"),
        (
            lambda: bl.unpack(ONE.astype(np.int64), 1),
            TypeError,
            "words must be packed words of dtype uint64, got dtype",
        ),
        (lambda: bl.unpack(ONE[0, 0], 1), ValueError, "words must have at least 1 dimensions, got shape"),
        (lambda: bl.unpack(ONE, 1, dtype=np.uint8), TypeError, "dtype must be a signed integer or floating type, got"),
        (lambda: bl.unpack(ONE, 1, dtype=bool), TypeError, "dtype must be a signed integer or floating type, got bool"),
        (lambda: bl.from_packbits([1], 8), TypeError, "bytes must have dtype uint8, got int64"),
        (
            lambda: bl.from_packbits(np.zeros(2, np.uint8), 8),
            ValueError,
            "bytes must have 1 bytes in its last axis for",
        ),
        (lambda: bl.from_packbits(np.zeros(1, np.uint8), 8, bitorder="middle"), ValueError, "bitorder must be one of"),
        (lambda: bl.to_packbits(ONE, 65), ValueError, "words must have 2 words"),
        (lambda: bl.to_packbits(ONE, 5, bitorder=1), ValueError, "bitorder must be one of 'little', 'big', got 1"),
        (lambda: bl.popcount(ONE, axis=2), ValueError, "axis must be less than 2"),
        (lambda: bl.popcount([[1]]), TypeError, "words must be packed words of dtype uint64, got dtype int64"),
        (lambda: bl.transpose_bits(ONE[0], 5), ValueError, r"words must have 2 dimensions, got shape \(1,\)"),
        (lambda: bl.transpose_bits(ONE, 65), ValueError, "words must have 2 words"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        ([[0], [0]], TypeError, "out must be a NumPy array, got list"),
        (np.zeros((2, 1), np.int64), TypeError, "out must have dtype uint64, got int64"),
        (np.zeros((2, 2), np.uint64), ValueError, r"out must have shape \(2, 1\), got \(2, 2\)"),
        (np.zeros((2, 2), np.uint64)[:, :1], ValueError, "out must be C-contiguous, got a strided array"),
    ],
)
def test_wrong_out(out, error, message):
    with pytest.raises(error, match=message):
        bl.pack(np.ones((2, 3)), out=out)


def test_out_that_must_not_be_written(rng):
    x = np.array([[3], [4]], dtype=np.uint64)
    with pytest.raises(ValueError, match="out must not overlap an input"):
        bl.pack(x, out=x)
    assert x.tolist() == [[3], [4]]
    out = np.zeros((2, words_for(3)), dtype=WORD)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out must be writeable, got a read-only array"):
        bl.pack(np.ones((2, 3)), out=out)
    out = np.full((1, 1), 7, dtype=WORD)
    with pytest.raises(ValueError, match="threshold must be 0 for bool"):
        bl.pack([[True]], threshold=1, out=out)
    assert out.tolist() == [[7]]
