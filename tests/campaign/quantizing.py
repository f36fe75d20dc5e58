"""Calls of `quantize`, whose result is several arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

import bitlearn as bl
from campaign.calls import DOCUMENTED, cut_finely, same_bits
from campaign.layouts import laid

_FLOATS = ("f4", "f4", "f8", "f2", "i1", "i4", "u1", "?", ">f4")


def numbers(rng: np.random.Generator) -> np.ndarray:
    """Return finite numbers of some type and shape, far from float32's smallest: those are flushed in no stated way."""
    shape = tuple(int(each) for each in rng.integers(0 if rng.random() < 0.1 else 1, 18, rng.integers(0, 4)))
    if rng.random() < 0.02:
        shape = (int(rng.integers(1, 4)), 1 << 15)
    kind = np.dtype(_FLOATS[rng.integers(len(_FLOATS))])
    x = rng.normal(size=shape) * np.exp2(rng.integers(-6, 7, shape))
    x = np.where(rng.random(shape) < 0.1, 0.0, np.round(x, 3))
    if kind.kind != "f":
        return np.clip(x, 0, 100).astype(kind)
    return np.asarray(x).astype(kind)


def _by_channel(x: np.ndarray, axis: int | None) -> np.ndarray:
    """Return values as (channels, values of one)."""
    count = 1 if axis is None else x.shape[axis]
    return (x if axis is None else np.moveaxis(x, axis, 0)).reshape(count, x.size // max(count, 1))


def _nonzero(scale: np.ndarray) -> np.ndarray:
    return np.where(scale == 0, np.float32(1), scale).astype(np.float32)


def _log2(x: np.ndarray) -> np.ndarray:
    """Return the rounded logarithm of positive float32 values: the root of 2 is no float."""
    mantissa, exponent = np.frexp(x.astype(np.float64))
    return exponent - (mantissa < np.sqrt(0.5))


def expected(x: np.ndarray, bits: int, scheme: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return codes to nearest, scales and zero points of channels, the first axis of x (channels, values) float32."""
    largest = np.abs(x).max(axis=1, initial=0)
    limit = 2 ** (bits - 1) - 1
    if scheme == "power-of-two":
        half = 2 ** (bits - 1) // 2
        safe = np.where(largest == 0, np.float32(1), largest)
        bias = half - _log2(safe)
        magnitudes = np.where(
            x == 0, -half, np.clip(_log2(np.where(x == 0, 1, np.abs(x))) + bias[:, None], -half, half - 1)
        )
        codes = np.where(x < 0, -1, 1) * 2 ** (magnitudes + half)
        codes[largest == 0] = 0
        scale = np.where(largest == 0, 1.0, 2.0 ** (-half - bias)).astype(np.float32)
        return codes, scale, np.zeros(len(x), np.int64)
    if scheme == "symmetric":
        scale = _nonzero(largest / np.float32(limit))
        return np.clip(np.rint(x / scale[:, None]), -limit, limit).astype(np.int64), scale, np.zeros(len(x), np.int64)
    high, low = x.max(axis=1, initial=0), x.min(axis=1, initial=0)
    scale = _nonzero(((high.astype(np.float64) - low) / (2 * limit + 1)).astype(np.float32))
    zero = np.clip(np.rint(-low / scale), 0, 2 * limit + 1).astype(np.int64) - limit - 1
    zero[largest == 0] = 0
    return np.clip(np.rint(x / scale[:, None]).astype(np.int64) + zero[:, None], -limit - 1, limit), scale, zero


def check(rng: np.random.Generator, variants: list[str]) -> int:
    """Quantize on each variant and compare; return how many calls that were."""
    g = numbers(rng)
    scheme = ("symmetric", "affine", "power-of-two")[rng.integers(3)]
    bits = int(rng.integers(2, 6 if scheme == "power-of-two" else 17))
    axis = None if g.ndim == 0 or rng.random() < 0.5 else int(rng.integers(-g.ndim, g.ndim))
    how: dict[str, Any] = {"axis": axis, "scheme": scheme}
    stochastic = scheme != "power-of-two" and rng.random() < 0.3
    if stochastic:
        how |= {"rounding": "stochastic", "rng": int(rng.integers(2**40))}
    x = g.astype(np.float32)
    channels = _by_channel(x, axis)
    codes, scale, zero = expected(channels, bits, scheme)
    first: np.ndarray | None = None
    with cut_finely(int(rng.integers(1, 4))):
        for variant in variants:
            with bl.use_backend(variant):
                q = bl.quantize(laid(g, rng), bits, **how)
            what = f" | quantize {g.dtype}{g.shape} bits={bits} {how}, {variant}"
            assert q.values.shape == g.shape and q.bits == bits, f"shape {q.values.shape}{what}"
            wanted = "i4" if scheme == "power-of-two" else "i1" if bits <= 8 else "i2"
            assert q.values.dtype == np.dtype(wanted), f"dtype {q.values.dtype}{what}"
            got = _by_channel(q.values, axis)
            assert np.array_equal(np.ravel(q.scale), scale), f"other scales{what}: {q.scale}, not {scale}"
            assert np.array_equal(np.broadcast_to(np.asarray(q.zero_point).reshape(-1), scale.shape), zero), (
                f"other zero points{what}: {q.zero_point}, not {zero}"
            )
            if stochastic:
                assert (np.abs(got.astype(np.int64) - codes) <= 1).all(), f"codes further than a step{what}"
                first = got if first is None else first
                assert same_bits(got, first), f"other codes than the first variant{what}"
            else:
                assert np.array_equal(got, codes), f"other codes{what}"
            real = ((q.values.astype(np.float64) - q.zero_point) * q.scale).astype(np.float32)
            assert same_bits(q.dequantize(), real), f"other real numbers{what}"
    return 2 * len(variants)


def refused(rng: np.random.Generator) -> int:
    """Quantize with one thing wrong."""
    g = np.ones((3, 4), np.float32)
    wrong: tuple[tuple[str, tuple], ...] = (
        ("g", ("text", None, 1j, [np.nan], [np.inf], [1e300], [[1], [1, 2]], {})),
        ("bits", (1, 0, -1, 17, 1.5, None, "8", 2**70)),
        ("axis", (2, -3, 1.5, "0")),
        ("scheme", ("linear", None, 3)),
        ("rounding", ("up", None, "stochastic")),
    )
    name, values = wrong[rng.integers(len(wrong))]
    value = values[rng.integers(len(values))]
    given: dict[str, Any] = {"g": g, "bits": 8} | {name: value}
    try:
        bl.quantize(given.pop("g"), given.pop("bits"), **given)
    except DOCUMENTED as error:
        sentence = str(error)
    else:
        raise AssertionError(f"quantize took {name}={value!r}")
    assert sentence and "\n" not in sentence, f"quantize with {name}={value!r}: not one line: {sentence!r}"
    return 1
