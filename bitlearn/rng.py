"""Counter-based random bits: the same in every backend, at any number of threads, and after a resume.

Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). A random word
is a pure function of a key and a position, so nothing has to be stored, skipped or kept in order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitlearn.errors import brief

_MULTIPLIERS = np.array([0xD2511F53, 0xCD9E8D57], dtype=np.uint64)
_WEYL = np.array([0x9E3779B9, 0xBB67AE85], dtype=np.uint32)
_LOW = np.uint64(0xFFFF_FFFF)
_ROUNDS = 10
# Blocks of four words that are formed at a time: the scratch is about twenty times their size.
_BLOCKS = 2**12


def philox4x32(counter: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Return four random 32-bit words for each counter.

    Parameters
    ----------
    counter : ndarray of uint32, shape (m, 4)
    key : (int, int)
        Two 32-bit words.

    Returns
    -------
    ndarray of uint32, shape (m, 4)
    """
    c0, c1, c2, c3 = (counter[:, i].astype(np.uint64) for i in range(4))
    k0, k1 = key
    for _ in range(_ROUNDS):
        product0 = _MULTIPLIERS[0] * c0
        product1 = _MULTIPLIERS[1] * c2
        c0 = (product1 >> np.uint64(32)) ^ c1 ^ np.uint64(k0)
        c2 = (product0 >> np.uint64(32)) ^ c3 ^ np.uint64(k1)
        c1 = product1 & _LOW
        c3 = product0 & _LOW
        k0 = (k0 + int(_WEYL[0])) & 0xFFFF_FFFF
        k1 = (k1 + int(_WEYL[1])) & 0xFFFF_FFFF
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


@dataclass(frozen=True)
class Key:
    """A stream of random bits, identified by a seed and its purpose.

    Parameters
    ----------
    seed : int
        The user's seed, 0 <= seed < 2**64.
    step, stream : int
        The training step (or epoch, or task) and the layer or purpose, each below 2**32.

    Examples
    --------
    >>> Key(0).words(2).tolist() == Key(0).words(2).tolist()
    True
    >>> Key(0, step=1).words(1) == Key(0, step=2).words(1)
    array([False])
    """

    seed: int
    step: int = 0
    stream: int = 0

    def __post_init__(self) -> None:
        for name, value, limit in (("seed", self.seed, 64), ("step", self.step, 32), ("stream", self.stream, 32)):
            whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
            if not whole or not 0 <= value < 2**limit:
                raise ValueError(f"{name} must be in [0, 2**{limit}), got {brief(value)}")

    def at(self, stream: int) -> Key:
        """Return the key of another stream with the same seed and step.

        Parameters
        ----------
        stream : int

        Returns
        -------
        Key
        """
        return Key(self.seed, self.step, stream)

    def as_words(self) -> np.ndarray:
        """Return the key as the kernels take it: the low and the high half of the seed, the step, the stream.

        Returns
        -------
        ndarray of uint32, shape (4,)
        """
        return np.array([int(self.seed) & 0xFFFF_FFFF, int(self.seed) >> 32, self.step, self.stream], dtype=np.uint32)

    def words(self, count: int) -> np.ndarray:
        """Return the first random words of this stream.

        Parameters
        ----------
        count : int

        Returns
        -------
        ndarray of uint32, shape (count,)
        """
        blocks = -(-count // 4)
        key = (int(self.seed) & 0xFFFF_FFFF, int(self.seed) >> 32)
        result = np.empty((blocks, 4), dtype=np.uint32)
        for start in range(0, blocks, _BLOCKS):
            index = np.arange(start, min(start + _BLOCKS, blocks), dtype=np.uint64)
            counter = np.empty((len(index), 4), dtype=np.uint32)
            counter[:, 0] = index & _LOW
            counter[:, 1] = index >> np.uint64(32)
            counter[:, 2] = self.step
            counter[:, 3] = self.stream
            result[start : start + _BLOCKS] = philox4x32(counter, key)
        return result.reshape(-1)[:count]

    def uniform(self, count: int) -> np.ndarray:
        """Return values in [0, 1), multiples of 2**-24, so that they are the same on every processor.

        Parameters
        ----------
        count : int

        Returns
        -------
        ndarray of float32, shape (count,)
        """
        return (self.words(count) >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)

    def permutation(self, count: int) -> np.ndarray:
        """Return a random order of ``range(count)``.

        Parameters
        ----------
        count : int

        Returns
        -------
        ndarray of int64, shape (count,)
        """
        high = self.words(2 * count).astype(np.uint64)
        return np.argsort((high[:count] << np.uint64(32)) | high[count:], kind="stable")

    def integers(self, count: int, limit: int) -> np.ndarray:
        """Return integers in [0, limit), by multiplication (bias below limit / 2**32).

        Parameters
        ----------
        count, limit : int
            How many, and the bound, at most 2**32.

        Returns
        -------
        ndarray of int64, shape (count,)
        """
        return ((self.words(count).astype(np.uint64) * np.uint64(limit)) >> np.uint64(32)).astype(np.int64)
