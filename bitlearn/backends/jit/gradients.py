"""Products of gradients with bits, of matrices and of convolutions, all through `add_signs`.

Sums are kept in the type of the result: int32 for int8, int64 for int16, float32. The ``_sign`` kernels sum in the
type of their threshold, int64 or float32, in one row that they allocate once a call.
"""

from __future__ import annotations

import numpy as np

from bitlearn.backends.jit.compilation import helper, kernel
from bitlearn.backends.jit.convolutions import taps_inside


@helper
def add_signs(total, g, words):
    """total[j] += g where bit j of words is set, -= g where it is clear."""
    value = total.dtype.type(g)  # widened before the sign changes: -(-128) is no int8
    for t in range(words.size):
        word = words[t]
        part = total[64 * t : 64 * t + 64]
        for j in range(part.size):
            part[j] += value if (word >> np.uint64(j)) & np.uint64(1) else -value


@helper
def pack_row_masked(values, threshold, mask, out):
    """Pack values[j] >= threshold, cleared where mask is, into the words of out."""
    for t in range(out.size):
        part = values[64 * t : 64 * t + 64]
        word = np.uint64(0)
        for j in range(part.size):
            word |= np.uint64(part[j] >= threshold) << np.uint64(j)
        out[t] = word & mask[t]


@kernel
def grad_input(g, w, n, out):
    """out[i, j] = sum over k of g[i, k] * w[k, j]."""
    for i in range(g.shape[0]):
        out[i] = 0
        for k in range(g.shape[1]):
            add_signs(out[i], g[i, k], w[k])


@kernel
def grad_weight(g, x, n, first, accumulate, out):
    """out[k, j] = sum over i of g[i, first + k] * x[i, j], added to out with accumulate."""
    if not accumulate:
        out[:] = 0
    for k in range(out.shape[0]):
        for i in range(g.shape[0]):
            add_signs(out[k], g[i, first + k], x[i])


@kernel
def grad_weight_sign(g, x, n, first, threshold, mask, out):
    """bit[k, j] = (sum over i of g[i, first + k] * x[i, j]) >= threshold[k], and clear where mask is."""
    total = np.empty(n, threshold.dtype)
    for k in range(out.shape[0]):
        total[:] = 0
        for i in range(g.shape[0]):
            add_signs(total, g[i, first + k], x[i])
        pack_row_masked(total, threshold[k], mask[k], out[k])


@kernel
def conv2d_grad_input(g, w, n, stride, padding, out):
    """The gradient of xnor_conv2d with respect to x: each output pixel is added to its window."""
    out[:] = 0
    kh, kw = w.shape[1:3]
    for b in range(g.shape[0]):
        for r in range(g.shape[1]):
            top = r * stride[0] - padding[0]
            i0, i1 = taps_inside(top, kh, out.shape[1])
            for c in range(g.shape[2]):
                left = c * stride[1] - padding[1]
                j0, j1 = taps_inside(left, kw, out.shape[2])
                for i in range(i0, i1):
                    for j in range(j0, j1):
                        for k in range(g.shape[3]):
                            add_signs(out[b, top + i, left + j], g[b, r, c, k], w[k, i, j])


@helper
def add_tap_gradient(g, x, stride, padding, pad_value, i, j, k, total):
    """Add the gradient of tap (i, j) of channel k of g to total (n,)."""
    outside = total.dtype.type(0)
    for b in range(g.shape[0]):
        for r in range(g.shape[1]):
            y = r * stride[0] + i - padding[0]
            for c in range(g.shape[2]):
                z = c * stride[1] + j - padding[1]
                if 0 <= y < x.shape[1] and 0 <= z < x.shape[2]:
                    add_signs(total, g[b, r, c, k], x[b, y, z])
                else:
                    outside += g[b, r, c, k]
    if pad_value != 0:
        padded = total.dtype.type(pad_value * outside)
        for channel in range(total.size):
            total[channel] += padded


@kernel
def conv2d_grad_weight(g, x, n, stride, padding, pad_value, first, accumulate, out):
    """The gradient of xnor_conv2d with respect to w, added to out with accumulate, a tap at a time."""
    if not accumulate:
        out[:] = 0
    for k in range(out.shape[0]):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                add_tap_gradient(g, x, stride, padding, pad_value, i, j, first + k, out[k, i, j])


@kernel
def conv2d_grad_weight_sign(g, x, n, stride, padding, pad_value, first, threshold, mask, out):
    """bit = conv2d_grad_weight >= threshold[k], and clear where mask is."""
    total = np.empty(n, threshold.dtype)
    for k in range(out.shape[0]):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                total[:] = 0
                add_tap_gradient(g, x, stride, padding, pad_value, i, j, first + k, total)
                pack_row_masked(total, threshold[k], mask[k, i, j], out[k, i, j])
