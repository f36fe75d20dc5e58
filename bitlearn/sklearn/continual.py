"""A continual learner as a classifier of scikit-learn."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from bitlearn.continual import ContinualLearner
from bitlearn.sklearn.coded import Coded, seed_of

#: By how much wider than its first batch a stream may become before its features leave their codes.
_WIDER = (1, 2, 4, 8)


class ContinualBitClassifier(ClassifierMixin, Coded):
    """A continual learner as a scikit-learn classifier: for batches of a stream, and classes that arrive late.

    Parameters
    ----------
    method : str
        A name of `bitlearn.continual.METHODS`. The default, ``"analytic"``, forgets nothing.
    model : str, optional
        The network of a method that trains one: a name of `bitlearn.models`.
    memory_budget : int or str, optional
        Bytes of everything that the learner stores and works with: ``"64 KiB"``.
    replay_size : int, optional
        The number of examples in a replay memory.
    epochs, batch_size : int
        Used by `fit`, for methods that train a network.
    codes, bits
        As for `BitClassifier`, fitted on the first batch; in `partial_fit` the range is widened up to 8 times, since
        later classes may lie elsewhere. ``auto`` also gives a thermometer.
    random_state : int, RandomState or None

    Attributes
    ----------
    classes_ : ndarray
        The labels seen so far, sorted.
    learner_ : ContinualLearner
        What `bitlearn.save` writes.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> x, y = load_digits(return_X_y=True)
    >>> order = np.argsort(y, kind="stable")  # class after class
    >>> classifier = ContinualBitClassifier(memory_budget="64 KiB")
    >>> for rows in np.array_split(order, 20):
    ...     _ = classifier.partial_fit(x[rows].astype(np.uint8) * 15, y[rows])
    >>> classifier.score(x.astype(np.uint8) * 15, y) > 0.95
    True
    """

    def __init__(
        self,
        method: str = "analytic",
        *,
        model: str | None = None,
        memory_budget: int | str | None = None,
        replay_size: int | None = None,
        epochs: int = 10,
        batch_size: int = 100,
        codes: str = "auto",
        bits: int | None = None,
        random_state: Any = 0,
    ):
        self.method = method
        self.model = model
        self.memory_budget = memory_budget
        self.replay_size = replay_size
        self.epochs = epochs
        self.batch_size = batch_size
        self.codes = codes
        self.bits = bits
        self.random_state = random_state

    def _begin(self, x: np.ndarray, *, wide: bool) -> None:
        typical = x
        if wide and x.dtype != np.uint8:  # classes to come may lie far from those of the first batch
            middle = np.median(x, axis=0)
            typical = np.concatenate([middle + factor * (x - middle) for factor in _WIDER])
        prepared = self._prepare(typical, takes_bits=self.model in (None, "mlp"))
        settings: dict[str, Any] = {"epochs": self.epochs, "batch_size": self.batch_size}
        for name in ("memory_budget", "replay_size"):
            if getattr(self, name) is not None:
                settings[name] = getattr(self, name)
        self.learner_ = ContinualLearner(
            self.method,
            self.model,
            preparation=None if self._uint8 and self.codes == "auto" else prepared,
            seed=seed_of(self.random_state),
            **settings,
        )
        self.classes_: np.ndarray = np.empty(0, dtype=int)

    def _learn(self, X: Any, y: Any, *, reset: bool, task: bool) -> Self:
        x, y = self._labelled_examples(X, y, reset=reset)
        check_classification_targets(y)
        if reset:
            self._begin(x, wide=not task)
        known = np.union1d(self.classes_, y) if len(self.classes_) else np.unique(y)
        outputs = y if y.dtype.kind in "iuUO" else y.astype(str)
        getattr(self.learner_, "fit_task" if task else "partial_fit")(x, outputs)
        self.classes_ = known
        return self

    def fit(self, X: Any, y: Any) -> Self:
        """Start afresh, and learn all examples as one task.

        Parameters
        ----------
        X, y
            As `BitClassifier.fit`.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If examples, labels or parameters make no sense.
        """
        return self._learn(X, y, reset=True, task=True)

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:
        """Learn a batch of a stream, each example once; new classes may appear.

        Parameters
        ----------
        X, y
            As `BitClassifier.fit`. One example is enough.
        classes : array_like, optional
            Accepted for compatibility with scikit-learn: classes need not be announced.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            As `fit`.
        """
        return self._learn(X, y, reset=not hasattr(self, "learner_"), task=False)

    @property
    def saved_as_(self) -> ContinualLearner:
        """What `bitlearn.save` writes and `bitlearn.load` returns: it keeps learning."""
        check_is_fitted(self, "learner_")
        return self.learner_

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the softmax of the scores, float64 of shape (count, classes), in the order of ``classes_``."""
        check_is_fitted(self, "learner_")
        found = self.learner_.predict_proba(self._examples(X, reset=False))
        texts = [str(label) for label in self.learner_.labels]
        return found[:, [texts.index(str(label)) for label in self.classes_.tolist()]]

    def predict(self, X: Any) -> np.ndarray:
        """Return the label of each example, shape (count,)."""
        found = self.predict_proba(X)
        return self.classes_[found.argmax(axis=1)]
