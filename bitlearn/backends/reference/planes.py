"""Integers of few bits as bit planes, and their products with bits."""

from __future__ import annotations

import numpy as np

from bitlearn.backends.reference.bits import blocks, from_bool, to_signs
from bitlearn.backends.table import kernel
from bitlearn.panels import from_panels


def _planes(g, bits):
    """Return the planes of g (rows, n) as bools (rows, bits, n), and which values need more bits."""
    if bits == 1:
        return (g == 1)[:, None], np.abs(g.astype(np.int64)) != 1
    places = (g[:, None].astype(np.int64) >> np.arange(bits)[:, None]) & 1
    return places == 1, (g < -(2 ** (bits - 1))) | (g >= 2 ** (bits - 1))


@kernel(
    writes="out outside",
    split="m",
    g="int8[m, k]",
    bits=(2, 1, 4, 8),
    out="bits[m, bits, k]",
    outside="uint8[m]",
    operations=lambda g, bits, *rest: {"add int8": bits * g.size},
)
def split_planes(g, bits, out, outside):
    """The bit planes of the rows of g: bit[i, p, j] = bit p of g[i, j], of two's complement; of one bit, g is +-1.

    1 <= bits <= 8; outside: 1 where a row holds a value of more bits.
    """
    for i in blocks(len(g), bits * g.shape[1]):
        planes, more = _planes(g[i], bits)
        from_bool(planes, out[i])
        outside[i] = more.any(axis=1)


@kernel(
    writes="out outside",
    split="k",
    g="int8[m, channels]",
    bits=(2, 1, 4, 8),
    out="bits[k, bits, m]",
    outside="uint8[k]",
    operations=lambda g, bits, first, out, outside: {"add int8": bits * len(out) * len(g)},
)
def split_columns(g, bits, first, out, outside):
    """The bit planes of k columns of g from the first on: bit[o, p, i] = bit p of g[i, first + o].

    outside: 1 in place 64 * j where one of the columns [64 * j, 64 * j + 64) holds a value of more bits.
    """
    columns, outside[...] = g[:, first : first + len(out)].T, 0
    for i in blocks(len(out), bits * len(g)):
        planes, more = _planes(columns[i], bits)
        from_bool(planes, out[i])
        for column in np.flatnonzero(more.any(axis=1)):
            outside[(i.start + column) // 64 * 64] = 1


@kernel(
    split="m",
    work=lambda planes, panels, n, accumulate, out: planes.shape[1] * panels.size,
    planes="bits[m, bits, n]",
    panels="panels[k, n]",
    accumulate=(False, True),
    out="int32[m, k]",
    operations=lambda planes, panels, n, accumulate, out: {"bit": planes.shape[1] * n * out.size},
)
def planes_matmul(planes, panels, n, accumulate, out):
    """out[i, j] = sum over t of v[i, t] * b[j, t], added to out with accumulate, v the integers of the planes.

    planes as split_planes has them, b in panels, n < 2**24.
    """
    bits = planes.shape[1]
    b = from_panels(panels, out.shape[1], planes.shape[2])
    weights = 2 ** np.arange(bits, dtype=np.int64)
    weights[-1] *= -1
    if not accumulate:
        out[...] = 0
    for i in blocks(len(planes), bits * n):
        signs = to_signs(planes[i], n)
        values = signs[:, 0] if bits == 1 else np.einsum("p,ipj->ij", weights, (signs + 1) // 2)
        for j in blocks(len(b), n):
            out[i, j] += (values @ to_signs(b[j], n).T).astype(np.int32)


@kernel(
    split="count",
    fixed={"stride": (1, 1)},
    planes="uint64[batch, height, width, bits, words]",
    kernel=((1, 1),),
    padding=((0, 0),),
    out_size=((1, 1),),
    out="uint64[count, bits, window]",
)
def plane_windows(planes, kernel, padding, first, out_size, out):
    """The windows of some pixels of images of integers in bit planes, 0 outside an image; the stride is 1.

    kernel (kh, kw), padding (top, left) of any sign, out_size (rows, columns) of the windows, a window of kh * kw *
    words: the windows [first, first + count), line by line and image after image.
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
