"""Slopes of an image, summed over random boxes: few-bit features that respond to edges, not brightness."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn import streams
from bitlearn.rng import Key

#: The eight directions of slopes, as (down, right).
_DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1))
#: The distance between the values whose difference is a slope, and the sides of a box, as fractions of the image's
#: side. Chosen, like the range of codes, on held-out training data of ``digits``, MNIST and Fashion-MNIST.
_STEP, _SMALLEST, _LARGEST = 14, 8, 2
#: The mean slope with the largest code rises by 255 over this fraction of the image's side.
_STEEPEST = 4
#: Random words per feature, and features drawn at a time.
_WORDS, _DRAWN = 4, 16


def _sides(extent: int) -> tuple[int, int]:
    """Return the smallest and the largest side of a box."""
    least = max(2, extent // _SMALLEST)
    return least, max(least, extent // _LARGEST)


def _kind(shape: tuple[int, ...]) -> np.dtype:
    """Return the type of sums over boxes: entries of a table may wrap around, but their differences are right."""
    return np.dtype(np.uint16 if 255 * _sides(shape[0])[1] * _sides(shape[1])[1] < 2**16 else np.uint32)


def _places(shape: tuple[int, ...]) -> np.dtype:
    return np.dtype(np.uint16 if (shape[0] + 1) * (shape[1] + 1) <= 2**16 else np.uint32)


class Slopes:
    """How steeply an image rises in one direction on average over a box, in a few bits.

    Parameters
    ----------
    shape : tuple of int
        (height, width) or (height, width, channels).
    count, bits, seed : int

    Notes
    -----
    Feature ``i`` has direction ``i % 8`` and channel ``i // 8 % channels``. Its map is ``max(0, x[p + d] - x[p])`` at
    each position p, 0 if p + d is outside, with d a fourteenth of the image's side, at least 1, in that direction. The
    map is summed over a box at a random position, with random sides from an eighth to half of the image's. This is an
    integral channel feature (Dollár, Tu, Perona and Belongie, BMVC 2009) of rectified differences. Its code is
    ``min(floor(sum / u), 2**bits - 1)`` with ``u = ceil(area * 255 * 4 d / (side * 2**bits))``. All arithmetic is on
    integers, and nothing is learned: there is no threshold.
    """

    def __init__(self, shape: tuple[int, ...], count: int, bits: int, seed: int):
        self.shape: tuple[int, int, int] = (*shape, 1)[:3]  # type: ignore[assignment]
        self.count, self.bits, self.largest, self.seed = count, bits, 2**bits - 1, seed
        self._corners = np.empty((4, count), dtype=_places(shape))
        self._unit = np.empty(count, dtype=_kind(shape))
        self._step = max(1, max(shape[:2]) // _STEP)
        for first in range(0, count, _DRAWN):
            self._draw(first, min(first + _DRAWN, count))

    @staticmethod
    def kept(shape: tuple[int, ...], count: int) -> int:
        """Return the bytes that this many features hold."""
        return count * (4 * _places(shape).itemsize + _kind(shape).itemsize)

    @staticmethod
    def work(shape: tuple[int, ...], count: int, rows: int) -> int:
        """Return the bytes of working arrays for this many examples."""
        table = (shape[0] + 1) * (shape[1] + 1) * _kind(shape).itemsize
        of_map = -(-count // 8)
        copied = int(np.prod(shape)) if rows > 1 else 0
        return rows * (table + shape[0] * shape[1] + copied + 3 * of_map * _kind(shape).itemsize + count) + 16 * of_map

    @property
    def nbytes(self) -> int:
        """The bytes it holds."""
        return self._corners.nbytes + self._unit.nbytes

    def _draw(self, first: int, last: int) -> None:
        height, width, _ = self.shape
        words = Key(self.seed, first // _DRAWN, streams.FEATURES).words(_WORDS * _DRAWN)
        words = words.reshape(_DRAWN, _WORDS)[: last - first].T.astype(np.uint64)

        def below(word: int, limit: int | np.ndarray) -> np.ndarray:
            return (words[word] * np.asarray(limit, dtype=np.uint64) >> np.uint64(32)).astype(np.int64)

        sides = []
        for word, extent in enumerate((height, width)):
            least, most = _sides(extent)
            sides.append(least + below(word, most - least + 1))
        (h, w), columns = sides, width + 1
        place = below(2, height - h + 1) * columns + below(3, width - w + 1)
        for corner, off in enumerate((h * columns + w, 0, w, h * columns)):
            self._corners[corner, first:last] = place + off
        side = max(height, width) << self.bits
        self._unit[first:last] = -(-(h * w * (255 * _STEEPEST * self._step)) // side)

    def keep(self, count: int) -> None:
        """Drop all features but the first `count`."""
        self.count = count
        self._corners, self._unit = self._corners[:, :count].copy(), self._unit[:count].copy()

    def __call__(self, x: Any) -> np.ndarray:
        """Return the codes of images, uint8 (features, images)."""
        height, width, channels = self.shape
        # The axis of examples comes last, so that a corner is contiguous in memory; a single image is not copied.
        images = np.ascontiguousarray(x.reshape(len(x), height, width, channels).transpose(3, 1, 2, 0))
        codes = np.empty((self.count, len(x)), dtype=np.uint8)
        table = np.zeros((height + 1, width + 1, len(x)), dtype=self._unit.dtype)
        rises = np.empty((height, width, len(x)), dtype=np.uint8)
        for which in range(min(self.count, 8 * channels)):
            down, right = (self._step * each for each in _DIRECTIONS[which % 8])
            _rises(images[which // 8], down, right, rises)
            table[1:, 1:] = rises
            for axis in (0, 1):
                np.add.accumulate(table, axis=axis, out=table)
            self._code(table.reshape(-1, len(x)), which, codes)
        return codes

    def _code(self, table: np.ndarray, which: int, codes: np.ndarray) -> None:
        of_map = slice(which, None, 8 * self.shape[2])
        corners = self._corners[:, of_map]
        found = table.take(corners[0], axis=0)
        found += table.take(corners[1], axis=0)
        found -= table.take(corners[2], axis=0)
        found -= table.take(corners[3], axis=0)
        found //= self._unit[of_map, None]
        codes[of_map] = np.minimum(found, self.largest, out=found)


def _rises(image: np.ndarray, down: int, right: int, out: np.ndarray) -> None:
    """Write how much higher the value at an offset is than each value of (height, width, count), at least 0.

    In memory this is one contiguous run minus a shifted one, without strided views, which NumPy would copy. Differences
    across an edge are set to 0 at the end.
    """
    there, here, found = (each.reshape(-1) for each in (image, image, out))
    off = (down * image.shape[1] + right) * image.shape[2]
    there, here = (there[off:], here[: len(here) - off]) if off > 0 else (there[:off], here[-off:])
    covered, rest = (found[: len(here)], found[len(here) :]) if off > 0 else (found[-off:], found[:-off])
    np.maximum(there, here, out=covered)
    covered -= here
    rest[:] = 0
    out[:, image.shape[1] - right if right > 0 else 0 : None if right > 0 else -right] = 0
