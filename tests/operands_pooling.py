"""Arguments of the kernels that pool, made from their sizes."""

from __future__ import annotations

import numpy as np
from cases import GRADIENT_TYPES, bits, gradient, packed
from guards import filled
from making import operands
from operands_norms import SUM_TYPES, near_zero

from bitlearn.bits import WORD, words_for

#: (batch, height, width, channels, window, stride)
SIZES = [(2, 4, 6, 70, 2, 2), (1, 5, 5, 3, 2, 2), (1, 5, 4, 64, 3, 1), (1, 2, 2, 129, 2, 2), (1, 3, 3, 5, 1, 1)]
SIZES += [(0, 2, 2, 3, 2, 2), (1, 2, 2, 0, 2, 2), (2, 7, 6, 65, 3, 2), (1, 4, 4, 1, 4, 3), (1, 3, 2, 66, 5, 2)]
TYPES = (*SUM_TYPES, np.float32)


def _windows(size) -> tuple[tuple[int, ...], tuple[int, int], int]:
    """The shape of a pool's result without its channels, its window and stride, and its planes.

    Every window that begins inside, so that some are cut off.
    """
    batch, height, width, _, window, stride = size
    shape = (batch, -(-height // stride), -(-width // stride))
    return shape, (window, stride), (window * window - 1).bit_length()


def _numbers(rng, dtype, *shape: int) -> np.ndarray:
    """Numbers that tie; floats with both zeros and infinities among them."""
    if dtype != np.float32:
        return near_zero(rng, dtype, *shape)
    x = rng.integers(-3, 3, size=shape).astype(np.float32) / 8
    for special in (-0.0, np.inf, -np.inf, np.finfo(np.float32).smallest_subnormal, -1e-42):
        x[rng.random(shape) < 0.1] = special
    return x


@operands(SIZES, TYPES)
def max_pool(rng, size, dtype):
    shape, windows, _ = _windows(size)
    return _numbers(rng, dtype, *size[:4]), *windows, filled((*shape, size[3]), dtype)


@operands(SIZES, TYPES)
def max_pool_places(rng, size, dtype):
    shape, windows, planes = _windows(size)
    return _numbers(rng, dtype, *size[:4]), *windows, filled((*shape, planes, words_for(size[3])), WORD)


@operands(SIZES, GRADIENT_TYPES)
def max_pool_gradient(rng, size, dtype):
    shape, (window, stride), planes = _windows(size)
    rows, columns = (np.minimum(window, size[axis] - stride * np.arange(shape[axis])) for axis in (1, 2))
    inside = rows[:, None, None], columns[:, None]
    place = sum(
        rng.integers(0, most, size=(*shape, size[3])) * by for most, by in zip(inside, (window, 1), strict=True)
    )
    flags = np.stack([place >> p & 1 for p in range(planes)], axis=3) if planes else np.zeros((*shape, 0, size[3]))
    d = gradient(rng, dtype, *shape, size[3])
    out = np.int32 if stride < window and dtype != np.float32 else dtype
    return d, packed(2 * flags - 1), window, stride, filled(size[:4], out)


def _images(rng, size) -> np.ndarray:
    """Bits few of which are set, so that some windows have none."""
    return bits(rng, *size[:4]) & bits(rng, *size[:4]) & bits(rng, *size[:4])


@operands(SIZES)
def bit_pool(rng, size, dtype):
    shape, windows, _ = _windows(size)
    return _images(rng, size), *windows, filled((*shape, words_for(size[3])), WORD)


@operands(SIZES)
def bit_pool_places(rng, size, dtype):
    shape, windows, planes = _windows(size)
    return _images(rng, size), *windows, filled((*shape, planes, words_for(size[3])), WORD)
