"""What the estimators share: examples of any shape, and how they become codes."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from bitlearn import datasets
from bitlearn.datasets.preparation import BITS, CODES
from bitlearn.errors import by_name

#: A thermometer of more bits an example is not chosen by default: 256 words.
_MOST_BITS = 2**14


def seed_of(random_state: Any) -> int:
    """Return a seed of the counter-based generator from what scikit-learn takes as a random state."""
    if isinstance(random_state, (int, np.integer)) and random_state >= 0:
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31))


class Coded(BaseEstimator):
    """What the estimators share: examples of any shape, and how they become codes."""

    codes: str
    bits: int | None

    def _labelled_examples(self, x: Any, y: Any, *, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return X and y as arrays."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        found: tuple[np.ndarray, np.ndarray] = self._examples(x, y, reset=reset)
        return found

    def _examples(self, x: Any, y: Any = None, *, reset: bool) -> Any:
        """Return X, and y where it is given, as arrays: numbers, of finite values, of the shape that was fitted."""
        settings: dict[str, Any] = {"reset": reset, "dtype": "numeric", "allow_nd": True}
        found = validate_data(self, x, **settings) if y is None else validate_data(self, x, y, **settings)
        x = found if y is None else found[0]
        if not reset and x.shape[1:] != self._shape:
            raise ValueError(f"X must have the shape {self._shape} per example as in fit, got {x.shape[1:]}")
        if not reset and (x.dtype == np.uint8) != self._uint8:
            wanted = "uint8" if self._uint8 else "no uint8"
            raise TypeError(f"X must be {wanted} as in fit, got {x.dtype}")
        return found

    def _prepare(self, x: np.ndarray, *, takes_bits: bool, image_size: int | None = None) -> datasets.Preparation:
        """Return the preparation fitted on X."""
        self._shape, self._uint8 = x.shape[1:], x.dtype == np.uint8
        codes = self.codes
        by_name("codes", codes, dict.fromkeys(CODES))
        values = int(np.prod(x.shape[1:]))
        if codes == "auto" and not self._uint8 and takes_bits and values * (self.bits or BITS) <= _MOST_BITS:
            codes = "thermometer"
        bits = self.bits if codes == "thermometer" else None
        return datasets.prepare(x, image_size, codes=codes, bits=bits)
