"""The packed format: to words, back to values, counted and transposed."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.jit.compilation import helper, kernel, popcount_word


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


@kernel
def pack(x, threshold, out):
    """bit[i, j] = x[i, j] >= threshold[j]; NaN gives a clear bit."""
    for i in range(x.shape[0]):
        pack_row(x[i], threshold, out[i])


@kernel
def pack_bool(x, out):
    """bit[i, j] = x[i, j]."""
    for i in range(x.shape[0]):
        for t in range(out.shape[1]):
            part = x[i, 64 * t : 64 * t + 64]
            word = np.uint64(0)
            for j in range(part.size):
                word |= np.uint64(part[j]) << np.uint64(j)
            out[i, t] = word


@kernel
def unpack(words, n, out):
    """out[i, j] = +1 where the bit is set, -1 where it is clear."""
    for i in range(words.shape[0]):
        for t in range(words.shape[1]):
            word = words[i, t]
            part = out[i, 64 * t : 64 * t + 64]
            for j in range(part.size):
                part[j] = 2 * np.int8((word >> np.uint64(j)) & np.uint64(1)) - 1


@kernel
def popcount(words, out):
    """out[i] = number of set bits of row i."""
    for i in range(words.shape[0]):
        total = np.uint64(0)
        for t in range(words.shape[1]):
            total += popcount_word(words[i, t])
        out[i] = total


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
