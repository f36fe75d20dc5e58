"""Scenarios whose tasks transform the inputs of one data set: permuted pixels, rotated images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from bitlearn import streams
from bitlearn.continual.scenario import Scenario, Task
from bitlearn.continual.scenarios.data import Data, checked
from bitlearn.datasets.preparation import Examples, Preparation
from bitlearn.datasets.rows import Rows, Transform
from bitlearn.rng import Key

#: Fractions of a pixel's position, so that a rotation is computed in integers.
_PARTS = 256


@dataclass(frozen=True, eq=False, repr=False)
class Permuted:
    """Permutes the values of each example.

    Parameters
    ----------
    order : ndarray of int
        Value ``i`` of the result is value ``order[i]``.

    Examples
    --------
    >>> Permuted(np.array([2, 0, 1]))(np.array([[5, 6, 7]]))
    array([[7, 5, 6]])
    """

    order: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return examples of shape (count, ...) with their values in the new order."""
        return x.reshape(len(x), -1)[:, self.order].reshape(x.shape)

    def __repr__(self) -> str:
        return f"Permuted({len(self.order)} values)"


@dataclass(frozen=True)
class Rotated:
    """Rotates uint8 images counterclockwise around their centre; pixels from outside the image are 0.

    Parameters
    ----------
    degrees : float
    height, width : int

    Notes
    -----
    Interpolation is bilinear, with positions rounded to 1/256 of a pixel, and integer sums rounded once, half up.

    Examples
    --------
    >>> image = np.array([[1, 2], [3, 4]], dtype=np.uint8)
    >>> Rotated(90.0, 2, 2)(image[None, :, :, None])[0, :, :, 0]
    array([[2, 4],
           [1, 3]], dtype=uint8)
    """

    degrees: float
    height: int
    width: int

    @cached_property
    def _corners(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each pixel, the four source pixels around it and their weights, which sum to 2**16 inside the image."""
        angle = np.deg2rad(self.degrees)
        middle = np.array([self.height - 1, self.width - 1])[:, None, None] / 2
        rows, columns = np.mgrid[: self.height, : self.width] - middle
        # The position in the old image that each pixel of the new one comes from.
        turned = np.stack([rows, columns]) * np.cos(angle) + np.stack([columns, -rows]) * np.sin(angle) + middle
        row, column = np.rint(turned * _PARTS).astype(np.int64)
        found = []
        for down in (0, 1):
            for right in (0, 1):
                y, x = row // _PARTS + down, column // _PARTS + right
                weight = np.abs((1 - down) * _PARTS - row % _PARTS) * np.abs((1 - right) * _PARTS - column % _PARTS)
                inside = (y >= 0) & (y < self.height) & (x >= 0) & (x < self.width)
                place = np.where(inside, y * self.width + x, 0)
                found.append((place.ravel(), (weight * inside).astype(np.int32).reshape(-1, 1)))
        return found

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return images, (count, height, width, channels), rotated."""
        flat = x.reshape(len(x), self.height * self.width, -1)
        total = sum(flat[:, place] * weight for place, weight in self._corners)
        return ((total + _PARTS * _PARTS // 2) // (_PARTS * _PARTS)).astype(np.uint8).reshape(x.shape)


def _checked_tasks(tasks: Any) -> int:
    if not isinstance(tasks, (int, np.integer)) or tasks < 1:
        raise ValueError(f"tasks must be an integer of at least 1, got {tasks}")
    return int(tasks)


def _whole(data: Data, name: str) -> Task:
    """Return the task with all examples unchanged."""
    everything = (np.arange(len(y)) for y in (data.y_train, data.y_test))
    return data.task(0, np.arange(data.classes), *everything, name=name)


def _changed(whole: Task, index: int, transform: Transform | None, preparation: Preparation, name: str) -> Task:
    """Return a task that reads the same examples and transforms them; it shares their indices and labels."""

    def changed(each: Examples) -> Examples:
        assert isinstance(each.x, Rows)
        return Examples(Rows(each.x.source, each.x.index, transform), each.y, preparation)

    return Task(index, whole.classes, changed(whole.train), changed(whole.test), name=name)


def permuted(
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    tasks: int,
    *,
    seed: int | None = None,
    preparation: Preparation | None = None,
) -> Scenario:
    """Make tasks of the whole data set, with the values of all examples permuted differently in each.

    Parameters
    ----------
    x_train, y_train, x_test, y_test, preparation
        As `class_incremental`.
    tasks : int
    seed : int, optional
        The seed of the orders; 0 by default.

    Returns
    -------
    Scenario
        The first task has the examples unchanged. Others are permuted batch by batch: no copy is held.

    Notes
    -----
    As in arXiv 1312.6211; domain-incremental in the terms of arXiv 1904.07734. A value keeps its own scale in its new
    position.

    Examples
    --------
    >>> x, y = np.arange(8, dtype=np.uint8).reshape(2, 4), np.array([0, 1])
    >>> [task.train.x[0].tolist() for task in permuted(x, y, x, y, 3).tasks]
    [[0, 1, 2, 3], [0, 3, 1, 2], [1, 3, 2, 0]]
    """
    data, count = checked(x_train, y_train, x_test, y_test, preparation), _checked_tasks(tasks)
    made = [_whole(data, "as it is")]
    for index in range(1, count):
        order = Key(seed or 0, index, streams.PIXELS).permutation(int(np.prod(data.x_train.shape[1:])))
        transform = Permuted(order)
        how = replace(data.preparation, scaling=data.preparation.scaling.moved(transform))
        made.append(_changed(made[0], index, transform, how, f"permutation {index}"))
    return data.scenario("permuted", made)


def rotated(
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    tasks: int,
    *,
    degrees: float = 180.0,
    seed: int | None = None,
    preparation: Preparation | None = None,
) -> Scenario:
    """Make tasks of the whole data set, with all images rotated by a different angle in each.

    Parameters
    ----------
    x_train, x_test : array_like of uint8, shape (count, height, width, channels)
    y_train, y_test, preparation
        As `class_incremental`.
    tasks : int
    degrees : float
        Angles lie in [0, degrees): task ``i`` has ``degrees * i / tasks``.
    seed : int, optional
        Draw each angle anywhere between that of its task and the next.

    Returns
    -------
    Scenario
        Images are rotated batch by batch: no copy is held.

    Raises
    ------
    ValueError
        If examples are not such images, or `degrees` is not finite; also as `class_incremental`.

    Notes
    -----
    As in arXiv 1706.08840, where the angles are random; domain-incremental in the terms of arXiv 1904.07734.

    Examples
    --------
    >>> x, y = np.zeros((2, 8, 8, 1), dtype=np.uint8), np.array([0, 1])
    >>> [task.name for task in rotated(x, y, x, y, 4).tasks]
    ['0°', '45°', '90°', '135°']
    """
    if not np.isfinite(degrees):
        raise ValueError(f"degrees must be a finite number, got {degrees}")
    data, count = checked(x_train, y_train, x_test, y_test, preparation), _checked_tasks(tasks)
    if data.x_train.dtype != np.uint8 or data.x_train.ndim != 4:
        raise ValueError(
            "examples to rotate must be uint8 images (count, height, width, channels), "
            f"got {data.x_train.dtype} of shape {data.x_train.shape}"
        )
    shift = np.zeros(count) if seed is None else Key(seed, stream=streams.ANGLES).uniform(count).astype(np.float64)
    angles = [degrees * (index + float(shift[index])) / count for index in range(count)]
    height, width = data.x_train.shape[1:3]
    whole = _whole(data, "")
    made = [
        _changed(whole, index, Rotated(angle, height, width) if angle else None, data.preparation, f"{angle:.3g}°")
        for index, angle in enumerate(angles)
    ]
    return data.scenario("rotated", made)
