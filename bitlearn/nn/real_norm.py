"""The statistics of real values for a batch norm: float64 sums in a fixed order, the same bits from every backend."""

from __future__ import annotations

import numpy as np

from bitlearn.bits import WORD, words_for
from bitlearn.nn.gradients import groups_of
from bitlearn.nn.step import Step
from bitlearn.program import Array


def grouped(x: Array) -> Array:
    """Return values (rows, channels) as groups of rows, of which each has sums of its own."""
    groups = groups_of(len(x))
    return x.reshape(groups, len(x) // groups, x.shape[1])


def real_statistics(
    step: Step, y: Array, running: tuple[Array, Array], momentum: float, half: bool, l1: bool
) -> tuple[Array, Array]:
    """Record the statistics of values (rows, channels): the batch's, and the running ones after it."""
    (rows, channels), parts = y.shape, grouped(y)
    sums = step.empty("sums", (len(parts), 2, channels), np.float64)
    found = step.empty("mu, psi", (2, channels), np.float64)
    step.run("real_sums", parts, parts, sums)
    step.over_batch("sum", sums)
    step.run("real_statistics", sums, rows, half, found)
    if l1:
        absolute_mean(step, y, found[:1], half, found[1:])
    moved, finite = step.empty("mu, psi", (2, channels), np.float32), step.finite()
    step.run("moved_statistics", found, momentum, *running, moved, finite, check=finite, what="the running statistics")
    return found, moved


def absolute_mean(step: Step, x: Array, centre: Array, half: bool, out: Array) -> None:
    """Record the mean of ``|x - centre|`` over the rows of x (rows, channels)."""
    (rows, channels), parts = x.shape, grouped(x)
    sums = step.empty("sums", (len(parts), channels), np.float64)
    step.run("absolute_sums", parts, centre.reshape(channels), sums)
    step.run("absolute_mean", sums, rows, half, out.reshape(channels))


def signs_of(step: Step, x: Array) -> Array:
    """Record the packed signs of values (rows, channels)."""
    signs, unused = (step.empty("X", (len(x), words_for(x.shape[1])), WORD) for _ in range(2))
    step.run("sign_values", x, np.inf, signs, unused)
    return signs


def centred_signs(step: Step, y: Array, found: Array) -> tuple[Array, Array]:
    """Record the packed signs of ``y - mean``, and for each channel in [0, 1] how many are +1, under ``standard``."""
    (rows, channels), above = y.shape, step.empty("sums", (1, 2, y.shape[1]), np.int64)
    signs, unused = (step.empty("scratch", (rows, words_for(channels)), WORD) for _ in range(2))
    centred = step.empty("scratch", y.shape, np.float32)
    step.run(_centred, y, found, centred, above)
    step.run("sign_values", centred, np.inf, signs, unused)
    return signs, above


def _centred(y: np.ndarray, found: np.ndarray, centred: np.ndarray, above: np.ndarray) -> None:
    np.subtract(y, found[0], out=centred, casting="same_kind")
    above[0, 1] = (centred >= 0).sum(axis=0)
