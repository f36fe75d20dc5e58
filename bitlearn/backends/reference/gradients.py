"""Products of gradients with bits in plain NumPy.

``g`` is a gradient: int8, int16 or float32, and the result is int32, int64 or float32 respectively. Integer sums are
exact (int8 with int32: fewer than 2**24 terms). Float sums are exact to rounding only, in any order.
"""

from __future__ import annotations

import numpy as np

from bitlearn.backends.reference.bits import blocks, from_bool, to_bool, to_signs
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


def _added(terms, kind):
    """An addition or a subtraction for each term, as wide as the sum."""
    return {f"add {np.dtype(kind).name}": terms}


def _signed(terms, signs, kind):
    """The same, and a comparison for each sum whose sign is kept."""
    return {f"add {np.dtype(kind).name}": terms + signs}


def _of_input(g, w, n, out):
    return _added(g.size * n, out.dtype)


def _of_weight(g, x, n, first, accumulate, out):
    return _added(g.shape[0] * out.size, out.dtype)


def _of_weight_sign(g, x, n, first, threshold, mask, out):
    return _signed(g.shape[0] * threshold.shape[0] * n, threshold.shape[0] * n, threshold.dtype)


def _of_images(g, w, n, stride, padding, out):
    return _added(g.size * w.shape[1] * w.shape[2] * n, out.dtype)


def _of_kernels(g, x, n, stride, padding, pad_value, first, accumulate, out):
    return _added(g.shape[0] * g.shape[1] * g.shape[2] * out.size, out.dtype)


def _of_kernels_sign(g, x, n, stride, padding, pad_value, first, threshold, mask, out):
    signs = threshold.shape[0] * out.shape[1] * out.shape[2] * n
    return _signed(g.shape[0] * g.shape[1] * g.shape[2] * signs, signs, threshold.dtype)


def _total(g):
    """The type in which a product with g is summed."""
    return np.dtype(np.float32 if g.dtype.kind == "f" else np.int64)


def _add(g, signs, out):
    """Add g @ signs to out. What is too large for float32 becomes infinite: whoever asked looks for that."""
    with np.errstate(over="ignore", invalid="ignore"):
        out += (g.astype(_total(g)) @ signs.astype(_total(g))).astype(out.dtype)


@kernel(
    split="m",
    work=lambda g, w, n, out: g.shape[1] * n // 16,
    g="int8|int16|float32[m, k]",
    w="bits[k, n]",
    out="int32|int64|float32[m, n] by g",
    operations=_of_input,
)
def grad_input(g, w, n, out):
    """out[i, j] = sum over k of g[i, k] * w[k, j]."""
    out[...] = 0
    for j in blocks(len(w), n):
        signs = to_signs(w[j], n)
        for i in blocks(len(g), n):
            _add(g[i, j], signs, out[i])


@kernel(
    split="k",
    work=_row_work,
    g="int8|int16|float32[m, channels]",
    x="bits[m, n]",
    accumulate=(True, False),
    out="int32|int64|float32[k, n] by g",
    operations=_of_weight,
)
def grad_weight(g, x, n, first, accumulate, out):
    """out[o, j] = sum over i of g[i, first + o] * x[i, j], added to out with accumulate."""
    if not accumulate:
        out[...] = 0
    for i in blocks(len(x), n):
        signs = to_signs(x[i], n)
        for o in blocks(len(out), n):
            _add(g[i, first + o.start : first + o.stop].T, signs, out[o])


@kernel(
    split="k",
    work=_row_work,
    g="int8|int16|float32[m, channels]",
    x="bits[m, n]",
    threshold="int64|int64|float32[k] by g",
    mask="bits[k, n]",
    out="bits[k, n]",
    operations=_of_weight_sign,
)
def grad_weight_sign(g, x, n, first, threshold, mask, out):
    """bit[o, j] = (sum over i of g[i, first + o] * x[i, j]) >= threshold[o], and clear where mask is."""
    for o in blocks(len(out), n):
        values = np.empty((len(out[o]), n), dtype=_total(g))
        grad_weight(g, x, n, first + o.start, False, values)
        from_bool((values >= threshold[o, None]) & to_bool(mask[o], n), out[o])


@kernel(
    split="batch",
    work=_gradient_work,
    g="int8|int16|float32[batch, out_height, out_width, out_channels]",
    w="bits[out_channels, kernel_height, kernel_width, n]",
    stride=((1, 1),),
    padding=((0, 0),),
    out="int32|int64|float32[batch, height, width, n] by g",
    operations=_of_images,
)
def conv2d_grad_input(g, w, n, stride, padding, out):
    """The gradient of xnor_conv2d with respect to x; padded positions have none."""
    kh, kw = w.shape[1:3]
    out_h, out_w = g.shape[1:3]
    top, left = padding
    h, width = out.shape[1:3]
    rows = max((out_h - 1) * stride[0] + kh, top + h)
    columns = max((out_w - 1) * stride[1] + kw, left + width)
    for image, result in zip(g, out, strict=True):
        canvas = np.zeros((rows, columns, n), dtype=_total(g))
        for i, j, window in taps(canvas, stride, (out_h, out_w), (kh, kw)):
            for o in blocks(len(w), n):
                signs = to_signs(w[o, i, j], n)
                for r in blocks(out_h, out_w * n):
                    _add(image[r, :, o], signs, window[r])
        result[...] = canvas[top : top + h, left : left + width]


@kernel(
    split="k",
    work=_kernel_gradient_work,
    g="int8|int16|float32[batch, out_height, out_width, out_channels]",
    x="bits[batch, height, width, n]",
    stride=((1, 1),),
    padding=((0, 0),),
    pad_value=(0, 1, -1),
    accumulate=(True, False),
    out="int32|int64|float32[k, kernel_height, kernel_width, n] by g",
    operations=_of_kernels,
)
def conv2d_grad_weight(g, x, n, stride, padding, pad_value, first, accumulate, out):
    """The gradient of xnor_conv2d with respect to w, of the kernels from the first on, added to out with accumulate.

    A tap outside the image counts ``pad_value``.
    """
    if not accumulate:
        out[...] = 0
    out_size, kernel_size = g.shape[1:3], out.shape[1:3]
    for maps, image in zip(g[..., first : first + len(out)], x, strict=True):
        canvas = padded_signs(image, n, stride, padding, pad_value, out_size, kernel_size)
        for i, j, window in taps(canvas, stride, out_size, kernel_size):
            for r in blocks(out_size[0], out_size[1] * n):
                pixels = len(maps[r]) * out_size[1]
                _add(maps[r].reshape(pixels, len(out)).T, window[r].reshape(pixels, n), out[:, i, j])


@kernel(
    split="k",
    work=_kernel_gradient_work,
    g="int8|int16|float32[batch, out_height, out_width, out_channels]",
    x="bits[batch, height, width, n]",
    stride=((1, 1),),
    padding=((0, 0),),
    pad_value=(0, 1, -1),
    threshold="int64|int64|float32[k] by g",
    mask="bits[k, kernel_height, kernel_width, n]",
    out="bits[k, kernel_height, kernel_width, n]",
    operations=_of_kernels_sign,
)
def conv2d_grad_weight_sign(g, x, n, stride, padding, pad_value, first, threshold, mask, out):
    """bit = conv2d_grad_weight >= threshold[o], and clear where mask is."""
    for o in blocks(len(out), out.shape[1] * out.shape[2] * n):
        values = np.empty((len(out[o]), *out.shape[1:3], n), dtype=_total(g))
        conv2d_grad_weight(g, x, n, stride, padding, pad_value, first + o.start, False, values)
        from_bool((values >= threshold[o, None, None, None]) & to_bool(mask[o], n), out[o])
