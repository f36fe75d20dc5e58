"""The packed format in plain NumPy: to words and back, counts, transposes, column panels."""

from __future__ import annotations

from bitlearn.backends.reference.bits import blocks, from_bool, to_bool, to_signs
from bitlearn.backends.table import kernel
from bitlearn.panels import to_panels


@kernel(
    split="rows",
    work=lambda x, threshold, out: 2 * x[:1].size,
    x="bool|int8|float32|float64|float16|int16|int32|int64|uint8|uint16|uint32|uint64[rows, n]",
    threshold="x[n|1]",
    out="bits[rows, n]",
    operations={"add x": 1},
)
def pack(x, threshold, out):
    """bit[..., j] = x[..., j] >= threshold[j]; NaN gives a clear bit.

    x may be (outer, rows, n) with any strides, and have any number of axes where it is C-contiguous. Of bool, the
    threshold is True, so that the bits are the values.
    """
    from_bool(x >= threshold, out)


@kernel(words="bits[rows, n]", out="int8|float32|int16|int32|int64|float16|float64[rows, n]")
def unpack(words, n, out):
    """out[i, j] = +1 where the bit is set, -1 where it is clear."""
    for i in blocks(len(words), n):
        out[i] = to_signs(words[i], n)


@kernel(
    words="uint64[outer, rows, words]", out="int64[outer, rows]", operations=lambda words, out: {"bit": 64 * words.size}
)
def popcount(words, out):
    """out[o, i] = number of set bits of row [o, i]; words with any strides."""
    n = words.shape[-1] * 64
    for outer, counts in zip(words, out, strict=True):
        for i in blocks(len(outer), n):
            counts[i] = to_bool(outer[i], n).sum(axis=-1)


@kernel(words="bits[m, n]", out="bits[n, m]")
def transpose_bits(words, n, out):
    """out bit [j, i] = words bit [i, j]."""
    from_bool(to_bool(words, n).T, out)


@kernel(b="bits[k, n]", out="panels[k, n]")
def pack_panels(b, out):
    """Lay out the rows of b as column panels (see bitlearn.panels)."""
    to_panels(b, out)
