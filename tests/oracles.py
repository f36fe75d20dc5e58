"""Quantized numbers, convolutions and their gradients, by other means than the specification's."""

from __future__ import annotations

import numpy as np
from scipy.signal import correlate

#: A few roundings of float32, relative.
ROUNDING = 4 * 2.0**-24


def gradients(rng, *shape) -> np.ndarray:
    """Return heavy-tailed float32 values off centre."""
    return (rng.normal(size=shape) * np.exp(rng.normal(size=shape)) + 0.3).astype(np.float32)


def real(q) -> np.ndarray:
    """Return what a quantized array stands for, in float64."""
    return (q.values.astype(np.float64) - q.zero_point) * q.scale


def same_padding(size: int, taps: int, stride: int) -> tuple[int, int]:
    """Return TensorFlow's "SAME" padding before and after."""
    total = (taps - stride if size % stride == 0 else taps - size % stride) if size else 0
    total = max(total, 0)
    return total // 2, total - total // 2


def pads(image, kernel, stride, padding) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return ((top, bottom), (left, right))."""
    if padding == "same":
        return tuple(same_padding(*sizes) for sizes in zip(image, kernel, stride, strict=True))
    before = padding if isinstance(padding, tuple) else (padding, padding)
    return (before[0], before[0]), (before[1], before[1])


def pair(value) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def padded(x, kernel, stride, padding, pad_value):
    around = pads(x.shape[1:3], kernel, pair(stride), padding)
    return np.pad(x.astype(np.int64), ((0, 0), *around, (0, 0)), constant_values=pad_value)


def conv2d(x, w, stride=1, padding=0, pad_value=0):
    """x (batch, h, w, n), w (k, kh, kw, n) -> (batch, out_h, out_w, k), int64: every window, then each stride-th."""
    sh, sw = pair(stride)
    canvas = padded(x, w.shape[1:3], stride, padding, pad_value)
    rows, columns = canvas.shape[1] - w.shape[1] + 1, canvas.shape[2] - w.shape[2] + 1
    y = np.zeros((len(x), rows, columns, len(w)), dtype=np.int64)
    for b in range(len(x)):
        for o in range(len(w)):
            if x.shape[3]:
                y[b, :, :, o] = correlate(canvas[b], w[o].astype(np.int64), mode="valid", method="direct")[:, :, 0]
    return y[:, ::sh, ::sw]


def grad_input(g, w, image, stride=1, padding=0):
    """Scatter each output's gradient over its window, then cut the padding off; int64."""
    sh, sw = pair(stride)
    (top, bottom), (left, right) = pads(image, w.shape[1:3], pair(stride), padding)
    canvas = np.zeros((len(g), image[0] + top + bottom, image[1] + left + right, w.shape[3]), dtype=np.int64)
    for r in range(g.shape[1]):
        for c in range(g.shape[2]):
            window = canvas[:, r * sh : r * sh + w.shape[1], c * sw : c * sw + w.shape[2]]
            window += np.einsum("bo,oijn->bijn", g[:, r, c].astype(np.int64), w.astype(np.int64))
    return canvas[:, top : top + image[0], left : left + image[1]]


def grad_weight(g, x, kernel, stride=1, padding=0, pad_value=0):
    """Sum each window times its output's gradient; int64."""
    sh, sw = pair(stride)
    canvas = padded(x, kernel, stride, padding, pad_value)
    out = np.zeros((g.shape[3], *kernel, x.shape[3]), dtype=np.int64)
    for r in range(g.shape[1]):
        for c in range(g.shape[2]):
            window = canvas[:, r * sh : r * sh + kernel[0], c * sw : c * sw + kernel[1]]
            out += np.einsum("bo,bijn->oijn", g[:, r, c].astype(np.int64), window)
    return out
