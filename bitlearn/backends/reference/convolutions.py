"""Convolutions of bits with bits in plain NumPy, images NHWC."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.reference.bits import blocks, from_bool, to_signs
from bitlearn.backends.reference.products import rows_of
from bitlearn.backends.table import kernel


def padded_signs(image, n, stride, padding, pad_value, out_size, kernel_size):
    """image (h, w, words) -> (rows, columns, n) int8, padded on all sides as far as the windows reach."""
    h, w = image.shape[:2]
    need = [(o - 1) * s + k for o, s, k in zip(out_size, stride, kernel_size, strict=True)]
    top, left = padding
    canvas = np.full((max(need[0], top + h), max(need[1], left + w), n), pad_value, dtype=np.int8)
    for line, words in zip(canvas[top : top + h, left : left + w], image, strict=True):
        line[...] = to_signs(words, n)
    return canvas


def taps(canvas, stride, out_size, kernel_size):
    """Yield (i, j, window): window (out_h, out_w, n) holds the values under tap (i, j) of the kernel."""
    for i in range(kernel_size[0]):
        for j in range(kernel_size[1]):
            yield i, j, canvas[i :: stride[0], j :: stride[1]][: out_size[0], : out_size[1]]


def _conv2d(x, w, kernel_size, n, stride, padding, pad_value, k, out_size):
    """Yield the convolution of each image (out_h, out_w, k)."""
    words = rows_of(w, k, kernel_size[0] * kernel_size[1] * x.shape[3]).reshape(k, *kernel_size, x.shape[3])
    for image in x:
        canvas = padded_signs(image, n, stride, padding, pad_value, out_size, kernel_size)
        y = np.zeros((*out_size, k), dtype=np.int64)
        for i, j, window in taps(canvas, stride, out_size, kernel_size):
            for rows in blocks(out_size[0], out_size[1] * n):
                for o in blocks(k, n):
                    y[rows, :, o] += window[rows].astype(np.int64) @ to_signs(words[o, i, j], n).T
        yield y


def _work(x, w, *rest):
    """Words of weights times the positions of a result."""
    return w.size * rest[-1].shape[1] * rest[-1].shape[2]


def _of_bits(x, w, kernel, n, stride, padding, pad_value, *rest):
    """A product of bits for each term of a window, padded ones among them; the sign of a sum is a comparison."""
    *threshold, out = rest
    terms = kernel[0] * kernel[1] * n
    if not threshold:
        return {"bit": terms * out.size}
    sums = out.shape[0] * out.shape[1] * out.shape[2] * threshold[0].shape[0]
    return {"bit": terms * sums, "add int32": sums}


_OPERANDS = {
    "split": "batch",
    "work": _work,
    "function": "xnor_conv2d",
    "x": "bits[batch, height, width, n]",
    "w": "bits|panels[out_channels, window]",
    "kernel": ((1, 1),),
    "stride": ((1, 1),),
    "padding": ((0, 0),),
    "pad_value": (0, 1, -1),
}


@kernel(**_OPERANDS, out="int16|int32|float32[batch, out_height, out_width, out_channels]", operations=_of_bits)
def xnor_conv2d(x, w, kernel, n, stride, padding, pad_value, out):
    """Cross-correlation of ±1 images with ±1 kernels, NHWC.

    w has a row for each kernel, (k, kh * kw * words), as it lies or in column panels; kernel (kh, kw), stride (rows,
    columns), padding (top, left), pad_value 0, +1 or -1. The bottom and right padding follow from the size of ``out``.
    out[b, r, c, o] = sum over taps (i, j) and channels of x[b, r * stride + i - top, ...] * w[o, i, j]; a tap outside
    the image counts ``pad_value`` in every channel.
    """
    found = _conv2d(x, w, kernel, n, stride, padding, pad_value, out.shape[3], out.shape[1:3])
    for result, y in zip(out, found, strict=True):
        result[...] = y


@kernel(
    **_OPERANDS,
    threshold="int32[out_channels]",
    out="bits[batch, out_height, out_width, out_channels]",
    operations=_of_bits,
)
def xnor_conv2d_sign(x, w, kernel, n, stride, padding, pad_value, threshold, out):
    """bit[b, r, c, o] = conv[b, r, c, o] >= threshold[o]."""
    found = _conv2d(x, w, kernel, n, stride, padding, pad_value, len(threshold), out.shape[1:3])
    for result, y in zip(out, found, strict=True):
        from_bool(y >= threshold, result)
