"""Products of bits with bits in plain NumPy."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.reference.bits import blocks, from_bool, to_signs
from bitlearn.backends.table import kernel
from bitlearn.panels import from_panels


def _product_work(a, b, *rest):
    return b.size


def _panels_work(a, panels, *rest):
    return panels.size


def _dots(a, b, n):
    """Yield rows of a, rows of b and their dot products, a block at a time."""
    for i in blocks(len(a), n):
        for j in blocks(len(b), n):
            yield i, j, to_signs(a[i], n) @ to_signs(b[j], n).T


@kernel(split="m", work=_product_work, a="bits[m, n]", b="bits[k, n]", out="int16|int32|float32[m, k]")
def hamming(a, b, n, out):
    """out[i, j] = number of values in which row i of a and row j of b differ; n as for xnor_matmul."""
    for i, j, dots in _dots(a, b, n):
        out[i, j] = (n - dots) // 2


@kernel(split="m", work=_product_work, a="bits[m, n]", b="bits[k, n]", out="int16|int32|float32[m, k]")
def xnor_matmul(a, b, n, out):
    """out[i, j] = sum of a[i, :] * b[j, :] = n - 2 * popcount(a[i] ^ b[j]).

    n <= 32767 for int16, n < 2**24 for float32.
    """
    for i, j, dots in _dots(a, b, n):
        out[i, j] = dots


@kernel(split="m", work=_product_work, a="bits[m, n]", b="bits[k, n]", threshold="int32[k]", out="bits[m, k]")
def xnor_matmul_sign(a, b, n, threshold, out):
    """bit[i, j] = dot(i, j) >= threshold[j]."""
    for rows in blocks(len(a), len(b)):
        flags = np.empty((len(a[rows]), len(b)), dtype=bool)
        for i, j, dots in _dots(a[rows], b, n):
            flags[i, j] = dots >= threshold[j]
        from_bool(flags, out[rows])


@kernel(split="m", work=_panels_work, a="bits[m, n]", panels="panels[k, n]", out="int16|int32|float32[m, k]")
def hamming_panels(a, panels, n, out):
    """hamming with b in panels."""
    hamming(a, from_panels(panels, out.shape[1], a.shape[1]), n, out)


@kernel(split="m", work=_panels_work, a="bits[m, n]", panels="panels[k, n]", out="int16|int32|float32[m, k]")
def xnor_matmul_panels(a, panels, n, out):
    """xnor_matmul with b in panels."""
    xnor_matmul(a, from_panels(panels, out.shape[1], a.shape[1]), n, out)


@kernel(split="m", work=_panels_work, a="bits[m, n]", panels="panels[k, n]", threshold="int32[k]", out="bits[m, k]")
def xnor_matmul_sign_panels(a, panels, n, threshold, out):
    """xnor_matmul_sign with b in panels."""
    xnor_matmul_sign(a, from_panels(panels, len(threshold), a.shape[1]), n, threshold, out)
