"""Convolutions with kernels in column panels: the windows of a few pixels are gathered, and are rows of a product."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.jit.compilation import helper, inlined, popcount_word
from bitlearn.backends.jit.panels import PANEL, TILE_ROWS, multiply_panel, panel_at

# Pixels whose windows are held at a time, and words of all of them: what stays in the cache.
_PIXELS, _WINDOW_WORDS = 48, 4096


@helper
def taps_inside(first, taps, size):
    """Return the range of taps inside an axis of `size` pixels, for a window whose first tap is at pixel `first`."""
    start = min(taps, max(0, -first))
    return start, max(start, min(taps, size - first))


@helper
def locate(pixel, out_shape, stride, padding):
    """Return the image of an output pixel, and where the first tap of its window lies."""
    row = pixel // out_shape[2]
    top = row % out_shape[1] * stride[0] - padding[0]
    return row // out_shape[1], top, pixel % out_shape[2] * stride[1] - padding[1]


@helper
def padded_window(kernel, n, words, pad_value):
    """Return the words of a window wholly outside the image; a true zero is gathered as -1."""
    window = np.zeros(kernel[0] * kernel[1] * words, np.uint64)
    if pad_value > 0:
        for t in range(window.size):
            window[t] = ~np.uint64(0) >> np.uint64(-n % 64 if (t + 1) % words == 0 else 0)
    return window


@helper
def gather(image, words, kernel, top, left, outside, window, inside):
    """Copy the words of the window whose first tap is at (top, left), and write down which of its taps are inside.

    image (h, w * words): the taps of one row lie side by side in it as in the window.
    """
    kh, kw = kernel
    i0, i1 = taps_inside(top, kh, image.shape[0])
    j0, j1 = taps_inside(left, kw, image.shape[1] // words if words else 0)
    if (i1 - i0) * (j1 - j0) < kh * kw:
        for t in range(window.size):
            window[t] = outside[t]
    for i in range(i0, i1):
        source = image[top + i, (left + j0) * words : (left + j1) * words]
        target = window[(i * kw + j0) * words : (i * kw + j1) * words]
        for t in range(source.size):
            target[t] = source[t]
    inside[0], inside[1], inside[2], inside[3] = i0, i1, j0, j1


@helper
def tap_popcounts(panels, columns, taps, words):
    """Return the number of set bits of each column in each tap, (taps, columns)."""
    counts = np.zeros((taps, columns), np.int32)
    for start in range(0, columns, PANEL):
        panel, width, count = panel_at(panels, start, columns, taps * words)
        for tap in range(taps):
            for p in range(tap * words, (tap + 1) * words):
                for c in range(count):
                    counts[tap, start + c] += popcount_word(panel[p * width + c])
    return counts


@inlined
def find_base(inside, n, kernel, popcounts, start, count, bases, r):
    """Fill the base of a pixel's dots: n for each tap inside, and what a true zero outside has counted given back."""
    i0, i1, j0, j1 = inside[r, 0], inside[r, 1], inside[r, 2], inside[r, 3]
    for c in range(count):
        bases[r, c] = n * (i1 - i0) * (j1 - j0)
    if (i1 - i0) * (j1 - j0) < kernel[0] * kernel[1]:
        for i in range(kernel[0]):
            for j in range(kernel[1]):
                if not (i0 <= i < i1 and j0 <= j < j1):
                    for c in range(count):
                        bases[r, c] += 2 * popcounts[i * kernel[1] + j, np.uint64(start + c)]


@helper
def convolve(x, panels, kernel, n, stride, padding, pad_value, columns, threshold, out):
    """Finish the product of all windows with all panels."""
    batch, h, w, words = x.shape
    taps = kernel[0] * kernel[1]
    pixels = batch * out.shape[1] * out.shape[2]
    images, results = x.reshape(batch, h, w * words), out.reshape(pixels, out.shape[3])
    outside = padded_window(kernel, n, words, pad_value)
    popcounts = tap_popcounts(panels, columns if pad_value == 0 else 0, taps, words)
    block = max(1, min(_PIXELS, _WINDOW_WORDS // max(outside.size, 1)))
    windows, inside = np.empty((block, outside.size), np.uint64), np.empty((block, 4), np.int64)
    counts, bases = np.empty((TILE_ROWS, PANEL), np.int32), np.full((block, PANEL), n * taps, np.int32)
    for first in range(0, pixels, block):
        held = min(block, pixels - first)
        for r in range(held):
            image, top, left = locate(first + r, out.shape, stride, padding)
            gather(images[image], words, kernel, top, left, outside, windows[r], inside[r])
        for start in range(0, columns, PANEL):
            panel, width, count = panel_at(panels, start, columns, outside.size)
            if pad_value == 0:
                for r in range(held):
                    find_base(inside, n, kernel, popcounts, start, count, bases, r)
            part = results[first : first + held]
            multiply_panel(windows[:held], panel, width, bases, counts, start, count, threshold, part)
