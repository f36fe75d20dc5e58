"""Features as packed bits, for a pipeline of scikit-learn."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted

from bitlearn.bits import Bits
from bitlearn.errors import by_name
from bitlearn.sklearn.coded import Coded


class BitPacker(TransformerMixin, Coded):
    """Features as packed bits: one bit per threshold, 64 in a word.

    Parameters
    ----------
    bits : int
        Thresholds per feature, at quantiles of the training data; a single one is the median.
    output : {"words", "values"}
        uint64 words, packed as by `bitlearn.pack`; or int8 values of ±1, which any other estimator takes.

    Attributes
    ----------
    thresholds_ : ndarray of float64, shape (features, bits)
    n_values_ : int
        Bits per example: the ``n`` of `bitlearn.hamming` and others.

    Examples
    --------
    >>> import bitlearn as bl
    >>> x = np.array([[0.0, 9.0], [1.0, 8.0], [2.0, 7.0], [3.0, 6.0]])
    >>> packer = BitPacker(bits=3).fit(x)
    >>> words = packer.transform(x)
    >>> bl.hamming(words, words[:1], packer.n_values_).ravel()
    array([0, 2, 4, 6], dtype=int32)
    """

    codes = "thermometer"

    def __init__(self, bits: int = 8, *, output: Literal["words", "values"] = "words"):
        self.bits = bits
        self.output = output

    def __sklearn_tags__(self) -> Any:
        """Say that bits do not keep the type of what they are made of."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

    def fit(self, X: Any, y: Any = None) -> Self:
        """Choose thresholds.

        Parameters
        ----------
        X : array_like, shape (count, features)
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If X does not hold finite numbers, or `output` or `bits` is invalid.
        """
        by_name("output", self.output, dict.fromkeys(("words", "values")))
        x = self._examples(X, reset=True)
        self._prepared = self._prepare(x, takes_bits=True)
        self.thresholds_ = self._prepared.scaling.arrays()["thermometer"]
        self.n_values_ = int(np.prod(self.thresholds_.shape))
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the bits of examples: uint64 words of shape (count, ceil(values / 64)), or ±1 int8 (count, values)."""
        check_is_fitted(self, "thresholds_")
        found = self._prepared.codes(self._examples(X, reset=False))
        assert isinstance(found, Bits)
        return found.words if self.output == "words" else found.unpack()

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return a name per column: ``word0``..., or the feature and its threshold."""
        check_is_fitted(self, "thresholds_")
        if self.output == "words":
            return np.array([f"word{at}" for at in range(-(-self.n_values_ // 64))], dtype=object)
        own = getattr(self, "feature_names_in_", None) if input_features is None else input_features
        names = [f"x{at}" for at in range(len(self.thresholds_))] if own is None else list(own)
        pairs = zip(names, self.thresholds_, strict=True)
        return np.array([f"{name}>={each:g}" for name, row in pairs for each in row], dtype=object)
