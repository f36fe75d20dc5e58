"""The gradients of convolutions on bit planes: the products of `bitlearn.ops.planes` over windows and taps."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bitlearn.bits import WORD, ones, words_for
from bitlearn.ops import planes
from bitlearn.ops.conv import Geometry
from bitlearn.ops.dispatch import bound, lookup, run
from bitlearn.ops.weights import panels_of
from bitlearn.threads import resolve

#: Words of the windows that are gathered at a time: 256 KiB a thread.
_WINDOWS = 2**15


def input_values(
    g: np.ndarray, bits: int, kernels: np.ndarray, n: int, windows: Geometry, threads: int | None
) -> Callable[[np.ndarray], None]:
    """Return what writes the gradient of images (batch, height, width, n), for stride 1.

    It is the convolution of the images of planes with the kernels flipped, outputs and inputs exchanged. Outside an
    image all planes are clear: the integer 0, which +1 and -1 alone cannot say, so that these take two planes.
    """
    if bits == 1:
        planes.check_width(g, 1)
        bits = 2
    batch, height, width, channels = g.shape
    kh, kw = kernels.shape[1:3]
    image = planes.split(g.reshape(batch * height * width, channels), bits, columns=False, threads=threads)
    image = image.reshape(batch, height, width, bits, words_for(channels))
    flipped = np.empty((n, kh, kw, words_for(channels)), dtype=WORD)
    tap = np.empty((n, words_for(channels)), dtype=WORD)
    for i in range(kh):
        for j in range(kw):
            run("transpose_bits", (np.ascontiguousarray(kernels[:, i, j]), n, tap))
            flipped[:, kh - 1 - i, kw - 1 - j] = tap
    depth = kh * kw * words_for(channels)
    product = bound(lookup("planes_matmul"), panels_of(flipped.reshape(n, depth)), once=True)
    padding = kh - 1 - windows.padding[0], kw - 1 - windows.padding[1]
    step = max(16, _WINDOWS * resolve(threads) // (bits * max(depth, 1)) // 16 * 16)

    def write(out: np.ndarray) -> None:
        size, pixels = out.shape[1:3], out.reshape(math.prod(out.shape[:3]), n)
        gathered = np.empty((min(step, len(pixels)), bits, depth), dtype=WORD)
        for start in range(0, len(pixels), step):
            into = pixels[start : start + step]
            rows = gathered[: len(into)]
            run("plane_windows", (image, (kh, kw), padding, start, size, rows), threads=threads)
            run(product, (rows, kh * kw * channels, False, into), threads=threads)

    return write


def _canvas(x: np.ndarray, n: int, size: tuple[int, int], windows: Geometry) -> np.ndarray:
    """Return images padded as far as the windows reach: with -1, or +1 where they are padded with that."""
    (top, left), (height, width) = windows.padding, x.shape[1:3]
    need = [
        max((o - 1) * s + k, before + old)
        for o, s, k, before, old in zip(
            windows.out_size, windows.stride, size, windows.padding, (height, width), strict=True
        )
    ]
    canvas = np.zeros((len(x), *need, x.shape[3]), dtype=WORD)
    if windows.pad_value == 1:
        canvas[...] = ones((1,), n)
    canvas[:, top : top + height, left : left + width] = x
    return canvas


def _pixels(images: np.ndarray) -> np.ndarray:
    """Return (batch, height, width, channels) as (pixels, channels), in C order: `reshape` alone may leave a view."""
    return np.ascontiguousarray(images.reshape(math.prod(images.shape[:3]), images.shape[3]))


def _outside(extent: int, tap: int, stride: int, padding: int, size: int) -> list[int]:
    """Return the output positions whose tap lies outside the image along an axis of `size`."""
    return [at for at in range(extent) if not 0 <= at * stride + tap - padding < size]


class WeightPlanes:
    """The gradient of the kernels (channels, kh, kw, n): a product a tap, over all pixels.

    A true zero outside an image is counted as -1, and what that took from a sum is given back.
    """

    def __init__(
        self,
        g: np.ndarray,
        bits: int,
        x: np.ndarray,
        n: int,
        size: tuple[int, int],
        windows: Geometry,
        threads: int | None,
    ) -> None:
        self.g, self.x, self.n, self.size, self.windows, self.threads = g, x, n, size, windows, threads
        pixels = windows.out_size[0] * windows.out_size[1]
        step = max(1, planes.TERMS // max(pixels, 1))
        self.images = [slice(start, start + step) for start in range(0, len(g), step)]
        self.chunks = [planes.split(_pixels(g[each]), bits, columns=True, threads=threads) for each in self.images]

    def values(self, accumulate: bool, out: np.ndarray) -> None:
        """Write the sums to `out` int32, or add them."""
        out_h, out_w = self.windows.out_size
        (down, right), (kh, kw) = self.windows.stride, self.size
        if not accumulate and not self.chunks:
            out[...] = 0
        sums = np.empty((len(out), self.n), dtype=np.int32)
        given_back = self._given_back(len(out))
        for index, (images, chunk) in enumerate(zip(self.images, self.chunks, strict=True)):
            canvas = _canvas(self.x[images], self.n, self.size, self.windows)
            for i in range(kh):
                for j in range(kw):
                    seen = canvas[:, i : i + down * out_h : down, j : j + right * out_w : right]
                    seen = _pixels(seen[:, :out_h, :out_w])
                    planes.product_with(seen, self.n, self.threads)(chunk, False, sums)
                    if index == 0 and given_back is not None:
                        sums += given_back[i, j][:, None]
                    if accumulate or index > 0:
                        out[:, i, j] += sums
                    else:
                        out[:, i, j] = sums

    def _given_back(self, channels: int) -> np.ndarray | None:
        """Return (kh, kw, channels) int32: the gradient of the positions whose tap lies outside, summed."""
        if self.windows.pad_value:
            return None
        sums = np.zeros((*self.size, channels), dtype=np.int32)
        lines: dict[tuple[int, int], np.ndarray] = {}

        def line(axis: int, at: int) -> np.ndarray:
            """Return the gradient of a row (axis 1) or column of output positions, summed over the images."""
            if (axis, at) not in lines:
                lines[axis, at] = self.g.take(at, axis=axis).sum(axis=0, dtype=np.int32)
            return lines[axis, at]

        out_h, out_w = self.windows.out_size
        for i in range(self.size[0]):
            rows = _outside(out_h, i, self.windows.stride[0], self.windows.padding[0], self.x.shape[1])
            others = [row for row in range(out_h) if row not in rows]
            for j in range(self.size[1]):
                columns = _outside(out_w, j, self.windows.stride[1], self.windows.padding[1], self.x.shape[2])
                parts = [line(1, row).sum(axis=0) for row in rows]
                parts += [line(2, column)[others].sum(axis=0) for column in columns]
                for part in parts:
                    sums[i, j] += part.astype(np.int32)
        return sums
