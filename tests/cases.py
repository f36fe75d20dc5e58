"""The one place where sizes are chosen, and random operands of those sizes are drawn."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from bitlearn.bits import words_for

SEED_VARIABLE = "BITLEARN_TEST_SEED"
DEFAULT_SEED = 20260801

#: Either side of no value, one value, one word and two words.
EDGES = (0, 1, 63, 64, 65, 127, 128, 129)
#: Past the blocks of every variant (512 bits and 8 rows at the widest), and a multiple of none.
LARGE = 1091
SIZES = (*EDGES, LARGE)

#: More threads than rows, an odd number, and the usual ones.
THREADS = (1, 2, 3, 5)

#: Thresholds that no int32 subtraction survives.
INT32_LIMITS = (-(2**31), 2**31 - 1)

#: Float gradients are small multiples of this, so that their sums are exact in any order.
UNIT = np.float32(2.0**-10)
GRADIENT_TYPES = (np.int8, np.int16, np.float32)


def seed() -> int:
    """Return the seed of every random operand."""
    return int(os.environ.get(SEED_VARIABLE, DEFAULT_SEED))


def star(*usual: int, sizes: tuple[int, ...] = SIZES) -> list[tuple[int, ...]]:
    """Return shapes in which one axis takes each size while the others keep theirs.

    >>> star(3, 5, sizes=(0, 1))
    [(0, 5), (1, 5), (3, 0), (3, 1)]
    """
    return [(*usual[:i], size, *usual[i + 1 :]) for i in range(len(usual)) for size in sizes]


#: (rows, values a row)
MATRICES = star(5, 70)
#: (rows of a, rows of b, n)
PRODUCTS = [*star(5, 7, 70), (67, 131, 517)]
#: The gradients of the products: (rows of g, columns of g, n)
GRADIENTS = [*star(5, 7, 70), (67, 131, 517), (33, 128, 65), (129, 260, 3), (300, 48, 66)]


@dataclass(frozen=True)
class Conv:
    """The sizes of a convolution; `padding` is (top, left) and `out` what the caller asks for."""

    batch: int
    image: tuple[int, int]
    n: int
    k: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    out: tuple[int, int]


def conv(batch, image, n, k, kernel, stride=1, padding=0) -> Conv:
    """Return a convolution padded alike on both sides, its result's size worked out."""
    stride = stride if isinstance(stride, tuple) else (stride, stride)
    padding = padding if isinstance(padding, tuple) else (padding, padding)
    out = [(i + 2 * p - t) // s + 1 for i, p, t, s in zip(image, padding, kernel, stride, strict=True)]
    return Conv(batch, image, n, k, kernel, stride, padding, (out[0], out[1]))


CONVOLUTIONS = [
    conv(2, (5, 7), 70, 5, (3, 3)),
    *[conv(2, (7, 5), n, 3, (3, 2), 1, 1) for n in EDGES],
    *[conv(2, (4, 5), 3, k, (2, 3), 1, (0, 1)) for k in EDGES],
    conv(0, (5, 7), 70, 5, (3, 3)),
    conv(1, (5, 7), 70, 5, (3, 3), 1, 2),
    conv(3, (7, 9), 65, 9, (3, 3), 2, 1),
    conv(2, (9, 7), 33, 9, (3, 3), 3, 1),
    conv(2, (8, 9), 64, 4, (2, 3), (2, 3), (1, 0)),
    conv(2, (9, 8), 20, 4, (3, 1), (1, 2), (0, 2)),  # a one-pixel-wide kernel whose outer windows miss the image
    conv(2, (5, 4), 129, 66, (1, 1)),
    conv(1, (9, 20), 66, 68, (3, 3), 1, 1),  # whole tiles of rows, in one piece and in several
    conv(2, (5, 4), 12, 7, (1, 1), 2, 2),  # and one of which every other window does
    conv(1, (2, 3), 10, 3, (5, 5), 1, 2),  # a kernel larger than the image
    conv(1, (1, 1), 66, 2, (3, 3), 1, 1),
    conv(1, (3, 3), 5, 2, (3, 3), 5, 4),
    conv(2, (11, 13), 260, 40, (3, 3), 1, 1),
    conv(1, (3, 4), 1930, 70, (3, 3), 1, 1),  # windows and channels past the blocks of every variant
    # "same" pads less before than after, or less than the stride leaves over.
    Conv(2, (6, 5), 40, 4, (2, 4), (1, 1), (0, 1), (6, 5)),
    Conv(2, (6, 7), 40, 4, (3, 3), (2, 2), (0, 1), (3, 4)),
    Conv(1, (7, 7), 9, 3, (1, 1), (3, 2), (0, 0), (3, 4)),
]


def signs(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Return random ±1 values, each row with a share of +1 of its own, so that no two rows or columns look alike."""
    share = rng.uniform(0.1, 0.9, size=(*shape[:-1], 1))
    return np.where(rng.random(shape) < share, 1, -1).astype(np.int8)


def packed(values: np.ndarray) -> np.ndarray:
    """Pack ±1 values by NumPy alone: the oracle of the format."""
    n = values.shape[-1]
    as_bytes = np.zeros((*values.shape[:-1], words_for(n) * 8), dtype=np.uint8)
    as_bytes[..., : -(-n // 8)] = np.packbits(values >= 0, axis=-1, bitorder="little")
    return as_bytes.view("<u8")


def words(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Return packed random values; the last size counts values."""
    return packed(signs(rng, *shape))


def bits(rng, *shape: int) -> np.ndarray:
    """Return packed random values, some rows of which are all +1 or all -1: the largest sums there are."""
    values = words(rng, *shape)
    values[rng.random(shape[:-1]) < 0.1] = 0
    full = words(rng, *shape) | ~np.uint64(0)
    if shape[-1] % 64:
        full[..., -1] = (1 << shape[-1] % 64) - 1
    every = rng.random(shape[:-1]) < 0.1
    values[every] = full[every]
    return values


def integers(rng: np.random.Generator, dtype: type, *shape: int) -> np.ndarray:
    """Return random integers of the whole range of `dtype`, both ends among them, off centre in each row."""
    info = np.iinfo(dtype)
    values = rng.integers(info.min, info.max, size=shape, endpoint=True, dtype=np.int64)
    values += rng.integers(info.min // 2, info.max // 2, size=(*shape[:-1], 1))
    values[rng.random(shape) < 0.05] = info.min
    return values.clip(info.min, info.max).astype(dtype)


def gradient(rng, dtype, *shape: int) -> np.ndarray:
    return integers(rng, np.int8, *shape) * UNIT if dtype == np.float32 else integers(rng, dtype, *shape)


def thresholds(rng, k: int) -> np.ndarray:
    """Thresholds of dots: near zero, and the two limits of int32."""
    threshold = rng.integers(-20, 20, size=k).astype(np.int32)
    threshold[rng.random(k) < 0.1] = INT32_LIMITS[0]
    threshold[rng.random(k) < 0.1] = INT32_LIMITS[1]
    return threshold


def reals(rng, dtype, *shape: int) -> np.ndarray:
    """Return floats of every magnitude, with infinities, NaN, both zeros, and numbers below the normal ones."""
    info = np.finfo(dtype)
    x = rng.normal(size=shape).astype(dtype)
    for special in (np.nan, np.inf, -np.inf, 0.0, -0.0, info.max, info.min, info.smallest_subnormal):
        x[rng.random(shape) < 0.05] = special
    return x


def tails_are_zero(array: np.ndarray, n: int) -> bool:
    """Say whether all bits past the `n` values of each row are zero."""
    bits = np.unpackbits(np.ascontiguousarray(array).view(np.uint8), axis=-1, bitorder="little")
    return not bits[..., n:].any()


@dataclass(frozen=True)
class Window:
    """A convolution as a user asks for it."""

    batch: int
    image: tuple[int, int]
    n: int
    k: int
    kernel: tuple[int, int]
    stride: int | tuple[int, int] = 1
    padding: int | tuple[int, int] | str = 0


WINDOWS = [
    Window(2, (5, 7), 70, 5, (3, 3)),
    Window(2, (5, 7), 3, 66, (3, 2), 1, 1),
    Window(1, (6, 5), 65, 4, (2, 3), 2, 2),
    Window(2, (7, 9), 5, 3, (3, 3), 3, (0, 2)),
    Window(2, (7, 6), 6, 3, (2, 3), (2, 3), (1, 0)),
    Window(2, (4, 5), 129, 2, (1, 1)),
    Window(2, (4, 5), 9, 3, (1, 1), 2, 1),
    Window(2, (4, 3), 9, 3, (1, 1), (2, 1), 2),  # outer windows wholly outside the image
    Window(1, (2, 3), 7, 3, (5, 5), 1, 2),  # a kernel larger than the image
    *[Window(2, (5, 6), 10, 3, (3, 3), stride, "same") for stride in (1, 2, 3, (2, 1))],
    Window(2, (6, 5), 10, 3, (2, 4), (1, 3), "same"),
    Window(1, (7, 5), 4, 2, (1, 1), 3, "same"),
    Window(1, (1, 2), 64, 2, (3, 3), 1, "same"),
]
