"""What is done to whole arrays between the layers: copies, sums, signs of real values, the products of a real head."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.reference.bits import from_bool, to_bool
from bitlearn.backends.table import kernel


@kernel(split="rows", x="int8|int16|float32|int32|int64|uint8|uint64|float16|float64[rows, n]", out="x[rows, n]")
def copy(x, out):
    """out = x."""
    out[...] = x


@kernel(split="rows", x="int32[rows, n]", out="int16[rows, n]")
def cast(x, out):
    """out = x, whose values int16 holds."""
    out[...] = x


@kernel(a="float64[n]", b="float64[1]", out="float64[n]", operations={"multiply float64": 1})
def multiply_scales(a, b, out):
    """out[i] = a[i] * b[0]."""
    out[...] = a * b[0]


@kernel(writes="finite", split="rows", x="float32|float16[rows, n]", finite="uint8[1]", operations={"add x": 1})
def all_finite(x, finite):
    """finite = 0 where a value is NaN or infinite, else it stays."""
    if not np.isfinite(x).all():
        finite[0] = 0


@kernel(
    writes="out finite",
    split="rows",
    x="float32|float16[rows, n]",
    out="bits[rows, n]",
    finite="uint8[1]",
    operations={"add x": 2},
)
def pack_finite(x, out, finite):
    """bit[i, j] = x[i, j] >= 0, clear for NaN; finite = 0 where a value is NaN or infinite, else it stays."""
    from_bool(x >= 0, out)
    if not np.isfinite(x).all():
        finite[0] = 0


@kernel(
    split="rows",
    a="int8|int16|float32[rows, n]",
    scale_a="float64[1]",
    b="int8|int16|float32[rows, n]",
    scale_b="float64[1]",
    out="float32[rows, n]",
    operations={"multiply float32": 2, "add float32": 1},
)
def add_scaled(a, scale_a, b, scale_b, out):
    """out = a * scale_a + b * scale_b in float32."""
    out[...] = a.astype(np.float32) * np.float32(scale_a[0]) + b.astype(np.float32) * np.float32(scale_b[0])


@kernel(split="rows", d="int8|int16|float32[rows, n]", mask="bits[rows, n]", out="d[rows, n]")
def mask_gradient(d, mask, out):
    """out = d where its bit in mask is set, else 0."""
    out[...] = np.where(to_bool(mask, d.shape[1]), d, d.dtype.type(0))


@kernel(
    writes="signs mask",
    split="rows",
    x="float32[rows, n]",
    clip=(1.0, 0.1, np.inf),
    signs="bits[rows, n]",
    mask="bits[rows, n]",
    operations={"add float32": 2},
)
def sign_values(x, clip, signs, mask):
    """Bits signs = x >= 0 and mask = |x| <= clip; NaN gives 0."""
    from_bool(x >= 0, signs)
    from_bool(np.abs(x) <= np.float32(clip), mask)


@kernel(
    split="rows",
    d="int8|int16|float32[rows, n]",
    scale="float64[1]",
    x="float32[rows, n]",
    out="float32[rows, n]",
    operations={"multiply float32": 3, "add float32": 2},
)
def approximate_sign_gradient(d, scale, x, out):
    """out = d * scale * max(2 - 2 |x|, 0) in float32: the derivative of a piecewise quadratic sign."""
    slope = np.maximum(np.float32(2) - np.float32(2) * np.abs(x), np.float32(0))
    out[...] = (d.astype(np.float32) * np.float32(scale[0])) * slope


def _of_integers(g, w, out):
    """A multiplication as wide as the wider factor, and an addition, for each term."""
    wider = max(g.dtype, w.dtype, key=lambda kind: kind.itemsize)
    return {f"multiply {wider.name}": g.size * w.shape[1], "add int64": g.size * w.shape[1]}


@kernel(
    split="m",
    work=lambda g, w, out: w.size // 4,
    g="int8|int16[m, k]",
    w="int8|int16[k, n]",
    out="int64[m, n]",
    operations=_of_integers,
)
def integer_product(g, w, out):
    """out[i, j] = sum over k of g[i, k] * w[k, j]."""
    out[...] = g.astype(np.int64) @ w.astype(np.int64)


@kernel(
    split="rows",
    x="int32|int64[rows, n]",
    scale="float64[rows|1]",
    out="float32[rows, n]",
    operations={"multiply float64": 1},
)
def scale_sums(x, scale, out):
    """out[i] = x[i] * scale[i] in float64, rounded to float32."""
    out[...] = x * scale[:, None]


@kernel(x="int32|int64|float32[m, n]", scale="float64[1]", out="float32[n, m]", operations={"multiply float64": 1})
def scaled_transpose(x, scale, out):
    """out[j, i] = x[i, j] * scale in float64, rounded to float32."""
    out[...] = (x * scale[0]).T
