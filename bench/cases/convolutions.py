"""Convolutions of packed images, padded with zeros to the same size."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

import bitlearn as bl
from bitlearn.panels import ROWS_WORTH_PANELS, WINDOW_WORDS

from . import Case, Shape, product, signs, words

MEANING = "batch × height × width × in × out × kernel"
#: The kernels prepared by `pack_weights`, or words as they lie.
FORMS = dict.fromkeys(("xnor_conv2d", "xnor_conv2d_sign"), ("prepared", "words"))
_SMALL = ((1, 3, 3, 64, 64, 3), (2, 16, 16, 64, 64, 3))
_FULL = (
    (1, 3, 3, 64, 64, 3),
    (10, 32, 32, 64, 64, 1),
    (10, 32, 32, 128, 128, 3),
    (100, 32, 32, 128, 128, 3),
    (100, 16, 16, 256, 256, 3),
    (100, 8, 8, 512, 512, 3),
)
GRIDS = {
    "small": dict.fromkeys(FORMS, _SMALL),
    "full": {"xnor_conv2d": _FULL, "xnor_conv2d_sign": (*_FULL[:3], _FULL[-1])},
}


def window_words(shape: Shape) -> int:
    return shape[5] ** 2 * -(-shape[3] // 64)


def takes(kernel: str, form: str, shape: Shape) -> bool:
    """Say no where the kernels are laid out in every call, or where preparing them changes nothing."""
    fits = window_words(shape) <= WINDOW_WORDS
    return fits if form == "prepared" else not fits or shape[0] * shape[1] * shape[2] < ROWS_WORTH_PANELS


def windows(height: int, width: int, size: int) -> Iterator[tuple[int, int, slice, slice]]:
    """Yield each tap of a kernel, and where it falls on images that are padded on all sides."""
    for i in range(size):
        for j in range(size):
            yield i, j, slice(i, i + height), slice(j, j + width)


def padded(x: np.ndarray, size: int) -> np.ndarray:
    """Pad images with zeros so that a result of a kernel of this size has theirs."""
    sides = ((size - 1) // 2, size // 2)
    return np.pad(x, ((0, 0), sides, sides, (0, 0)))


def make(kernel: str, form: str, shape: Shape, rng: np.random.Generator) -> Case:
    batch, height, width, n, k, size = shape
    x, w = signs(rng, batch, height, width, n), signs(rng, k, size, size, n)
    words_x, words_w = words(x > 0), words(w > 0)
    canvas = padded(x, size)
    sums = np.zeros((batch * height * width, k), dtype=np.float32)
    for i, j, rows, columns in windows(height, width, size):
        sums += product(canvas[:, rows, columns].reshape(-1, n), w[:, i, j].T)
    expected = sums.astype(np.int32).reshape(batch, height, width, k)
    weights = bl.pack_weights(words_w, n) if form == "prepared" else words_w
    threshold = rng.integers(-n, n, size=k, dtype=np.int32)
    operands = {"x": x, "w": w, "words_x": words_x, "words_w": words_w, "threshold": threshold}
    call: Callable[[], object]
    if kernel == "xnor_conv2d":
        out = np.empty_like(expected)
        call = lambda: bl.xnor_conv2d(words_x, weights, n, padding="same", out=out)  # noqa: E731
    else:
        expected = words(expected >= threshold)
        packed = np.empty_like(expected)
        call = lambda: bl.xnor_conv2d_sign(words_x, weights, n, threshold, padding="same", out=packed)  # noqa: E731
    operations = batch * height * width * size * size * n * k
    return Case(kernel, form, shape, n, operations, "bit-MAC", call, expected, operands)
