"""Calls of what packs, unpacks, counts and transposes bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from campaign.calls import BAD_NUMBERS, Call, bits
from campaign.sizes import fitting, length, rows, signs

_TYPES = ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", ">i4", ">f8", "g")
_SIGNED = ("i1", "i2", "i4", "i8", "f2", "f4", "f8", "g", ">i2", ">f4")
_NOT_REAL: tuple = ("text", None, 1j, [1j], [["a"]], [[1, 2], [3]], {}, object())


def leading(rng: np.random.Generator, n: int) -> tuple[int, ...]:
    """Return the axes before the last one."""
    axes = [int(rng.integers(0, 5)) for _ in range(rng.integers(0, 4))]
    return tuple(axes[:-1] + [fitting(rows(rng), n, *axes[:-1])] if axes else axes)


def numbers(rng: np.random.Generator, shape: tuple[int, ...], kind: np.dtype) -> np.ndarray:
    """Return values of a type: small ones, its limits, and of floats zeros of both signs, infinities and NaN."""
    if kind.kind == "b":
        return rng.random(shape) < 0.5
    x = rng.integers(-3, 4, shape)
    if kind.kind == "f":
        special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 0.5, -1e-30, 65504.0])
        with np.errstate(all="ignore"):
            return np.where(rng.random(shape) < 0.3, special[rng.integers(len(special), size=shape)], x).astype(kind)
    info = np.iinfo(kind)
    limits = np.array([info.min, info.max, info.max - 1], dtype=kind)
    x = (np.abs(x) if kind.kind == "u" else x).astype(kind)
    return np.where(rng.random(shape) < 0.2, limits[rng.integers(3, size=shape)], x).astype(kind)


def threshold(rng: np.random.Generator, n: int) -> Any:
    """Return a threshold of some type: a scalar of Python or of NumPy, or one a value."""
    plain = (0, 1, -2, 0.0, 0.5, -1.5, 127, 128, -129, 300, 2**31, 2**40, 1e10, -1e300, np.inf, -np.inf, np.nan)
    each = plain[rng.integers(len(plain))]
    way = rng.integers(5)
    if way < 2:
        return each
    if way == 2:
        return np.float64(each) if isinstance(each, float) else np.int64(each)
    kind = np.dtype(_TYPES[rng.integers(1, len(_TYPES))])
    values = numbers(rng, (n,), kind)
    return values if way == 3 else values.tolist() if kind.itemsize <= 8 and n else values


def exact(threshold: Any) -> Any:
    """Return a threshold as NumPy compares it: a list of integers from 2**63 on it would make float64, rounded."""
    integers = isinstance(threshold, list) and all(type(each) is int for each in threshold)
    return np.array(threshold, np.uint64) if integers and max(threshold) >= 2**63 else threshold


def pack(rng: np.random.Generator) -> Call:
    """Pack along an axis, against a threshold as NumPy compares it."""
    kind = np.dtype(_TYPES[rng.integers(len(_TYPES))])
    n = length(rng)
    shape = (*leading(rng, n), n)
    x = numbers(rng, shape, kind)
    settings: dict[str, Any] = {}
    with np.errstate(all="ignore"):
        flags = x if kind.kind == "b" else x >= 0
        if kind.kind != "b" and rng.random() < 0.6:
            settings["threshold"] = threshold(rng, n)
            flags = x >= exact(settings["threshold"])
    wanted = bits(flags)
    axis = int(rng.integers(-x.ndim, x.ndim))
    if rng.random() < 0.5:
        settings["axis"] = axis
        x = np.moveaxis(x, -1, axis)
    shape = (n + 1,) if n != 0 else (2,)
    wrong = {
        "x": _NOT_REAL,
        "axis": (x.ndim, -x.ndim - 1, 1.5, None, "0"),
        "threshold": ("a", None, 1j, np.zeros(shape), np.zeros((1, 1, n))),
    }
    if kind.kind == "b":
        wrong["threshold"] = (1, 0.5, -1)
    return Call("pack", {"x": x}, settings, wanted, has_threads=False, wrong=wrong)


def unpack(rng: np.random.Generator) -> Call:
    """Unpack into some type."""
    n = length(rng)
    kind = np.dtype(_SIGNED[rng.integers(len(_SIGNED))])
    values = signs(rng, *leading(rng, n), n)
    wrong = {"dtype": (np.uint8, complex, bool, "nonsense", object(), "S1"), "words": (3, [1.5])}
    return Call(
        "unpack",
        {"words": bits(values)},
        {"n": n, "dtype": kind},
        values.astype(kind),
        has_out=False,
        has_threads=False,
        words={"words": None},
        wrong=wrong,
    )


def packbits(rng: np.random.Generator) -> Call:
    """Go between words and what `numpy.packbits` gives."""
    n, order = length(rng), ("little", "big")[rng.integers(2)]
    values = signs(rng, *leading(rng, n), n)
    words, octets = bits(values), np.packbits(values > 0, axis=-1, bitorder=order)
    settings = {"n": n, "bitorder": order}
    plain: dict[str, Any] = {"has_out": False, "has_threads": False}
    if rng.random() < 0.5:
        return Call("to_packbits", {"words": words}, settings, octets, words={"words": None}, **plain)
    if n % 8:
        octets[..., -1] |= (0x80 >> (n % 8)) if order == "big" else 1 << (n % 8)  # bits past the last value are cleared
    longer = octets[..., None].repeat(octets.shape[-1] + 1, -1)
    wrong = {
        "bytes": (octets.astype(np.int8), octets.astype(np.uint16), "bytes", 3, None, longer),
        "n": (*BAD_NUMBERS, n + 8),
        "bitorder": ("middle", None, 1),
    }
    return Call("from_packbits", {"bytes": octets}, settings, words, wrong=wrong, **plain)


def popcount(rng: np.random.Generator) -> Call:
    """Count bits along an axis."""
    shape = (*leading(rng, 4), int(rng.integers(0, 9)))
    words = rng.integers(0, 2**64, shape, dtype=np.uint64)
    words[rng.random(shape) < 0.2] = 2**64 - 1
    axis = (None, *range(-words.ndim, words.ndim))[rng.integers(2 * words.ndim + 1)]
    each = np.unpackbits(np.ascontiguousarray(words).view(np.uint8).reshape(*shape, 8), axis=-1).sum(-1, dtype=np.int64)
    return Call(
        "popcount",
        {"words": words},
        {"axis": axis},
        np.asarray(each.sum(axis, dtype=np.int64)),
        has_out=False,
        has_threads=False,
        words={"words": None},
        wrong={"axis": (words.ndim, -words.ndim - 1, 1.5, "0", (0,)), "words": (np.uint64(3),)},
    )


def transpose_bits(rng: np.random.Generator) -> Call:
    """Transpose a packed matrix."""
    n = length(rng)
    values = signs(rng, fitting(rows(rng), n), n)
    return Call(
        "transpose_bits",
        {"words": bits(values)},
        {"n": n},
        bits(np.ascontiguousarray(values.T)),
        has_out=False,
        has_threads=False,
        words={"words": 2},
    )


MAKERS = (pack, pack, unpack, packbits, popcount, transpose_bits)
