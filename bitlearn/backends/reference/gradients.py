"""Products of gradients with bits in plain NumPy.

``g`` is a gradient: int8, int16 or float32, and the result is int32, int64 or float32 respectively. Integer sums are
exact (int8 with int32: fewer than 2**24 terms). Float sums are exact to rounding only, in any order.
"""

from __future__ import annotations

import numpy as np

from bitlearn.backends.reference.bits import from_bool, to_bool, to_signs
from bitlearn.backends.reference.convolutions import padded_signs, taps
from bitlearn.backends.table import kernel


def _row_work(g, x, n, *rest):
    """Of a row of weights: to write a sum takes as long as some sixty terms."""
    return (len(g) + 64) * n // 16


def _gradient_work(g, w, n, stride, padding, out):
    return g[:1].size * w.shape[1] * w.shape[2] * n // 16


def _kernel_gradient_work(g, x, n, stride, padding, pad_value, first, *rest):
    """A channel's gradient times the values of a window."""
    return g.shape[0] * g.shape[1] * g.shape[2] * rest[-1].shape[1] * rest[-1].shape[2] * n // 16


def _wide(g):
    """The type in which a product with g is summed."""
    return g.astype(np.float32 if g.dtype.kind == "f" else np.int64)


def _product(g, signs):
    """g @ signs in g's type, in which what is too large for float32 becomes infinite: whoever asked looks for that."""
    with np.errstate(over="ignore", invalid="ignore"):
        return g @ signs.astype(g.dtype)


@kernel(
    split="m",
    work=lambda g, w, n, out: g.shape[1] * n // 16,
    g="int8|int16|float32[m, k]",
    w="bits[k, n]",
    out="int32|int64|float32[m, n] by g",
)
def grad_input(g, w, n, out):
    """out[i, j] = sum over k of g[i, k] * w[k, j]."""
    g = _wide(g)
    out[...] = _product(g, to_signs(w, n))


@kernel(
    split="k",
    work=_row_work,
    g="int8|int16|float32[m, channels]",
    x="bits[m, n]",
    accumulate=(True, False),
    out="int32|int64|float32[k, n] by g",
)
def grad_weight(g, x, n, first, accumulate, out):
    """out[o, j] = sum over i of g[i, first + o] * x[i, j], added to out with accumulate."""
    gt = _wide(g[:, first : first + len(out)]).T
    if not accumulate:
        out[...] = 0
    out += _product(gt, to_signs(x, n)).astype(out.dtype)


@kernel(
    split="k",
    work=_row_work,
    g="int8|int16|float32[m, channels]",
    x="bits[m, n]",
    threshold="int64|int64|float32[k] by g",
    mask="bits[k, n]",
    out="bits[k, n]",
)
def grad_weight_sign(g, x, n, first, threshold, mask, out):
    """bit[o, j] = (sum over i of g[i, first + o] * x[i, j]) >= threshold[o], and clear where mask is."""
    gt = _wide(g[:, first : first + len(out)]).T
    values = _product(gt, to_signs(x, n))
    from_bool((values >= threshold[:, None]) & to_bool(mask, n), out)


@kernel(
    split="batch",
    work=_gradient_work,
    g="int8|int16|float32[batch, out_h, out_w, k]",
    w="bits[k, kh, kw, n]",
    stride=((1, 1),),
    padding=((0, 0),),
    out="int32|int64|float32[batch, h, w, n] by g",
)
def conv2d_grad_input(g, w, n, stride, padding, out):
    """The gradient of xnor_conv2d with respect to x; padded positions have none."""
    g = _wide(g)
    kh, kw = w.shape[1:3]
    out_h, out_w = g.shape[1:3]
    top, left = padding
    h, width = out.shape[1:3]
    rows = max((out_h - 1) * stride[0] + kh, top + h)
    columns = max((out_w - 1) * stride[1] + kw, left + width)
    canvas = np.zeros((g.shape[0], rows, columns, n), dtype=g.dtype)
    signs = to_signs(w, n)
    for i, j, window in taps(canvas, stride, (out_h, out_w), (kh, kw)):
        window += _product(g, signs[:, i, j])
    out[...] = canvas[:, top : top + h, left : left + width]


def _conv2d_grad_weight(g, x, n, stride, padding, pad_value, first, shape):
    k, *kernel_size = shape[:3]
    batch, out_h, out_w = g.shape[:3]
    gt = _wide(g[..., first : first + k]).reshape(batch * out_h * out_w, k).T
    canvas = padded_signs(x, n, stride, padding, pad_value, (out_h, out_w), kernel_size)
    values = np.zeros((k, *kernel_size, n), dtype=gt.dtype)
    for i, j, window in taps(canvas, stride, (out_h, out_w), kernel_size):
        rows = np.ascontiguousarray(window).reshape(batch * out_h * out_w, n)
        values[:, i, j] = _product(gt, rows)
    return values


@kernel(
    split="k",
    work=_kernel_gradient_work,
    g="int8|int16|float32[batch, out_h, out_w, channels]",
    x="bits[batch, h, w, n]",
    stride=((1, 1),),
    padding=((0, 0),),
    pad_value=(0, 1, -1),
    accumulate=(True, False),
    out="int32|int64|float32[k, kh, kw, n] by g",
)
def conv2d_grad_weight(g, x, n, stride, padding, pad_value, first, accumulate, out):
    """The gradient of xnor_conv2d with respect to w, of the kernels from the first on, added to out with accumulate.

    A tap outside the image counts ``pad_value``.
    """
    if not accumulate:
        out[...] = 0
    out += _conv2d_grad_weight(g, x, n, stride, padding, pad_value, first, out.shape).astype(out.dtype)


@kernel(
    split="k",
    work=_kernel_gradient_work,
    g="int8|int16|float32[batch, out_h, out_w, channels]",
    x="bits[batch, h, w, n]",
    stride=((1, 1),),
    padding=((0, 0),),
    pad_value=(0, 1, -1),
    threshold="int64|int64|float32[k] by g",
    mask="bits[k, kh, kw, n]",
    out="bits[k, kh, kw, n]",
)
def conv2d_grad_weight_sign(g, x, n, stride, padding, pad_value, first, threshold, mask, out):
    """bit = conv2d_grad_weight >= threshold[o], and clear where mask is."""
    values = _conv2d_grad_weight(g, x, n, stride, padding, pad_value, first, out.shape)
    from_bool((values >= threshold[:, None, None, None]) & to_bool(mask, n), out)
