"""Which input channels of a centre a task trains, in whole words: how many fit, and which matter most."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bitlearn.bits import WORD, WORD_BITS
from bitlearn.budgets import budget_bytes
from bitlearn.continual.options import Options
from bitlearn.continual.ranges import SIZE, interval
from bitlearn.continual.settings import setting
from bitlearn.nn.centre import CentreConv2d
from bitlearn.nn.frozen import Batch
from bitlearn.nn.losses import Loss
from bitlearn.nn.model import Model
from bitlearn.training.gradients import Gradients


@dataclass(frozen=True)
class ChannelOptions(Options):
    """Options of methods that train only some channels of a centre."""

    channel_share: float = setting(
        0.75,
        "The fraction of the centre's input channels that a task trains, in whole words of 64.",
        interval("(0, 1]"),
    )
    channel_budget: int | float | str | None = setting(
        None,
        "How many bytes the centre's gradient, and the bits it is computed from, may take in a step, such as 65536 or "
        '``"64 KiB"``. As many words as fit are trained; replaces ``channel_share``.',
        SIZE,
    )
    channel_choice: Literal["gradient", "random"] = setting(
        "gradient", "Choose channels by the largest gradient over the task's examples, or at random in each epoch."
    )


def words_within(budget: float | str, centre: CentreConv2d, batch: int, most: int) -> int:
    """Return how many words of channels fit a step's budget for the bits of a batch and the gradient of their weights.

    Parameters
    ----------
    budget : int or str
        In bytes.
    centre : CentreConv2d
    batch : int
        Examples per step.
    most : int
        The number of words in the centre.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If not even one fits.

    Notes
    -----
    A word takes 8 bytes per pixel and example, and 4 bytes for each of its 64 weights in each filter.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.nn.Model([CentreConv2d(64, 128)], bl.nn.Spec.sums((4, 4, 64 + 4 * 2)))
    >>> words_within("32 KiB", model["centre1"], 50, 2), words_within("1 MiB", model["centre1"], 50, 2)
    (1, 2)
    """
    height, width, filters = centre.output.shape
    each = 4 * WORD_BITS * filters + WORD.itemsize * batch * height * width
    given = budget_bytes(budget, "channel_budget")
    if given < each:
        raise ValueError(f"channel_budget must be at least {each} bytes, enough for one word of channels, got {budget}")
    return min(given // each, most)


def importance(model: Model, weight: str, batches: Iterable[tuple[Batch, np.ndarray]], loss: Loss) -> np.ndarray:
    """Return, for each word of channels, the magnitude of the gradient summed over new examples.

    Parameters
    ----------
    model : Model
    weight : str
        The name of a matrix of weights (filters, channels).
    batches : iterable of (ndarray or Bits, ndarray of int)
        New examples and their outputs.
    loss : Loss

    Returns
    -------
    ndarray of float64, shape (words,)
        ``mean over filters of |sum over examples of dL/dW|``, summed over the channels of a word.
    """
    total, size = np.zeros(model.parameters()[weight].shape), 0

    def look(name: str, gradient: np.ndarray) -> None:
        if name == weight:
            total[...] += gradient * float(size)

    gradients = Gradients(model, loss, look)
    for x, y in batches:
        size = len(y)
        gradients(x, y)
    worth = np.abs(total).mean(axis=0)
    return np.bincount(np.arange(len(worth)) // WORD_BITS, weights=worth)
