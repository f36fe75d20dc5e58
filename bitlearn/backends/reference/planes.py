"""Integers of few bits as bit planes, and their products with bits."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.reference.bits import from_bool, to_signs
from bitlearn.panels import from_panels


def _planes(g, bits):
    """Return the planes of g (rows, n) as bools (rows, bits, n), and which values need more bits."""
    if bits == 1:
        return (g == 1)[:, None], np.abs(g.astype(np.int64)) != 1
    places = (g[:, None].astype(np.int64) >> np.arange(bits)[:, None]) & 1
    return places == 1, (g < -(2 ** (bits - 1))) | (g >= 2 ** (bits - 1))


def split_planes(g, bits, out, outside):
    """The bit planes of the rows of g: bit[i, p, j] = bit p of g[i, j], of two's complement; of one bit, g is +-1.

    g (m, k) int8, 1 <= bits <= 8, out (m, bits, ceil(k / 64)) uint64, outside (m,) uint8: 1 where a row holds a value
    of more bits.
    """
    planes, more = _planes(g, bits)
    from_bool(planes, out)
    outside[...] = more.any(axis=1)


def split_columns(g, bits, first, out, outside):
    """The bit planes of k columns of g from the first on: bit[o, p, i] = bit p of g[i, first + o].

    g (m, channels) int8, out (k, bits, ceil(m / 64)) uint64, outside (k,) uint8: 1 in place 64 * j where one of the
    columns [64 * j, 64 * j + 64) holds a value of more bits.
    """
    planes, more = _planes(g[:, first : first + len(out)].T, bits)
    from_bool(planes, out)
    outside[...] = 0
    for start in range(0, len(out), 64):
        outside[start] = more[start : start + 64].any()


def planes_matmul_panels(planes, panels, n, accumulate, out):
    """out[i, j] = sum over t of v[i, t] * b[j, t], added to out with accumulate, v the integers of the planes.

    planes (m, bits, words) as split_planes has them, b (k, words) in panels, out (m, k) int32, n < 2**24.
    """
    bits = planes.shape[1]
    b = to_signs(from_panels(panels, out.shape[1], planes.shape[2]), n)
    weights = 2 ** np.arange(bits, dtype=np.int64)
    weights[-1] *= -1
    signs = to_signs(planes, n)
    values = signs[:, 0] if bits == 1 else np.einsum("p,ipj->ij", weights, (signs + 1) // 2)
    if not accumulate:
        out[...] = 0
    out += (values @ b.T).astype(np.int32)


def plane_windows(planes, kernel, padding, first, out_size, out):
    """The windows of some pixels of images of integers in bit planes, 0 outside an image; the stride is 1.

    planes (batch, h, w, bits, words), kernel (kh, kw), padding (top, left) of any sign, out_size (rows, columns) of the
    windows, out (count, bits, kh * kw * words): the windows [first, first + count), line by line and image after image.
    """
    _batch, h, w, bits, words = planes.shape
    for index in range(len(out)):
        image, place = divmod(first + index, out_size[0] * out_size[1])
        top, left = (at - before for at, before in zip(divmod(place, out_size[1]), padding, strict=True))
        window = np.zeros((bits, *kernel, words), dtype=np.uint64)
        for i in range(max(0, -top), min(kernel[0], h - top)):
            for j in range(max(0, -left), min(kernel[1], w - left)):
                window[:, i, j] = planes[image, top + i, left + j]
        out[index] = window.reshape(bits, -1)


KERNELS = {
    function.__name__: function for function in (split_planes, split_columns, plane_windows, planes_matmul_panels)
}
