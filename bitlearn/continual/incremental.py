"""Learners that keep exact sums and nothing else, the same in every order; what was learned can be taken off."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from bitlearn.bits import Bits
from bitlearn.continual import storage
from bitlearn.continual.features import Inputs, inputs
from bitlearn.continual.statistics import MOST_EXAMPLES, Label, Statistics
from bitlearn.nn.frozen import Frozen
from bitlearn.nn.model import Model
from bitlearn.ops import check

#: Examples that are worked on at a time.
_AT_A_TIME = 2048
DEFAULT_EXAMPLES = 2**31 - 1


#: What an input is: codes or bits, and the shape of one.
Form = tuple[str, tuple[int, ...]]


def form_of(x: Inputs) -> Form:
    """Return what an input is: ``("codes", shape)`` or ``("bits", shape)``, the shape being that of one example."""
    return "bits" if isinstance(x, Bits) else "codes", tuple(x.shape[1:])


class IncrementalLearner:
    """What the learners of exact sums have in common; each adds its features and how it predicts.

    Parameters
    ----------
    examples : int
        The most examples that it holds at a time.
    classes : int, optional
        The most classes; any number by default.
    backbone : Frozen or Model, optional
        A network that ends in packed bits, which stand for the input.
    """

    kind: ClassVar[str]
    #: Whether sums of products by pair are kept.
    pairs: ClassVar[bool] = False

    def __init__(
        self,
        *,
        examples: int = DEFAULT_EXAMPLES,
        classes: int | None = None,
        backbone: Frozen | Model | None = None,
    ):
        self.examples = check.count("examples", examples, least=1)
        if self.examples > MOST_EXAMPLES:
            raise ValueError(f"examples must be at most {MOST_EXAMPLES}, got {examples}")
        self.classes = None if classes is None else check.count("classes", classes, least=1)
        self.backbone = backbone.freeze() if isinstance(backbone, Model) else backbone
        if self.backbone is not None and self.backbone.root.output.kind != "bits":
            raise ValueError(f"backbone must end in packed bits, got one that gives {self.backbone.root.output}")
        self.form: Form | None = None
        self.statistics: Statistics | None = None
        self._made: Any = None

    # --- what each learner says of itself ---

    def settings(self) -> dict[str, Any]:
        """Return what it was made with, as a file keeps it; the network apart."""
        return {"examples": self.examples, "classes": self.classes}

    def _size(self, form: Form) -> tuple[int, int]:
        """Return how many features there are, and the largest code of one."""
        raise NotImplementedError

    def _features(self, form: Form) -> Callable[[Inputs], np.ndarray]:
        """Return what makes the features' codes, (rows, features) of uint8."""
        raise NotImplementedError

    def _head(self, statistics: Statistics) -> Any:
        """Return what scores are made with, from the sums."""
        raise NotImplementedError

    def _scores(self, head: Any, codes: np.ndarray) -> np.ndarray:
        """Return (rows, classes) of float64, the larger the likelier."""
        raise NotImplementedError

    # --- learning ---

    @property
    def labels(self) -> list[Label]:
        """The classes it knows, in order."""
        return [] if self.statistics is None else list(self.statistics.labels)

    @property
    def count(self) -> int:
        """How many examples it holds the sums of."""
        return 0 if self.statistics is None else self.statistics.count

    @property
    def nbytes(self) -> int:
        """The bytes of all it keeps of examples: sums and counts. A head is made from them when it is wanted."""
        return 0 if self.statistics is None else self.statistics.nbytes

    def _read(self, x: Inputs) -> Inputs:
        """Return what features are made of, checked against what was learned before."""
        if self.backbone is not None:
            x = self.backbone.apply(x)
        x = inputs(x)
        if self.form not in (None, form_of(x)):
            wanted, found = self.form, form_of(x)
            raise ValueError(f"x must hold {wanted[0]} of shape {wanted[1]} an example, got {found[0]} of {found[1]}")
        return x

    def empty(self, form: Form) -> Statistics:
        """Return sums of no examples of a form."""
        features, largest = self._size(form)
        return Statistics(features, largest, pairs=self.pairs, examples=self.examples)

    def size(self, form: Form, classes: int) -> int:
        """Return the bytes that it keeps of examples of a form and of so many classes."""
        features, largest = self._size(form)
        return Statistics.size(features, largest, pairs=self.pairs, examples=self.examples, classes=classes)

    def _sums(self, x: Inputs, y: ArrayLike) -> Statistics:
        """Return the sums of some examples alone, which were read before."""
        given = np.asarray(y)
        if given.dtype.kind not in "iubU" and given.size:
            raise TypeError(f"y must hold integers or strings, got {given.dtype}")
        if given.shape != (len(x),):
            raise ValueError(f"y must hold a label for each of the {len(x)} examples, got shape {given.shape}")
        labels, classes = np.unique(given, return_inverse=True)
        known = self.labels
        if known and len(labels) and isinstance(known[0], str) != (given.dtype.kind == "U"):
            raise TypeError(f"y must hold labels like {known[0]!r}, got {labels.tolist()[0]!r}")
        extract, result = self._features(form_of(x)), self.empty(form_of(x))
        names = labels.tolist() if given.dtype.kind == "U" else [int(label) for label in labels]
        for start in range(0, len(x), _AT_A_TIME):
            rows = slice(start, start + _AT_A_TIME)
            result.add(extract(x[rows]), names, classes[rows])
        return result

    def _take(self, found: Statistics, form: Form) -> None:
        """Add sums to those that are held."""
        if self.count + found.count > self.examples:
            raise ValueError(f"examples must be at most {self.examples}, got {self.count + found.count}")
        classes = len(set(self.labels) | set(found.labels))
        if self.classes is not None and classes > self.classes:
            raise ValueError(f"classes must be at most {self.classes}, got {classes}")
        if found.count:
            if self.statistics is None:
                self.statistics, self.form = self.empty(form), form
            self.statistics.merge(found)
            self._made = None

    def partial_fit(self, x: Inputs, y: ArrayLike) -> Self:
        """Learn examples.

        Parameters
        ----------
        x : ndarray of uint8 or int8, or Bits, shape (count, ...)
            Images or rows of codes, or packed bits; what `backbone` takes where there is one. One example is enough.
        y : array_like of int or str, shape (count,)
            Labels; of classes that were never seen, too.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            Where examples or labels are of another type or shape than those before, or more than are allowed; nothing
            is changed then.
        """
        x = self._read(x)
        self._take(self._sums(x, y), form_of(x))
        return self

    def forget(self, x: Inputs, y: ArrayLike) -> Self:
        """Take off examples that were learned, as if they had never been seen: the sums are equal, bit for bit.

        Parameters
        ----------
        x, y
            As `partial_fit`.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            As `partial_fit`; and where the sums tell that the examples were not learned, which not all do.
        """
        found = self._sums(self._read(x), y)
        if found.count > self.count:
            raise ValueError(f"x must hold at most the {self.count} examples that were learned, got {found.count}")
        if found.count and self.statistics is not None:
            left = self.statistics.without(found)
            self.statistics, self._made = (left if left.count else None), None
            self.form = self.form if left.count else None
        return self

    def merge(self, other: Self) -> Self:
        """Learn all that another learner learned, from its sums alone: the same as learning its examples.

        Parameters
        ----------
        other : learner
            Of the same class and settings, with the same network.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            Where the other differs, or both together are too much; nothing is changed then.
        """
        if type(other) is not type(self):
            raise TypeError(f"other must be of the class {type(self).__name__}, got {type(other).__name__}")
        if other.settings() != self.settings() or storage.network(other.backbone) != storage.network(self.backbone):
            raise ValueError(f"other must have the settings {self.settings()} and the same network, got others")
        if other.statistics is not None and other.form is not None:
            if self.form not in (None, other.form):
                raise ValueError(f"other must have learned inputs {self.form}, got {other.form}")
            if self.labels and isinstance(self.labels[0], str) != isinstance(other.labels[0], str):
                raise TypeError(f"other must have labels like {self.labels[0]!r}, got {other.labels[0]!r}")
            self._take(other.statistics, other.form)
        return self

    # --- predicting ---

    def scores(self, x: Inputs) -> np.ndarray:
        """Return a score for each class, the larger the likelier.

        Parameters
        ----------
        x
            As `partial_fit`.

        Returns
        -------
        ndarray of float64, shape (count, classes)
            In the order of `labels`.

        Raises
        ------
        ValueError
            Where nothing was learned yet; and as `partial_fit`.
        """
        x = self._read(x)
        if self.statistics is None:
            raise ValueError("a learner must have learned an example before it predicts, got none")
        if self._made is None:
            self._made = self._head(self.statistics)
        extract = self._features(form_of(x))
        result = np.empty((len(x), len(self.labels)))
        for start in range(0, len(x), _AT_A_TIME):
            rows = slice(start, start + _AT_A_TIME)
            result[rows] = self._scores(self._made, extract(x[rows]))
        return result

    def predict(self, x: Inputs) -> np.ndarray:
        """Return the label of the class with the largest score for each example, the first of equals.

        Parameters
        ----------
        x
            As `partial_fit`.

        Returns
        -------
        ndarray, shape (count,)
            Of int64 or of strings.
        """
        scores = self.scores(x)
        return np.array(self.labels)[scores.argmax(axis=1)]

    def score(self, x: Inputs, y: ArrayLike) -> float:
        """Return the share of examples whose label is predicted.

        Parameters
        ----------
        x, y
            As `partial_fit`.

        Returns
        -------
        float
        """
        return int((self.predict(x) == np.asarray(y)).sum()) / max(len(x), 1)

    # --- files ---

    def save(self, path: str | PathLike[str]) -> None:
        """Save it to one file, whole or not at all: settings, sums, and the network where there is one.

        Parameters
        ----------
        path : path-like
        """
        storage.save(self, path)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Load what `save` wrote.

        Parameters
        ----------
        path : path-like

        Returns
        -------
        learner
            Equal to the one that was saved, bit for bit.

        Raises
        ------
        FileNotFoundError
            Where there is no such file.
        ValueError
            Where it is corrupt, of another kind, or its arrays are not sums of examples.
        """
        return storage.load(cls, path)
