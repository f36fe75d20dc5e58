"""First-layer codes, int8 values that are no bits: their products with gradients, and windows of images of them."""

from __future__ import annotations

import numpy as np


def codes_grad_weight(g, codes, first, accumulate, out):
    """out[o, j] = sum over i of g[i, first + o] * codes[i, j], added to out with accumulate.

    g (m, channels) int8 or int16, codes (m, n) int8, out (k, n) int64, or int32 where all sums fit it.
    """
    if not accumulate:
        out[...] = 0
    part = g[:, first : first + len(out)].astype(np.int64)
    out += (part.T @ codes.astype(np.int64)).astype(out.dtype)


def unfold_codes(x, stride, padding, out):
    """out[b, r, c, i, j] = the pixel of x that tap (i, j) of window (r, c) sees, 0 outside the image.

    x (batch, h, w, channels) int8, out (batch, out_h, out_w, kh, kw, channels) int8.
    """
    out[...] = 0
    for r, c, i, j in np.ndindex(out.shape[1:5]):
        y, z = r * stride[0] + i - padding[0], c * stride[1] + j - padding[1]
        if 0 <= y < x.shape[1] and 0 <= z < x.shape[2]:
            out[:, r, c, i, j] = x[:, y, z]


KERNELS = {function.__name__: function for function in (codes_grad_weight, unfold_codes)}
