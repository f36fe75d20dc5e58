"""Learners that keep only exact sums: the order of examples does not matter, and examples can be unlearned."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from bitlearn.bits import Bits
from bitlearn.continual import storage
from bitlearn.continual.features import Features, Inputs, inputs, unsigned
from bitlearn.continual.head import LinearHead
from bitlearn.continual.packed import bytes_of
from bitlearn.continual.sized import Form, SizedLearner, form_of
from bitlearn.continual.statistics import FADING_UNIT, MOST_EXAMPLES, Label, Statistics, least_block

#: The most examples processed at a time: sums of this many products are exact in float32.
_AT_A_TIME = 256
#: Labels examined at a time.
_LABELS = 512


class IncrementalLearner(SizedLearner):
    """The shared part of learners of exact sums: learning, forgetting, merging and predicting."""

    # --- learning ---

    @property
    def labels(self) -> list[Label]:
        """The classes it knows, in order."""
        return [] if self.statistics is None else list(self.statistics.labels)

    @property
    def count(self) -> int:
        """How many examples it holds the sums of."""
        return 0 if self.statistics is None else self.statistics.count

    def _inputs(self, x: Inputs) -> Inputs:
        """Return what the features of examples are computed from."""
        return inputs(x if self.backbone is None else self.backbone.apply(x))

    def _read(self, x: Inputs) -> tuple[Inputs, Form]:
        """Return examples as the features take them, and their form, checked against what was learned before."""
        form = form_of(self._inputs(x[:1] if isinstance(x, Bits) else np.asarray(x)[:1]))
        if self.form not in (None, form):
            wanted, found = self.form, form
            raise ValueError(f"x must hold {wanted[0]} of shape {wanted[1]} per example, got {found[0]} of {found[1]}")
        return (x if isinstance(x, Bits) else np.asarray(x)), form

    def _labels(self, x: Inputs, y: ArrayLike) -> tuple[np.ndarray, set[Label]]:
        """Return the labels of examples, and the set of distinct ones."""
        given = np.asarray(y)
        if given.dtype.kind not in "iubU" and given.size:
            raise TypeError(f"y must hold integers or strings, got {given.dtype}")
        if given.shape != (len(x),):
            raise ValueError(f"y must hold a label for each of the {len(x)} examples, got shape {given.shape}")
        if given.dtype.kind == "b":
            given = given.astype(np.int64)
        known, found = self.labels[:1], set[Label]()
        for first in range(0, len(given), _LABELS):
            found.update(given[first : first + _LABELS].tolist())
        if known and found and isinstance(known[0], str) != (given.dtype.kind == "U"):
            raise TypeError(f"y must hold labels like {known[0]!r}, got {given[0].item()!r}")
        return given, found

    def _codes(self, form: Form) -> Features:
        """Return the feature extractor, with as many features as the sums have."""
        if self._extractor is None:
            assert self.statistics is not None
            self._extractor = self._features(form, self.statistics.features)
        return self._extractor

    def _rows(self, form: Form, bytes: int, of_row: int, fixed: int) -> int:
        """Return how many examples at a time fit in `bytes`, given what each takes besides its features."""
        assert self.statistics is not None
        features = self.statistics.features
        one, two = (self._feature_bytes(form, features, rows)[1] for rows in (1, 2))
        each, base = two - one + of_row, 2 * one - two + fixed
        return int(np.clip((bytes - base) // each, 1, _AT_A_TIME))

    def _admit(self, form: Form, labels: set[Label], count: int) -> None:
        """Make room for `count` examples in all and for their classes, or raise ValueError with nothing changed."""
        classes = len(labels | set(self.statistics.labels if self.statistics else ()))
        if self.half_life is None:
            if self.examples is not None and count > self.examples:
                raise ValueError(f"examples must be at most {self.examples}, got {count}")
            if count > MOST_EXAMPLES:
                raise ValueError(f"examples must be at most {MOST_EXAMPLES}, got {count}")
        if self.classes is not None and classes > self.classes:
            raise ValueError(f"classes must be at most {self.classes}, got {classes}")
        self._make_room(form, classes, count)

    def _make_room(self, form: Form, classes: int, count: int, most: int | None = None) -> None:
        """Keep as many features as fit, at most `most`, in integers wide enough for the examples."""
        examples = self._most_examples(count)
        features, largest = self._size(form)
        if features is None:
            classes = self.classes or classes
            sizes = (form, classes, bytes_of(examples * largest), bytes_of(examples * largest**2))
            if self._fitted is None or self._fitted[0] != sizes:
                self._fitted = sizes, self._fitting(form, classes, examples)
            features = self._fitted[1]
        features = min(features, most or features)
        self._made = None
        if self.statistics is None:
            unit = 1 if self.half_life is None else FADING_UNIT
            self._extractor = None
            self.statistics = Statistics(features, largest, pairs=self.pairs, examples=examples, unit=unit)
            self.form = form
        else:
            features = min(features, self.statistics.features)
            if self._extractor is not None and features < self.statistics.features:
                self._extractor.keep(features)
            self.statistics.fit(features, examples)

    def _change(self, x: Inputs, y: np.ndarray, form: Form, sign: int) -> bool:
        """Add examples to the sums or subtract them, some at a time; return whether no sum fell below 0."""
        statistics, extract, fits = self.statistics, self._codes(form), True
        assert statistics is not None
        room = self.memory().learning
        # int8 codes are copied; summing pairs takes a float32 per code; and each example has a label and a row.
        own = int(np.prod(form[1])) if form[0] == "codes" else 0
        some = self._rows(form, room, own + 24, 64)
        if self.pairs:
            block = least_block(statistics.features)
            some = min(some, max(1, (room - block - 64) // (5 * statistics.features + 24)))
            block = max(block, room - 64 - some * (5 * statistics.features + 24))
        else:
            block = 0
        first = 0
        while first < len(y):
            last = min(first + some, len(y))
            if sign > 0 and self.half_life is not None:
                last = min(last, first + self.half_life - self.since)
            names = y[first:last].tolist()
            if sign > 0:
                statistics.admit(names)
            places = {label: statistics.labels.index(label) for label in set(names)}
            rows = np.array([places[label] for label in names])
            codes = extract(unsigned(self._inputs(x[first:last])))
            fits &= statistics.change(codes, rows, sign, work=block)
            if sign > 0 and self.half_life is not None:
                self.since += last - first
                if self.since == self.half_life:
                    statistics.halve()
                    self.since = 0
            first = last
        return fits

    def partial_fit(self, x: Inputs, y: ArrayLike) -> Self:
        """Learn examples.

        Parameters
        ----------
        x : ndarray of uint8 or int8, or Bits, shape (count, ...)
            Images or rows of codes, or packed bits; if there is a `backbone`, its input. One example is enough.
        y : array_like of int or str, shape (count,)
            Labels, which may include new classes.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If examples or labels differ from earlier ones in type or shape, or there are more than are allowed or fit
            the budget; nothing is changed then.
        """
        x, form = self._read(x)
        given, labels = self._labels(x, y)
        if len(given):
            self._admit(form, labels, self.count + len(given))
            self._change(x, given, form, 1)
        return self

    def forget(self, x: Inputs, y: ArrayLike) -> Self:
        """Unlearn examples: the sums are then the same, bit for bit, as if they had never been learned.

        Features dropped to fit the budget do not come back.

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
            As `partial_fit`; also if the learner has a `half_life`, or the sums show that the examples were not
            learned, which they cannot always.
        """
        x, form = self._read(x)
        given, labels = self._labels(x, y)
        self._refuse_fading("forget")
        if len(given) > self.count:
            raise ValueError(f"x must hold at most the {self.count} examples that were learned, got {len(given)}")
        statistics = self.statistics
        if not len(given) or statistics is None:
            return self
        refused = ValueError("x and y must be examples that were learned, got some that were not")
        if not labels <= set(statistics.labels):
            raise refused
        self._made = None
        if not (self._change(x, given, form, -1) and statistics.settle()):
            self._change(x, given, form, 1)
            raise refused
        if statistics.count:
            statistics.fit(statistics.features, self._most_examples(statistics.count))
        else:
            self.statistics = self.form = self._extractor = None
        return self

    def _refuse_fading(self, what: str) -> None:
        if self.half_life is not None:
            raise ValueError(f"{what} must be called on a learner without half_life, got half_life={self.half_life}")

    def merge(self, other: Self) -> Self:
        """Learn everything that another learner learned, from its sums alone: the same as learning its examples.

        If a budget determines the number of features, it becomes the smaller of the two numbers, or fewer if necessary
        to fit both learners' examples.

        Parameters
        ----------
        other : learner
            Of the same class, with the same settings and network. Learners whose features follow a budget may have
            different limits.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If the other differs, both together exceed a limit, or there is a `half_life`; nothing is changed then.
        """
        if type(other) is not type(self):
            raise TypeError(f"other must be of the class {type(self).__name__}, got {type(other).__name__}")
        loose = ("memory_budget", "classes", "examples") if self.budget is not None else ()
        own, theirs = ({k: v for k, v in each.settings().items() if k not in loose} for each in (self, other))
        if own != theirs or storage.network(other.backbone) != storage.network(self.backbone):
            raise ValueError(f"other must have the settings {self.settings()} and the same network, got others")
        self._refuse_fading("merge")
        if other.statistics is not None and other.form is not None:
            if self.form not in (None, other.form):
                raise ValueError(f"other must have learned inputs {self.form}, got {other.form}")
            if self.labels and isinstance(self.labels[0], str) != isinstance(other.labels[0], str):
                raise TypeError(f"other must have labels like {self.labels[0]!r}, got {other.labels[0]!r}")
            added = other.statistics
            self._admit(other.form, set(added.labels), self.count + added.count)
            mine = self.statistics
            assert mine is not None
            if added.features < mine.features:
                self._make_room(other.form, len(self.labels), mine.examples, added.features)
            mine.merge(added, work=self.memory().learning)
        return self

    # --- predicting ---

    def _scored(self, x: Inputs, form: Form) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield slices of examples and their scores."""
        statistics = self.statistics
        if statistics is None:
            raise ValueError("a learner must have learned an example before it predicts, got none")
        memory, classes = self.memory(), len(statistics.labels)
        if self._made is None:
            self._made = self._head(statistics, memory.solving)
        extract, own = self._codes(form), int(np.prod(form[1])) if form[0] == "codes" else 0
        work = [LinearHead.work(classes, rows) for rows in (1, 2)]
        some = self._rows(form, memory.predicting, own + work[1] - work[0], 2 * work[0] - work[1])
        for first in range(0, len(x), some):
            rows = slice(first, first + some)
            yield rows, self._scores(self._made, extract(unsigned(self._inputs(x[rows]))))

    def scores(self, x: Inputs) -> np.ndarray:
        """Return a score for each class; larger means likelier.

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
            If nothing has been learned yet; also as `partial_fit`.
        """
        x, form = self._read(x)
        parts = self._scored(x, form)
        result = np.empty((len(x), len(self.labels)))
        for rows, scores in parts:
            result[rows] = scores
        return result

    def predict(self, x: Inputs) -> np.ndarray:
        """Return the label of the class with the largest score for each example; the first one if scores are equal.

        Parameters
        ----------
        x
            As `partial_fit`.

        Returns
        -------
        ndarray, shape (count,)
            int64 or strings.
        """
        x, form = self._read(x)
        labels = np.array(self.labels)
        result = np.empty(len(x), dtype=labels.dtype)
        for rows, scores in self._scored(x, form):
            result[rows] = labels[scores.argmax(axis=1)]
        return result

    def score(self, x: Inputs, y: ArrayLike) -> float:
        """Return the share of examples whose label is predicted correctly.

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
        """Save it to one file, whole or not at all: settings, sums, and the network if there is one.

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
            If there is no such file.
        ValueError
            If it is corrupt, holds something else, or its arrays cannot be sums of examples.
        """
        return storage.load(cls, path)
