"""Convolutions of bits with bits: direct loops over the taps inside the image, no unrolled copy of it."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.jit.compilation import helper, kernel, popcount_word
from bitlearn.backends.jit.packing import pack_row
from bitlearn.backends.jit.panel_convolutions import convolve, taps_inside
from bitlearn.backends.jit.products import add_mismatches


@helper
def add_popcounts(kernels, start, stop, scale, out):
    """out[j] += scale * (the number of set bits of kernels[j, start:stop])."""
    for j in range(out.size):
        run = kernels[j, start:stop]
        total = np.uint64(0)
        for t in range(run.size):
            total += popcount_word(run[t])
        out[j] += scale * np.int64(total)


@helper
def convolve_pixel(image, kernels, n, words, width, kernel_size, top, left, pad_value, out):
    """Fill the output channels `out` (k,) of the window whose first tap is at (top, left).

    image (h, width * words), kernels (k, kh * kw * words): the taps of one row of a kernel are then one run of words.
    A tap inside counts n - 2 * mismatches; one outside counts pad_value * (2 * popcount - n), the sum of its signs.
    """
    kh, kw = kernel_size
    i0, i1 = taps_inside(top, kh, image.shape[0])
    j0, j1 = taps_inside(left, kw, width)
    inside = (i1 - i0) * (j1 - j0)
    out[:] = n * (inside - pad_value * (kh * kw - inside))
    for i in range(i0, i1):
        run = image[top + i, (left + j0) * words : (left + j1) * words]
        add_mismatches(run, kernels, (i * kw + j0) * words, -2, out)
    if pad_value != 0 and inside < kh * kw:
        row = kw * words
        add_popcounts(kernels, 0, i0 * row, 2 * pad_value, out)
        for i in range(i0, i1):
            add_popcounts(kernels, i * row, i * row + j0 * words, 2 * pad_value, out)
            add_popcounts(kernels, i * row + j1 * words, (i + 1) * row, 2 * pad_value, out)
        add_popcounts(kernels, i1 * row, kh * row, 2 * pad_value, out)


@kernel
def xnor_conv2d(x, w, kernel, n, stride, padding, pad_value, out):
    """Cross-correlation of ±1 images with ±1 kernels, NHWC."""
    if w.ndim == 1:
        convolve(x, w, kernel, n, stride, padding, pad_value, out.shape[3], None, out)
    else:
        batch, h, width, words = x.shape
        images = x.reshape(batch, h, width * words)
        for b in range(batch):
            for r in range(out.shape[1]):
                top = r * stride[0] - padding[0]
                for c in range(out.shape[2]):
                    left = c * stride[1] - padding[1]
                    convolve_pixel(images[b], w, n, words, width, kernel, top, left, pad_value, out[b, r, c])


@kernel
def xnor_conv2d_sign(x, w, kernel, n, stride, padding, pad_value, threshold, out):
    """bit[b, r, c, o] = conv[b, r, c, o] >= threshold[o], of plain words a pixel at a time."""
    if w.ndim == 1:
        out[:] = 0
        convolve(x, w, kernel, n, stride, padding, pad_value, threshold.size, threshold, out)
    else:
        batch, h, width, words = x.shape
        images = x.reshape(batch, h, width * words)
        values = np.empty(threshold.size, np.int32)  # one pixel, allocated once a call
        for b in range(batch):
            for r in range(out.shape[1]):
                top = r * stride[0] - padding[0]
                for c in range(out.shape[2]):
                    left = c * stride[1] - padding[1]
                    convolve_pixel(images[b], w, n, words, width, kernel, top, left, pad_value, values)
                    pack_row(values, threshold, out[b, r, c])
