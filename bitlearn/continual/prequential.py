"""Test, then train: the accuracy over a stream of any learner that learns batch by batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Learner(Protocol):
    """The interface that is evaluated, which scikit-learn's incremental estimators have, among others."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the class of each example."""

    def partial_fit(self, x: np.ndarray, y: np.ndarray) -> object:
        """Learn from a batch."""


@dataclass(frozen=True, eq=False)
class Prequential:
    """Accuracies after each batch of a stream.

    Parameters
    ----------
    seen : ndarray of int64, shape (batches,)
        How many examples had been tested by then.
    accuracy : ndarray of float64, shape (batches,)
        Over all of these examples.
    windowed : ndarray of float64, shape (batches,)
        Over the last examples, as many as the window covers.
    faded : ndarray of float64, shape (batches,)
        With weights that decrease with an example's age.
    """

    seen: np.ndarray
    accuracy: np.ndarray
    windowed: np.ndarray
    faded: np.ndarray

    def __repr__(self) -> str:
        if not len(self.seen):
            return "Prequential(no examples tested)"
        last = ", ".join(f"{name} {getattr(self, name)[-1]:.4f}" for name in ("accuracy", "windowed", "faded"))
        return f"Prequential({self.seen[-1]} examples tested: {last})"


def prequential(
    learner: Learner,
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
    *,
    window: int = 1000,
    fading: float = 0.999,
    untested: int = 0,
) -> Prequential:
    """Test on each batch of a stream, then learn from it.

    Parameters
    ----------
    learner : object with ``predict(x)`` and ``partial_fit(x, y)``
    batches : iterable of (ndarray, ndarray)
        Examples and labels, as from `Stream.batches <bitlearn.continual.Stream.batches>`.
    window : int
        How many examples the windowed accuracy covers.
    fading : float
        The factor by which an example's weight decreases with each later example, in (0, 1].
    untested : int
        How many batches to learn from at first without testing, if a learner cannot predict from the start.

    Returns
    -------
    Prequential

    Raises
    ------
    ValueError
        If a number is out of its range, or the number of predictions differs from that of labels.

    Notes
    -----
    With ``c_i`` 1 if example ``i`` was predicted correctly, else 0::

        accuracy(i) = (c_1 + ... + c_i) / i windowed(i) = (c_(i - w + 1) + ... + c_i) / w                      w the
        window, or i if that is less faded(i)    = S_i / N_i,  S_i = c_i + f * S_(i - 1),  N_i = 1 + f * N_(i - 1),  S_0
        = N_0 = 0

    Gama, Sebastião and Rodrigues, "On evaluating stream learning algorithms" (Machine Learning 90, 2013). The fading
    factor ``f`` needs no memory of past examples. It acts like a window of about
    ``1 / (1 - f)`` examples.

    Examples
    --------
    >>> class Last:
    ...     seen = 0
    ...     def predict(self, x):
    ...         return np.full(len(x), self.seen)
    ...     def partial_fit(self, x, y):
    ...         self.seen = y[-1]
    >>> labels = np.array([0, 0, 1, 1])
    >>> found = prequential(Last(), ((labels[i : i + 1], labels[i : i + 1]) for i in range(4)), window=2, fading=0.5)
    >>> found.accuracy.tolist(), found.windowed.tolist()
    ([1.0, 1.0, 0.6666666666666666, 0.75], [1.0, 1.0, 0.5, 0.5])
    """
    if window < 1 or untested < 0 or not 0 < fading <= 1:
        raise ValueError(
            "window must be at least 1, untested at least 0 and fading in (0, 1], "
            f"got {window}, {untested} and {fading}"
        )
    last, seen, right, total, weight = np.zeros(0, dtype=bool), 0, 0, 0.0, 0.0
    rows: list[tuple[int, float, float, float]] = []
    for number, (x, y) in enumerate(batches):
        if number >= untested and len(y):
            found = np.asarray(learner.predict(x))
            if found.shape != np.shape(y):
                raise ValueError(f"predict must return labels of shape {np.shape(y)}, got {found.shape}")
            correct = found == y
            powers = fading ** np.arange(len(y) - 1, -1, -1.0)
            total = total * fading ** len(y) + float(powers @ correct)
            weight = weight * fading ** len(y) + float(powers.sum())
            seen, right = seen + len(y), right + int(correct.sum())
            last = np.concatenate([last, correct])[-window:]
            rows.append((seen, right / seen, float(last.mean()), total / weight))
        learner.partial_fit(x, y)
    columns = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    return Prequential(columns[0].astype(np.int64), *columns[1:])
