"""Between words and what the specification computes with: booleans and signs."""

from __future__ import annotations

import numpy as np

from bitlearn.bits import WORD, words_for

#: Values that are unpacked at a time: they are computed with in 8 bytes each, where the words take a bit.
BLOCK_VALUES = 2**16


def blocks(count, width):
    """Yield slices that cover range(count): as many rows of `width` values as make a block, at least one."""
    step = max(1, BLOCK_VALUES // max(width, 1))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def to_bool(words, n):
    """(..., words) -> (..., n) bool."""
    if n == 0:
        return np.zeros((*words.shape[:-1], 0), dtype=bool)
    as_bytes = np.ascontiguousarray(words).astype(WORD, copy=False).view(np.uint8)
    return np.unpackbits(as_bytes, axis=-1, count=n, bitorder="little").view(bool)


def to_signs(words, n):
    """(..., words) -> (..., n) int64 of -1 and +1."""
    return np.where(to_bool(words, n), np.int64(1), np.int64(-1))


def from_bool(flags, out):
    """(..., n) bool -> out (..., words), tail bits zero."""
    n = flags.shape[-1]
    padded = np.zeros((*flags.shape[:-1], words_for(n) * 8), dtype=np.uint8)
    packed = np.packbits(flags, axis=-1, bitorder="little")
    padded[..., : packed.shape[-1]] = packed
    out[...] = padded.view(WORD)
