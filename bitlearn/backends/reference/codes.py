"""First-layer codes, int8 values that are no bits: their products with gradients, and windows of images of them."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.table import kernel


def _of_codes(g, codes, first, accumulate, out):
    """A multiplication as wide as the gradient, and an addition as wide as the sum, for each term."""
    terms = g.shape[0] * out.size
    return {f"multiply {g.dtype.name}": terms, f"add {out.dtype.name}": terms}


@kernel(
    split="k",
    work=lambda g, codes, *rest: (len(g) + 64) * codes.shape[1] // 16,
    g="int8|int16[m, channels]",
    codes="int8[m, n]",
    accumulate=(False, True),
    out="int32|int64[k, n]",
    operations=_of_codes,
)
def codes_grad_weight(g, codes, first, accumulate, out):
    """out[o, j] = sum over i of g[i, first + o] * codes[i, j], added to out with accumulate.

    out is int32 where all sums fit it.
    """
    if not accumulate:
        out[...] = 0
    part = g[:, first : first + len(out)].astype(np.int64)
    out += (part.T @ codes.astype(np.int64)).astype(out.dtype)


@kernel(
    split="batch",
    # A copy a tap, of few bytes as a rule.
    work=lambda x, stride, padding, out: out[:1].size // max(1, x.shape[-1]) * (8 + x.shape[-1] // 8),
    x="int8[batch, height, width, n]",
    stride=((1, 1),),
    padding=((0, 0),),
    out="int8[batch, out_height, out_width, kernel_height, kernel_width, n]",
)
def unfold_codes(x, stride, padding, out):
    """out[b, r, c, i, j] = the pixel of x that tap (i, j) of window (r, c) sees, 0 outside the image."""
    out[...] = 0
    for r, c, i, j in np.ndindex(out.shape[1:5]):
        y, z = r * stride[0] + i - padding[0], c * stride[1] + j - padding[1]
        if 0 <= y < x.shape[1] and 0 <= z < x.shape[2]:
            out[:, r, c, i, j] = x[:, y, z]
