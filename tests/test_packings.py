"""The packings of other libraries, by their documented layouts, and by the libraries where these are installed."""

from __future__ import annotations

import numpy as np
import pytest
from cases import SIZES

import bitlearn as bl
from bitlearn.ops.packings import PACKINGS


def signs(rng, *shape):
    return np.where(rng.random(shape) < 0.5, -1, 1).astype(np.float32)


def as_larq(x):
    """Bit j % 32 of element j // 32 is x[j] < 0; zeros behind the last value (bitpack.h of Larq Compute Engine)."""
    n = x.shape[-1]
    padded = np.zeros((*x.shape[:-1], -(-n // 32) * 32), np.uint64)
    padded[..., :n] = x < 0
    weights = np.uint64(1) << np.arange(32, dtype=np.uint64)
    return (padded.reshape(*x.shape[:-1], -1, 32) * weights).sum(-1, dtype=np.uint64).astype(np.uint32).view(np.int32)


def as_openvino(x):
    """Value i of all is bit 7 - i % 8 of byte i // 8 (element_iterator.hpp of OpenVINO, u1)."""
    out = [0] * (-(-x.size // 8))
    for i, value in enumerate(x.ravel()):
        out[i // 8] |= int(value > 0) << (7 - i % 8)
    return np.array(out, np.uint8)


def as_numkong(x):
    return np.packbits(x > 0, axis=-1)


def as_view(kind):
    def view(x):
        n = x.shape[-1]
        flags = np.zeros((*x.shape[:-1], -(-n // 64) * 64), np.uint8)
        flags[..., :n] = x > 0
        return np.packbits(flags, axis=-1, bitorder="little").view(kind)

    return view


LAYOUTS = {
    "int64": as_view(np.int64),
    "uint32": as_view(np.uint32),
    "uint8": as_view(np.uint8),
    "larq": as_larq,
    "openvino": as_openvino,
    "numkong": as_numkong,
}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("n", SIZES)
def test_there_and_back(packing, n, rng):
    x = signs(rng, 2, 3, n)
    words = bl.pack(x)
    given = bl.to_packing(words, n, packing)
    np.testing.assert_array_equal(given, LAYOUTS[packing](x), strict=True)
    more = {"shape": (2, 3)} if packing == "openvino" else {}
    np.testing.assert_array_equal(bl.from_packing(given, n, packing, **more), words, strict=True)


def test_of_what_lies_between(rng):
    x = signs(rng, 6, 70)
    words = bl.pack(x)[::2]
    for packing, layout in LAYOUTS.items():
        np.testing.assert_array_equal(bl.to_packing(words, 70, packing), layout(x[::2]), strict=True)


@pytest.mark.parametrize("packing", ["int64", "uint32", "uint8"])
def test_views_share_memory(packing, rng):
    words = bl.pack(signs(rng, 5, 70))
    given = bl.to_packing(words, 70, packing)
    assert np.shares_memory(given, words) and np.shares_memory(bl.from_packing(given, 70, packing), words)


def test_as_numkong_has_it(rng):
    numkong = pytest.importorskip("numkong", reason="numkong is not installed")
    x, y = signs(rng, 3, 256), signs(rng, 4, 256)
    left, right = (bl.to_packing(bl.pack(each), 256, "numkong") for each in (x, y))
    found = numkong.hammings_packed(left, numkong.hammings_pack(right, dtype="uint1"))
    np.testing.assert_array_equal(np.asarray(found), (x[:, None] != y[None]).sum(-1))
    theirs = np.asarray(numkong.Tensor((x > 0).astype(np.float32)).astype("uint1")).view(np.uint8)
    np.testing.assert_array_equal(theirs.reshape(-1)[:32], left[0])


@pytest.mark.parametrize(
    ("values", "n", "packing", "shape", "message"),
    [
        (np.zeros(1, np.int64), 3, "larq", None, "values must have dtype int32 for packing 'larq', got dtype"),
        (np.zeros(2, np.int32), 3, "larq", None, "values must have 1 elements in the last axis for n=3"),
        (np.zeros(1, np.int64), 3, "int64", (1,), "shape must be None for packing 'int64', got"),
        (np.full(1, 8, np.int64), 3, "int64", None, "values must have no bit past n=3 values set, got some"),
        (np.zeros(1, np.uint8), 3, "openvino", None, "shape must be a tuple of sizes for packing 'openvino', got None"),
        (np.zeros(1, np.uint8), 3, "openvino", (3,), "values must be 2 bytes for shape .3, 3., got 1"),
        (np.zeros(1, np.uint8), 3, "onnx", None, "packing must be one of 'int64', .*, got 'onnx'"),
    ],
)
def test_what_is_refused(values, n, packing, shape, message):
    with pytest.raises((TypeError, ValueError), match=message.replace("got dtype", "got .*int64")):
        bl.from_packing(values, n, packing, shape=shape)
