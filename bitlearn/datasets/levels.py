"""Codes by levels: how many of some thresholds a feature reaches, as a number or as bits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from bitlearn.bits import WORD, Bits, words_for
from bitlearn.datasets.scaling import check_features

#: Thresholds between the 255 codes from -127 to 127.
_BETWEEN = 254
#: Rows that thresholds are chosen from: more of them move a quantile by less than a level.
_MOST_ROWS = 100_000
#: A feature has long tails where the middle 90 % of its values take less than this share of its range.
_NARROW = 0.25
#: How often the shares of values that occur often are reduced.
_ROUNDS = 8


@dataclass(frozen=True, eq=False)
class Levels:
    """Thresholds of every feature.

    Parameters
    ----------
    thresholds : ndarray of float64, shape (..., levels)
        The thresholds of each feature in increasing order; some may be equal.

    Raises
    ------
    ValueError
        If they are not finite or not in order.
    """

    thresholds: np.ndarray

    def __post_init__(self) -> None:
        found = self.thresholds
        if found.ndim < 2 or found.dtype != np.float64:
            raise ValueError(
                f"thresholds must be float64 of shape (*sample, levels), got {found.dtype} of shape {found.shape}"
            )
        if not np.isfinite(found).all() or (found[..., 1:] < found[..., :-1]).any():
            raise ValueError("thresholds must be finite and in increasing order, got other values")

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return self.thresholds.shape[:-1]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by name."""
        return {self.kind: self.thresholds}

    def moved(self, transform: Callable[[np.ndarray], np.ndarray]) -> Self:
        """Return the levels of features that `transform`, from samples to samples, has put elsewhere."""
        return type(self)(np.ascontiguousarray(np.moveaxis(transform(np.moveaxis(self.thresholds, -1, 0)), 0, -1)))

    #: The name of the array in files.
    kind = ""


class Quantiles(Levels):
    """int8 codes that count how many of a feature's thresholds a value reaches; `fit_levels` makes them.

    Parameters
    ----------
    thresholds : ndarray of float64, shape (..., 254)
        Between the 255 codes from -127 to 127.

    Examples
    --------
    >>> incomes = np.array([[1.0], [2.0], [3.0], [4.0], [1000.0]])
    >>> fit_levels(incomes, "quantile").codes(incomes).ravel()
    array([-127,  -63,    0,   64,  127], dtype=int8)
    """

    kind = "quantiles"

    def codes(self, x: np.ndarray) -> np.ndarray:
        """Return the codes of some samples, int8 of the shape of `x`.

        Raises
        ------
        TypeError, ValueError
            If they are no finite numbers of the shape of the training samples.
        """
        x = np.asarray(x)
        check_features(x, self.shape)
        columns, codes = x.reshape(len(x), -1), np.empty((len(x), math.prod(self.shape)), dtype=np.int8)
        for at, thresholds in enumerate(self.thresholds.reshape(-1, _BETWEEN)):
            codes[:, at] = np.searchsorted(thresholds, columns[:, at], side="right") - _BETWEEN // 2
        return codes.reshape(x.shape)


class Thermometer(Levels):
    """Bits, one per threshold of each feature: +1 if the value reaches it.

    Parameters
    ----------
    thresholds : ndarray of float64, shape (..., bits)

    Examples
    --------
    >>> x = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> bits = fit_levels(x, "thermometer", bits=3).codes(x)
    >>> bits.shape, bits.words.ravel()
    ((4, 3), array([0, 1, 3, 7], dtype=uint64))
    """

    kind = "thermometer"

    def codes(self, x: np.ndarray) -> Bits:
        """Return the bits of some samples, ``(count, *sample)``; the last axis has `bits` values per feature.

        Raises
        ------
        TypeError, ValueError
            If they are no finite numbers of the shape of the training samples.
        """
        x = np.asarray(x)
        check_features(x, self.shape)
        reached = x[..., None] >= self.thresholds
        flat = reached.reshape(*reached.shape[:-2], -1)
        n = flat.shape[-1]
        # As `bitlearn.pack` does, which is of a level above this one.
        packed = np.zeros((*flat.shape[:-1], 8 * words_for(n)), dtype=np.uint8)
        packed[..., : -(-n // 8)] = np.packbits(flat, axis=-1, bitorder="little")
        return Bits(packed.view(WORD), n)


def fit_levels(x: np.ndarray, codes: str, *, bits: int = _BETWEEN) -> Quantiles | Thermometer:
    """Return the levels fitted to some training data.

    Parameters
    ----------
    x : ndarray, shape (count, ...)
        Real numbers, finite.
    codes : {"quantile", "thermometer", "auto"}
        ``auto``: int8 codes by quantiles for features with long tails, and by equal steps for the others.
    bits : int
        Thresholds per feature, for a thermometer.

    Returns
    -------
    Quantiles or Thermometer

    Notes
    -----
    Thresholds lie in the middle between neighbouring values of the training data, with equally many values from one to
    the next. A value that occurs often counts as one level's share at most: so a feature that is mostly 0 keeps its
    levels for the rest, and one with two values has them all between the two.
    """
    levels = bits if codes == "thermometer" else _BETWEEN
    found = np.empty((math.prod(x.shape[1:]), levels))
    for at, column in enumerate(columns(x)):
        if codes == "auto" and not long_tailed(column):
            found[at] = _equal(column, levels)
        else:
            found[at] = _quantiles(column, levels)
    made = Thermometer if codes == "thermometer" else Quantiles
    return made(found.reshape(*x.shape[1:], levels))


def columns(x: np.ndarray) -> Iterator[np.ndarray]:
    """Yield each feature of some data as float64, of at most 100,000 rows spread over all."""
    rows = x[:: -(-len(x) // _MOST_ROWS)]
    for index in np.ndindex(tuple(x.shape[1:])):
        yield np.asarray(rows[(slice(None), *index)], dtype=np.float64)


def long_tailed(column: np.ndarray) -> bool:
    """Return whether the middle 90 % of a feature's values take less than a quarter of its range.

    Equal steps from the least to the largest value would leave these a few codes of 255.

    Examples
    --------
    >>> long_tailed(np.linspace(0, 1, 100)), long_tailed(np.linspace(0, 1, 100) ** 50)
    (False, True)
    """
    low, high = np.quantile(column, [0.05, 0.95])
    # What takes two values is as well told apart by equal steps, however rare one of them is.
    return bool(high - low < _NARROW * (column.max() - column.min())) and len(np.unique(column)) > 2


def _equal(column: np.ndarray, levels: int) -> np.ndarray:
    """Return thresholds in equal steps, in the middle between the codes that `Scaling` rounds to."""
    low, high = column.min(), column.max()
    return low + (high - low) * ((np.arange(levels) + 0.5) / levels)


def _quantiles(column: np.ndarray, levels: int) -> np.ndarray:
    """Return thresholds with as many values between each two, of which an often one counts once a level."""
    values, counts = np.unique(column, return_counts=True)
    if len(values) == 1:
        return np.full(levels, values[0])
    middles = values[:-1] + (values[1:] - values[:-1]) / 2
    middles = np.where(middles > values[:-1], middles, values[1:])  # of neighbours among floats
    shares = counts[1:].astype(np.float64)  # all values have reached the least one, which needs no threshold
    for _ in range(_ROUNDS):  # what a value loses here makes the others' levels smaller, and with them its own share
        np.minimum(shares, shares.sum() / levels, out=shares)
    up_to = shares.cumsum()
    return middles[np.searchsorted(up_to, (np.arange(levels) + 0.5) / levels * up_to[-1])]
