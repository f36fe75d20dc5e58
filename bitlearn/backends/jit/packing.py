"""The packed format: to words, back to values, counted and transposed."""

from __future__ import annotations

import numpy as np
from numba.extending import overload

from bitlearn.backends.jit.compilation import for_numbers, helper, kernel, popcount_word


@helper
def pack_row(values, threshold, out):
    """Pack values[j] >= threshold[j] into the words of out."""
    for t in range(out.size):
        part = values[64 * t : 64 * t + 64]
        limits = threshold[64 * t : 64 * t + 64]
        word = np.uint64(0)
        for j in range(part.size):
            word |= np.uint64(part[j] >= limits[j]) << np.uint64(j)
        out[t] = word


def volume(array, x):
    """Return an array, or where x is C-contiguous all its leading axes in one, and one of length 1 before them."""
    raise NotImplementedError


@overload(volume)
def _volume(array, x):
    if x.layout == "C":
        return lambda array, x: array.reshape((1, array.size // max(array.shape[-1], 1), array.shape[-1]))
    return lambda array, x: array


@helper
def is_set(value, limit, halves):
    """Say whether a value reaches a limit; `halves` is None except for float16, which comes as its bits.

    Past the magnitude of infinity is NaN, and both zeros have the same key.
    """
    if halves is None:
        return value >= limit
    size, limit_size = value & 0x7FFF, limit & 0x7FFF
    key = -size if value < 0 else size
    limit_key = -limit_size if limit < 0 else limit_size
    return size <= 0x7C00 and limit_size <= 0x7C00 and key >= limit_key


@helper
def pack_word(part, limits, halves):
    """Return the bits of up to 64 values, for one limit or one per value."""
    word = np.uint64(0)
    if limits.size == 1:
        limit = limits[0]
        for j in range(part.size):
            word |= np.uint64(is_set(part[j], limit, halves)) << np.uint64(j)
    else:
        for j in range(part.size):
            word |= np.uint64(is_set(part[j], limits[j], halves)) << np.uint64(j)
    return word


@helper
def pack_volume(values, threshold, packed, halves):
    """Pack values (outer, rows, n)."""
    outer, rows, n = values.shape
    step = min(1, threshold.size - 1)
    across = abs(values.strides[1]) < abs(values.strides[2])
    for o in range(outer):
        if across:
            # Neighbours in memory belong to different rows: one value of all rows at a time.
            packed[o] = 0
            for j in range(n):
                line, limit, shift = values[o, :, j], threshold[j * step], np.uint64(j % 64)
                column = packed[o, :, j // 64]
                for i in range(rows):
                    column[i] |= np.uint64(is_set(line[i], limit, halves)) << shift
        else:
            for i in range(rows):
                for t in range(packed.shape[2]):
                    limits = threshold[64 * t * step : 64 * t * step + 63 * step + 1]
                    packed[o, i, t] = pack_word(values[o, i, 64 * t : 64 * t + 64], limits, halves)


@kernel
def pack_halves(x, threshold, out):
    """As `pack` for float16."""
    pack_volume(volume(x, x), threshold, volume(out, x), True)


@for_numbers(pack_halves)
@kernel
def pack(x, threshold, out):
    """bit[..., j] = x[..., j] >= threshold[j]; NaN gives a clear bit."""
    pack_volume(volume(x, x), threshold, volume(out, x), None)


@helper
def unpack_rows(words, out, minus, plus):
    """Fill rows with one of two values a bit."""
    for i in range(words.shape[0]):
        for t in range(words.shape[1]):
            word = words[i, t]
            part = out[i, 64 * t : 64 * t + 64]
            for j in range(part.size):
                part[j] = plus if (word >> np.uint64(j)) & np.uint64(1) else minus


@kernel
def unpack_halves(words, n, out):
    """As `unpack` to float16."""
    unpack_rows(words, out, np.int16(-0x4400), np.int16(0x3C00))


@for_numbers(unpack_halves)
@kernel
def unpack(words, n, out):
    """out[i, j] = +1 where the bit is set, -1 where it is clear."""
    unpack_rows(words, out, -1, 1)


@kernel
def popcount(words, out):
    """out[o, i] = number of set bits of row [o, i]."""
    outer, rows, n = words.shape
    for o in range(outer):
        if abs(words.strides[1]) < abs(words.strides[2]):
            out[o] = 0
            for t in range(n):
                for i in range(rows):
                    out[o, i] += np.int64(popcount_word(words[o, i, t]))
        else:
            for i in range(rows):
                total = np.uint64(0)
                for t in range(n):
                    total += popcount_word(words[o, i, t])
                out[o, i] = total


@helper
def transpose_block(block):
    """Transpose 64 words of 64 bits in place: swap ever smaller squares (Warren, "Hacker's Delight", section 7-3)."""
    width = 32
    mask = np.uint64(0x0000_0000_FFFF_FFFF)
    while width > 0:
        shift = np.uint64(width)
        for i in range(64):
            if i & width == 0:
                difference = ((block[i] >> shift) ^ block[i + width]) & mask
                block[i] ^= difference << shift
                block[i + width] ^= difference
        width >>= 1
        mask ^= mask << np.uint64(width)


@kernel
def transpose_bits(words, n, out):
    """out bit [j, i] = words bit [i, j], by blocks of 64 by 64."""
    block = np.empty(64, np.uint64)  # Numba has no arrays on the stack: one allocation of 512 bytes a call
    for t in range(words.shape[1]):
        columns = out[64 * t : 64 * t + 64]
        for s in range(out.shape[1]):
            rows = words[64 * s : 64 * s + 64]
            block[:] = np.uint64(0)
            for i in range(rows.shape[0]):
                block[i] = rows[i, t]
            transpose_block(block)
            for j in range(columns.shape[0]):
                columns[j, s] = block[j]
