"""What is done to whole arrays between the layers: copies, sums, signs of real values, the products of a real head."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.jit.compilation import WithHalves, for_numbers, helper, kernel
from bitlearn.backends.jit.packing import is_set

#: Rows and columns that `scaled_transpose` turns at a time: their lines of memory stay in the cache.
_BLOCK = 32


@kernel
def copy(x, out):
    """out = x."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = x[i, j]


copy = WithHalves(copy, copy)


@kernel
def cast(x, out):
    """out = x, of a narrower type that holds it."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = x[i, j]


@kernel
def multiply_scales(a, b, out):
    """out[i] = a[i] * b[0]."""
    for i in range(a.size):
        out[i] = a[i] * b[0]


@kernel
def all_finite_halves(x, finite):
    """As `all_finite` for float16: all bits of the exponent are set of what is not finite."""
    found = False
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            found |= x[i, j] & 0x7C00 == 0x7C00
    if found:
        finite[0] = 0


@for_numbers(all_finite_halves)
@kernel
def all_finite(x, finite):
    """finite = 0 where a value is NaN or infinite, else it stays."""
    found = False
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            found |= not np.isfinite(x[i, j])
    if found:
        finite[0] = 0


@kernel
def add_scaled(a, scale_a, b, scale_b, out):
    """out = a * scale_a + b * scale_b in float32."""
    first, second = np.float32(scale_a[0]), np.float32(scale_b[0])
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            out[i, j] = np.float32(a[i, j]) * first + np.float32(b[i, j]) * second


@helper
def keep_where(values, word, out):
    """Write up to 64 values, 0 where the bit is clear."""
    for j in range(values.size):
        out[j] = values[j] if (word >> np.uint64(j)) & np.uint64(1) else values.dtype.type(0)


@kernel
def mask_gradient(d, mask, out):
    """out = d where its bit in mask is set, else 0."""
    for i in range(d.shape[0]):
        for t in range(mask.shape[1]):
            keep_where(d[i, 64 * t : 64 * t + 64], mask[i, t], out[i, 64 * t : 64 * t + 64])


@helper
def sign_words(values, limit):
    """The bits of up to 64 values: which are >= 0, and which magnitudes are <= the limit."""
    sign, inside = np.uint64(0), np.uint64(0)
    for j in range(values.size):
        sign |= np.uint64(values[j] >= 0) << np.uint64(j)
        inside |= np.uint64(abs(values[j]) <= limit) << np.uint64(j)
    return sign, inside


@kernel
def sign_values(x, clip, signs, mask):
    """Bits signs = x >= 0 and mask = |x| <= clip; NaN gives 0."""
    limit = np.float32(clip)
    for i in range(x.shape[0]):
        for t in range(signs.shape[1]):
            signs[i, t], mask[i, t] = sign_words(x[i, 64 * t : 64 * t + 64], limit)


@helper
def pack_finite_rows(x, out, finite, exponent):
    """As `pack_finite`; `exponent` is None except for float16, which comes as its bits: then that of infinity."""
    found = False
    for i in range(x.shape[0]):
        for t in range(out.shape[1]):
            word = np.uint64(0)
            for j in range(64 * t, min(64 * t + 64, x.shape[1])):
                word |= np.uint64(is_set(x[i, j], x.dtype.type(0), exponent)) << np.uint64(j - 64 * t)
                found |= is_infinite(x[i, j], exponent)
            out[i, t] = word
    if found:
        finite[0] = 0


@helper
def is_infinite(value, exponent):
    """Say whether a value is NaN or infinite."""
    if exponent is None:
        return not np.isfinite(value)
    return value & exponent == exponent


@kernel
def pack_finite_halves(x, out, finite):
    """As `pack_finite` for float16."""
    pack_finite_rows(x, out, finite, 0x7C00)


@for_numbers(pack_finite_halves)
@kernel
def pack_finite(x, out, finite):
    """bit[i, j] = x[i, j] >= 0, clear for NaN; finite = 0 where a value is NaN or infinite, else it stays."""
    pack_finite_rows(x, out, finite, None)


@kernel
def approximate_sign_gradient(d, scale, x, out):
    """out = d * scale * max(2 - 2 |x|, 0) in float32: the derivative of a piecewise quadratic sign."""
    by, two, zero = np.float32(scale[0]), np.float32(2), np.float32(0)
    for i in range(d.shape[0]):
        for j in range(d.shape[1]):
            slope = two - two * abs(x[i, j])
            # NaN is not below 0, and stays.
            out[i, j] = (np.float32(d[i, j]) * by) * (zero if slope < zero else slope)


@kernel
def integer_product(g, w, out):
    """out[i, j] = sum over k of g[i, k] * w[k, j]. Four terms a pass: a sum is loaded and stored once for them."""
    out[:] = 0
    for i in range(g.shape[0]):
        total, k = out[i], 0
        while k + 4 <= g.shape[1]:
            g0, g1, g2, g3 = np.int64(g[i, k]), np.int64(g[i, k + 1]), np.int64(g[i, k + 2]), np.int64(g[i, k + 3])
            w0, w1, w2, w3 = w[k], w[k + 1], w[k + 2], w[k + 3]
            for j in range(total.size):
                low = g0 * np.int64(w0[j]) + g1 * np.int64(w1[j])
                total[j] += low + g2 * np.int64(w2[j]) + g3 * np.int64(w3[j])
            k += 4
        while k < g.shape[1]:
            value, row = np.int64(g[i, k]), w[k]
            for j in range(total.size):
                total[j] += value * np.int64(row[j])
            k += 1


@kernel
def scale_sums(x, scale, out):
    """out[i] = x[i] * scale[i] in float64, rounded to float32."""
    for i in range(x.shape[0]):
        by = scale[i] if scale.size > 1 else scale[0]
        for j in range(x.shape[1]):
            out[i, j] = np.float32(np.float64(x[i, j]) * by)


@kernel
def scaled_transpose(x, scale, out):
    """out[j, i] = x[i, j] * scale in float64, rounded to float32."""
    for top in range(0, x.shape[0], _BLOCK):
        for left in range(0, x.shape[1], _BLOCK):
            for j in range(left, min(left + _BLOCK, x.shape[1])):
                for i in range(top, min(top + _BLOCK, x.shape[0])):
                    out[j, i] = np.float32(np.float64(x[i, j]) * scale[0])
