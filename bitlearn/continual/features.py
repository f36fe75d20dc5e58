"""Features of a few bits that nothing was fitted for: where they look comes from a seed, and they know no data."""

from __future__ import annotations

import math

import numpy as np

from bitlearn import streams
from bitlearn.bits import WORD, WORD_BITS, Bits, ones
from bitlearn.ops.matmul import hamming
from bitlearn.ops.packing import pack, popcount, unpack
from bitlearn.rng import Key

#: What a learner of exact sums is given: codes, or bits from inside a network.
Inputs = np.ndarray | Bits

#: Sides of a box, as parts of the image's, and the share of the largest difference of two boxes' means that codes tell
#: apart. Chosen on held-out training data of ``digits``, MNIST and Fashion-MNIST, as is what follows.
_SMALLEST, _LARGEST, _RANGE = 8, 3, 3
#: The same share, in units of ``sqrt(n)``, of combinations of codes and of bits, by the largest value.
_ROW_RANGE = {255: 2, 1: 1}
#: The least side of an image of which boxes say more than combinations of all its values.
_IMAGE = 16
#: Images whose boxes are summed at a time, so that their sums stay in the caches.
_IMAGES = 256
#: Random words that a box feature takes.
_WORDS = 8


def inputs(x: Inputs) -> Inputs:
    """Return bits as they are, and codes as uint8, so that an image and its int8 codes are the same.

    Raises
    ------
    TypeError
        Where `x` is neither uint8, int8 nor Bits.
    ValueError
        Where it has no axis of examples before that of values.
    """
    if not isinstance(x, Bits):
        x = np.asarray(x)
        if x.dtype not in (np.uint8, np.int8):
            raise TypeError(f"x must be uint8, int8 codes or Bits, got {x.dtype}")
        x = x if x.dtype == np.uint8 else x.view(np.uint8) ^ np.uint8(0x80)
    if len(x.shape) < 2 or 0 in x.shape[1:]:
        raise ValueError(f"x must have shape (count, ...) with at least one value an example, got shape {x.shape}")
    return x


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return how many set bits each packed row of `a` has in common with each of `b`, by exclusive or and popcount.

    Parameters
    ----------
    a : ndarray of uint64, shape (M, words)
    b : ndarray of uint64, shape (N, words)

    Returns
    -------
    ndarray of int64, shape (M, N)

    Notes
    -----
    ``popcount(a & b) = (popcount(a) + popcount(b) - popcount(a ^ b)) / 2``.

    Examples
    --------
    >>> overlaps(pack([[1, -1, 1]]), pack([[1, 1, 1], [-1, 1, -1]]))
    array([[2, 0]])
    """
    either = popcount(a)[:, None] + popcount(b)
    either -= hamming(a, b, a.shape[-1] * WORD_BITS)
    return either >> 1


def planes(codes: np.ndarray, largest: int, *, axis: int = -1) -> np.ndarray:
    """Return the bit planes of unsigned codes, the ones first, each packed along an axis.

    Parameters
    ----------
    codes : ndarray of uint8, shape (M, N)
    largest : int
        ``2**bits - 1``.
    axis : {-1, 0}

    Returns
    -------
    ndarray of uint64, shape (bits, M, words), or (bits, N, words) for axis 0

    Examples
    --------
    >>> planes(np.array([[1, 3, 2]], dtype=np.uint8), 3)
    array([[[3]],
           [[6]]], dtype=uint64)
    """
    return np.stack([pack((codes >> bit & 1).astype(bool), axis=axis) for bit in range(largest.bit_length())])


class Values:
    """The input itself: codes of 8 bits from 0 to 255, or bits as 0 and 1."""

    def __init__(self, kind: str, shape: tuple[int, ...]):
        self.largest = 255 if kind == "codes" else 1
        self.count = math.prod(shape)

    def __call__(self, x: Inputs) -> np.ndarray:
        """Return the codes of some examples, (rows, count) of uint8."""
        values = unpack(x.words, x.n) > 0 if isinstance(x, Bits) else x
        return values.reshape(len(x), self.count).astype(np.uint8)


class Boxes:
    """Differences of two boxes of an image, in a few bits.

    Parameters
    ----------
    shape : tuple of int
        (height, width) or (height, width, channels).
    count, bits, seed : int

    Notes
    -----
    A feature has two boxes of the same size, each anywhere in one channel, and takes the difference of their means: the
    rectangle features of Viola and Jones (CVPR 2001) in random places. There is no threshold to be learned. With ``d``
    the difference and ``r = 255 / 3``, its code is ``floor((d + r) / (2 r) * 2**bits)``, clipped; of one bit
    it is 1 where ``d >= 0``. All is in integers. Sums over boxes come from a summed-area table.
    """

    def __init__(self, shape: tuple[int, ...], count: int, bits: int, seed: int):
        height, width, channels = (*shape, 1)[:3]
        self.count, self.bits, self.shape = count, bits, (height, width, channels)
        words = Key(seed, stream=streams.FEATURES).words(_WORDS * count).reshape(count, _WORDS).T.astype(np.uint64)

        def drawn(word: int, limit: int | np.ndarray) -> np.ndarray:
            return (words[word] * np.asarray(limit, dtype=np.uint64) >> np.uint64(32)).astype(np.int64)

        def side(word: int, extent: int) -> np.ndarray:
            least = max(1, extent // _SMALLEST)
            return least + drawn(word, max(least, -(-extent // _LARGEST)) - least + 1)

        h, w = side(0, height), side(1, width)
        # The corners of both boxes in a table of (height + 1, width + 1, channels), and the sign of each.
        self.corners = []
        for sign, first in ((1, 2), (-1, 5)):
            top, left, channel = (
                drawn(first, height - h + 1),
                drawn(first + 1, width - w + 1),
                drawn(first + 2, channels),
            )
            for down, right in ((0, 0), (h, w), (h, 0), (0, w)):
                place = ((top + down) * (width + 1) + left + right) * channels + channel
                self.corners.append((place, sign if (down is h) == (right is w) else -sign))
        self.full = 255 * h * w

    def __call__(self, x: Inputs) -> np.ndarray:
        """Return the codes of some images, (rows, count) of uint8."""
        images, codes = np.asarray(x).reshape(len(x), *self.shape), np.empty((self.count, len(x)), dtype=np.uint8)
        for start in range(0, len(x), _IMAGES):
            rows = slice(start, start + _IMAGES)
            codes[:, rows] = self._of(np.moveaxis(images[rows], 0, -1))
        return codes.T

    def _of(self, images: np.ndarray) -> np.ndarray:
        """Return the codes (count, rows) of images whose last axis is that of examples: a corner is a run of memory."""
        height, width, channels, rows = images.shape
        kind = np.int32 if 2 * 255 * height * width < 2**31 else np.int64
        table = np.zeros((height + 1, width + 1, channels, rows), dtype=kind)
        np.cumsum(images, axis=0, dtype=kind, out=table[1:, 1:])
        np.cumsum(table[1:, 1:], axis=1, out=table[1:, 1:])
        flat, difference = table.reshape(-1, rows), np.zeros((self.count, rows), dtype=np.int64)
        for corner, sign in self.corners:
            (np.add if sign > 0 else np.subtract)(difference, flat[corner], out=difference)
        return _coded(_RANGE * difference, self.full[:, None], self.bits)


class Signs:
    """Random ±1 combinations of rows of codes or of packed bits, in a few bits.

    Parameters
    ----------
    kind : {"codes", "bits"}
    shape : tuple of int
    count, bits, seed : int

    Notes
    -----
    With weights ``s`` of ±1, ``n`` values ``x`` and ``D = 255`` for codes, 1 for bits, the feature is
    ``z = sum s x - mean(s) sum x``, so that what all values of an example have in common does not count, and its code
    ``floor((z + r) / (2 r) * 2**bits)``, clipped, with ``r = D floor(sqrt(n)) / 2`` for codes and twice that for bits.
    All is in integers, multiplied by n, and the products are those of packed bits.
    """

    def __init__(self, kind: str, shape: tuple[int, ...], count: int, bits: int, seed: int):
        self.count, self.bits = count, bits
        self.depth, self.n = (255 if kind == "codes" else 1), math.prod(shape)
        used = ones((), self.n) if kind == "codes" else ones(shape[:-1], shape[-1]).reshape(-1)
        self.words = (
            Key(seed, stream=streams.FEATURES).words(2 * count * len(used)).view(WORD).reshape(count, -1) & used
        )

    def __call__(self, x: Inputs) -> np.ndarray:
        """Return the codes of some rows, (rows, count) of uint8."""
        if isinstance(x, Bits):
            packed = x.words.reshape(1, len(x), -1)
        else:
            packed = planes(x.reshape(len(x), -1), self.depth)
        positive, total = np.zeros((len(x), self.count), dtype=np.int64), np.zeros((len(x), 1), dtype=np.int64)
        for bit, plane in enumerate(packed):
            positive += overlaps(plane, self.words) << bit
            total += popcount(plane)[:, None] << bit
        # sum s x = 2 * positive - total, and n mean(s) = 2 * popcount - n.
        difference = 2 * (self.n * positive - popcount(self.words) * total)
        return _coded(_ROW_RANGE[self.depth] * difference, self.n * self.depth * math.isqrt(self.n), self.bits)


def _coded(value: np.ndarray, full: int | np.ndarray, bits: int) -> np.ndarray:
    """Return ``floor((value + full) / (2 full) * 2**bits)``, clipped to `bits` bits."""
    value += full
    value <<= bits
    value //= 2 * full
    return np.clip(value, 0, 2**bits - 1).astype(np.uint8)


def drawn(kind: str, shape: tuple[int, ...], count: int, bits: int, seed: int) -> Boxes | Signs:
    """Return the features for an input: boxes of images that are large enough, else combinations of all values."""
    if kind == "codes" and len(shape) in (2, 3) and min(shape[:2]) >= _IMAGE:
        return Boxes(shape, count, bits, seed)
    return Signs(kind, shape, count, bits, seed)
