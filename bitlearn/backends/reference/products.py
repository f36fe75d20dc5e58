"""Products of bits with bits in plain NumPy."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.reference.bits import blocks, from_bool, to_signs
from bitlearn.backends.table import kernel
from bitlearn.panels import from_panels


def rows_of(b, k, words):
    """Return the right operand of a product, (k, words): b as it lies, or out of column panels."""
    return from_panels(b, k, words) if b.ndim == 1 else b


def _dots(a, b, n):
    """Yield rows of a, rows of b and their dot products, a block at a time."""
    for i in blocks(len(a), n):
        for j in blocks(len(b), n):
            yield i, j, to_signs(a[i], n) @ to_signs(b[j], n).T


def _work(a, b, *rest):
    return b.size


def _of_bits(a, b, n, *rest):
    """A product of bits for each term; the sign of a sum is a comparison."""
    if len(rest) == 1:
        return {"bit": n * rest[0].size}
    products = a.shape[0] * rest[0].shape[0]
    return {"bit": n * products, "add int32": products}


def _of_search(a, b, n, *rest):
    products = a.shape[0] * b.shape[0]
    return {"bit": n * products, "add int32": products}


_OPERANDS = {"split": "m", "work": _work, "a": "bits[m, n]", "b": "bits|panels[k, n]"}
_SUMS = _OPERANDS | {"function": "xnor_matmul", "out": "int16|int32|float32[m, k]"}


@kernel(**_SUMS, fixed={"mismatches": 1}, operations=_of_bits)
def hamming(a, b, n, out):
    """out[i, j] = number of values in which row i of a and row j of b differ; n as for xnor_matmul."""
    for i, j, dots in _dots(a, rows_of(b, out.shape[1], a.shape[1]), n):
        out[i, j] = (n - dots) // 2


@kernel(**_SUMS, fixed={"mismatches": 0}, operations=_of_bits)
def xnor_matmul(a, b, n, out):
    """out[i, j] = sum of a[i, :] * b[j, :] = n - 2 * popcount(a[i] ^ b[j]).

    b as it lies, or in column panels. n <= 32767 for int16, n <= 2**24 for float32.
    """
    for i, j, dots in _dots(a, rows_of(b, out.shape[1], a.shape[1]), n):
        out[i, j] = dots


@kernel(
    **_OPERANDS,
    function="xnor_matmul",
    fixed={"mismatches": 0},
    threshold="int32[k]",
    out="bits[m, k]",
    operations=_of_bits,
)
def xnor_matmul_sign(a, b, n, threshold, out):
    """bit[i, j] = dot(i, j) >= threshold[j]."""
    columns = rows_of(b, len(threshold), a.shape[1])
    for rows in blocks(len(a), len(columns)):
        flags = np.empty((len(a[rows]), len(columns)), dtype=bool)
        for i, j, dots in _dots(a[rows], columns, n):
            flags[i, j] = dots >= threshold[j]
        from_bool(flags, out[rows])


@kernel(
    writes="indices distances",
    split="m",
    work=_work,
    a="bits[m, n]",
    b="bits[k, n]",
    indices="int64[m, count]",
    distances="int32[m, count]",
    operations=_of_search,
)
def nearest(a, b, n, indices, distances):
    """The rows of b that differ from each row of a in the fewest values, of equally near ones the lower index first.

    Where b has fewer rows, the rest is -1 and the largest int32.
    """
    indices[...], distances[...] = -1, np.iinfo(np.int32).max
    counts = np.empty((len(a), len(b)), np.int32)
    hamming(a, b, n, counts)
    order = np.argsort(counts, axis=1, kind="stable")[:, : indices.shape[1]]
    indices[:, : order.shape[1]] = order
    distances[:, : order.shape[1]] = np.take_along_axis(counts, order, axis=1)
