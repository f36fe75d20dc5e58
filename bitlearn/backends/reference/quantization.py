"""Quantization: to a few bits with a scale per channel, arrays (outer, channels, inner); sums again; random words."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.reference.norms import LARGEST_SCALE
from bitlearn.backends.table import kernel
from bitlearn.rng import philox4x32


@kernel(
    x="float32|float64|int8|int16|int32|int64|uint16[outer, channels, inner]",
    out="float32|float64|uint8|uint16|uint32|uint64|uint16[channels] by x",
    operations={"add x": 1},
)
def largest_magnitude(x, out):
    """out[c] = max |x[:, c, :]|, and 0 of nothing; NaN where x holds one. An x of uint16 is the bits of float16."""
    if x.dtype.kind == "i":
        magnitudes = np.where(x < 0, -x, x).view(out.dtype)  # the least integer is its own negative, and a sign bit
        out[...] = magnitudes.max(axis=(0, 2), initial=0)
    else:
        # The bits of a float without its sign are ordered as magnitudes are, and those of NaN come last.
        word = np.dtype(f"u{x.itemsize}")
        magnitudes = x.view(word) & word.type(np.iinfo(f"i{x.itemsize}").max)
        out.view(word)[...] = magnitudes.max(axis=(0, 2), initial=0)


@kernel(
    x="float32|float64|int8|int16|int32|int64[outer, channels, inner]",
    scale="float32|float64|float64|float64|float64|float64[channels] by x",
    zero_point="int64[channels]",
    low=(-1,),
    high=(1,),
    noise="uint32[channels, outer, inner]?",
    out="int8|int16[outer, channels, inner]",
    operations={"multiply scale": 1, "add scale": 3},
)
def quantize_linear(x, scale, zero_point, low, high, noise, out):
    """out[o, c, i] = clip(round(x[o, c, i] / scale[c]) + zero_point[c], low, high).

    Without ``noise``, to nearest, ties to even; else round(v) is floor(v + noise / 2**32), unbiased. Quotients are in
    scale's type.
    """
    ratio = x.astype(scale.dtype) / scale[:, None]
    if noise.size:
        whole = np.floor(ratio)
        # The fraction is compared with the noise, not added to it: adding could round up to the next integer.
        fraction = (ratio - whole).astype(np.float64) * 2.0**32
        rounded = whole + (noise.swapaxes(0, 1) < fraction)
    else:
        rounded = np.rint(ratio)
    out[...] = np.clip(rounded + zero_point[:, None], low, high)


@kernel(split="rows", x="int8|int16|int32|int64|float32[rows, n]", out="float64[rows]", operations={"add x": 1})
def peaks(x, out):
    """out[i] = max |x[i]|, 0 of nothing, NaN where x[i] holds one; integers of a magnitude of 2**53 at most."""
    out[...] = np.abs(x.astype(np.float64)).max(axis=1, initial=0)


@kernel(
    split="groups", x="int8|int16[groups, rows, channels]", out="float64[groups, channels]", operations={"add x": 1}
)
def channel_peaks(x, out):
    """out[g, c] = max |x[g, :, c]|."""
    out[...] = np.abs(x.astype(np.float64)).max(axis=1, initial=0)


@kernel(
    writes="out finite", peaks="float64[groups]", out="float64[1]", finite="uint8[1]", operations={"add float64": 1}
)
def quantize_step(peaks, limit, out, finite):
    """out = the largest peak / limit in float32: what a code is worth. finite = 0 where a peak is not finite.

    peaks are float32 numbers; out is at least the smallest normal float32, 1 for a peak of 0; finite stays where all
    are.
    """
    found = np.float32(peaks.max(initial=0)) / np.float32(limit)
    if not np.isfinite(found):
        finite[0] = 0
    out[0] = max(found, np.finfo(np.float32).tiny) if found else 1


@kernel(
    split="rows",
    x="float32[rows, n]",
    scale="float64[1]",
    out="int8|int16[rows, n]",
    operations={"multiply float32": 1, "add float32": 2},
)
def quantize(x, scale, limit, out):
    """out = clip(round(x / scale), -limit, limit), ties to even, in float32."""
    out[...] = np.clip(np.rint(x / np.float32(scale[0])), -limit, limit)


@kernel(
    writes="step out",
    peaks="float64[rows]",
    scale="float64[scales]",
    step="float64[steps]",
    out="float64[1]",
    operations={"multiply float64": 1, "add float64": 1},
)
def requantize_step(peaks, limit, scale, step, out):
    """The step of `requantize` for integers with one scale or one per row, and what a code is worth then.

    With one scale, every step is ``max(largest peak / limit, 1)``, so that integers that fit are kept as they are, and
    out = scale * step. With as many scales and steps as peaks, out = the largest product of a peak and its scale /
    limit, 1 where that is 0, and step = out / scale. out is `LARGEST_SCALE` at most.
    """
    if len(scale) == 1:
        step[...] = max(peaks.max(initial=0) / limit, 1)
        out[0] = scale[0] * max(peaks.max(initial=0) / limit, 1)
    else:
        most = (peaks * scale).max(initial=0)
        out[0] = most / limit if most > 0 else 1
        step[...] = out[0] / scale
    out[0] = min(out[0], LARGEST_SCALE)


@kernel(
    split="rows",
    x="int32|int64[rows, n]",
    step="float64[rows|1]",
    out="int8|int16[rows, n]",
    operations={"multiply float64": 1, "add float64": 2},
)
def requantize(x, step, limit, out):
    """out[i] = clip(round(x[i] / step[i]), -limit, limit), ties to even; magnitudes of x at most 2**53."""
    out[...] = np.clip(np.rint(x.astype(np.float64) / step[:, None]), -limit, limit)


@kernel(
    writes="row_scale out",
    split="rows",
    x="int32|int64[rows, n]",
    scale="float64[rows|1]",
    row_scale="float64[rows]",
    out="int8|int16[rows, n]",
    operations={"multiply float64": 1, "add float64": 1},
)
def requantize_rows(x, scale, limit, row_scale, out):
    """Each row with a step of its own, max(max |x[i]| / limit, 1): out[i] = round(x[i] / step), ties to even.

    Magnitudes of x at most 2**53; row_scale = scale * step, what a code is worth.
    """
    step = np.maximum(np.abs(x.astype(np.float64)).max(axis=1, initial=0) / limit, 1)
    row_scale[...] = scale * step
    out[...] = np.rint(x.astype(np.float64) / step[:, None])


@kernel(row_scale="float64[rows]", out="float64[1]", operations={"add float64": 1})
def largest_scale(row_scale, out):
    """out = the largest of row_scale, 1 where that is 0, at most `LARGEST_SCALE`."""
    out[0] = min(row_scale.max(initial=0) or 1, LARGEST_SCALE)


@kernel(
    writes="codes",
    changes="codes",
    split="rows",
    row_scale="float64[rows]",
    scale="float64[1]",
    codes="int8|int16[rows, n]",
    operations={"multiply float64": 1, "add float64": 2},
)
def equalize_rows(row_scale, scale, limit, codes):
    """Give rows of codes one scale: codes[i] = clip(round(codes[i] / (scale / row_scale[i]))), where that is not 1.

    row_scale, what a code of each row is worth, is at most scale, or scale is `LARGEST_SCALE`; codes change in place.
    """
    step = np.maximum(scale[0] / row_scale, 1)
    codes[...] = np.clip(np.rint(codes.astype(np.float64) / step[:, None]), -limit, limit)


@kernel(
    writes="step out",
    peaks="float64[groups, channels]",
    scale="float64[1]",
    step="float64[channels]",
    out="float64[channels]",
    operations={"multiply float64": 1, "add float64": 1},
)
def narrow_step(peaks, limit, scale, step, out):
    """step[c] = max(largest peak[:, c] / limit, 1), out[c] = scale * step[c]."""
    step[...] = np.maximum(peaks.max(axis=0, initial=0) / limit, 1)
    out[...] = scale[0] * step


#: A word of Philox 4x32: a quarter of ten rounds of two multiplications and four xors, and of nine changes of the key.
RANDOM_WORD = {"multiply int32": 5, "add int32": 14.5}


def random_operations(words):
    """Return the operations of so many random words."""
    return {name: count * words for name, count in RANDOM_WORD.items()}


def _of_narrow(x, step, axis, limit, key, *rest):
    """A division and two comparisons for each value, and a random word where there is a key."""
    noise = random_operations(x.size) if key.shape[0] else {}
    return {"multiply float64": x.size, "add float64": 2 * x.size} | noise


@kernel(
    split="rows",
    work=lambda x, step, axis, limit, key, *rest: x[:1].size * (16 if len(key) else 4),
    x="int8|int16[rows, n]",
    step="float64[1|total|n]",
    axis=(-1, 0, 1),
    key="uint32[4]?",
    out="int8|int16[rows, n]",
    operations=_of_narrow,
)
def narrow(x, step, axis, limit, key, first, total, out):
    """out = clip(round(x / step), -limit, limit): to nearest, ties to even; or at random where there is a key.

    x are the rows [first, first + rows) of `total`; steps: one (axis -1), one per row of all (axis 0) or one per column
    (axis 1). key as random_words has it: with the word u of the stream, round(v) is floor(v), plus 1 where
    ``u < (v - floor(v)) * 2**32``. The word's number is ``i * n + j`` of row i of all, with axis 1 ``j * total + i``.
    """
    rows, n = x.shape
    at = slice(first, first + rows)
    ratio = x / (step[at, None] if axis == 0 else step[None, :])
    if len(key):
        noise = np.empty((n, total) if axis == 1 else (total, n), dtype=np.uint32)
        random_words(key, 0, noise.shape[1], noise)
        noise = (noise.T if axis == 1 else noise)[at]
        whole = np.floor(ratio)
        rounded = whole + (noise < (ratio - whole) * 2.0**32)
    else:
        rounded = np.rint(ratio)
    out[...] = np.clip(rounded, -limit, limit)


@kernel(writes="x", changes="x", split="rows", x="int16[rows, n]", operations={"add int16": 2})
def powers_of_two(x):
    """x = sign(x) * 2**min(round(log2(|x|)), 14), and 0 stays 0: five bits, a sign and 15 magnitudes beside 0."""
    x[...] = np.sign(x) * 2 ** np.clip(_rounded_log2(np.abs(x.astype(np.float64))), 0, 14)


@kernel(key="uint32[4]", start=(0, 3, 2**34 - 2), stride=(1, 1000), out="uint32[rows, n]", operations=RANDOM_WORD)
def random_words(key, start, stride, out):
    """out[i, j] = word ``start + i * stride + j`` of a stream of random bits.

    key: the low and the high half of the seed, the step, the stream of `bitlearn.rng.Key`.
    """
    rows, n = out.shape
    place = start + stride * np.arange(rows, dtype=np.uint64)[:, None] + np.arange(n, dtype=np.uint64)
    block = place.reshape(-1) // 4
    counter = np.stack([block & 0xFFFF_FFFF, block >> 32, *np.broadcast_to(key[2:, None], (2, block.size))], axis=1)
    words = philox4x32(counter.astype(np.uint32), (int(key[0]), int(key[1])))
    out[...] = words[np.arange(block.size), place.reshape(-1) % 4].reshape(out.shape)


@kernel(
    x="float32[rows, columns]",
    largest="float32[rows]",
    exponents=(8,),
    out="int32[rows, columns]",
    operations={"add float32": 3},
)
def quantize_power_of_two(x, largest, exponents, out):
    """out[i, j] = sign(x) * 2**(e + exponents / 2), e = clip(round(log2(|x| * 2**bias)), -exponents / 2, ... - 1).

    largest: the largest |x| of each row, bias = exponents / 2 - round(log2(largest)), out ±2**0 to ±2**(exponents - 1).
    Zero counts as +0 and becomes +1, the smallest code: the scheme has no zero, and no row may be all zeros.
    """
    half = exponents // 2
    bias = half - _rounded_log2(largest)
    exponent = np.clip(_rounded_log2(np.abs(x)) + bias[:, None], -half, half - 1)
    out[...] = np.where(x < 0, -1, 1) * 2 ** (exponent + half)


def _rounded_log2(x):
    """round(log2(x)) of positive floats, exactly and the same on every processor; very negative for 0."""
    mantissa, exponent = np.frexp(x)
    # log2 of the mantissa lies in [-1, 0): it rounds to 0 from sqrt(1/2) on, which no float equals.
    rounded = exponent.astype(np.int64) - (mantissa < np.sqrt(0.5))
    return np.where(x == 0, -(2**30), rounded)
