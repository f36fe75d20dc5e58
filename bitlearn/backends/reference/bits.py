"""Between words and what the specification computes with: booleans and signs."""

from __future__ import annotations

import numpy as np

from bitlearn.bits import WORD, words_for


def to_bool(words, n):
    """(..., words) -> (..., n) bool."""
    if n == 0:
        return np.zeros((*words.shape[:-1], 0), dtype=bool)
    as_bytes = np.ascontiguousarray(words).astype(WORD, copy=False).view(np.uint8)
    return np.unpackbits(as_bytes, axis=-1, count=n, bitorder="little").astype(bool)


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


# --- the packed format -----------------------------------------------------------------------------------------------
