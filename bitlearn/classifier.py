"""A network together with how raw data become its input: what is saved to be used elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bitlearn.datasets.levels import Thermometer
from bitlearn.datasets.preparation import Examples, Preparation
from bitlearn.errors import brief
from bitlearn.nn.frozen import Frozen
from bitlearn.nn.model import Model
from bitlearn.nn.summary import Summary


@dataclass(frozen=True, eq=False, repr=False)
class Classifier:
    """A network and its preparation.

    Parameters
    ----------
    network : Model or Frozen
        A network from codes to the scores of classes.
    preparation : Preparation
    labels : tuple of str, int, float or bool, optional
        The name of each output's class, by default its number.

    Raises
    ------
    ValueError
        If the network's input or output is of another kind, or its input does not fit the preparation; or if there are
        not as many labels as outputs, or two are the same.

    Examples
    --------
    >>> import bitlearn as bl
    >>> from bitlearn.datasets.preparation import prepare
    >>> x = np.zeros((3, 8, 8, 1), dtype=np.uint8)
    >>> Classifier(bl.models.mlp((8, 8, 1), 2, hidden=(8,)), prepare(x)).predict(x).shape
    (3,)
    """

    network: Model | Frozen
    preparation: Preparation
    labels: tuple[Any, ...] | None = None

    def __post_init__(self) -> None:
        root, size, scaling = self.network.root, self.preparation.image_size, self.preparation.scaling
        kind = "bits" if isinstance(scaling, Thermometer) else "codes"
        if root.spec.kind != kind or root.output.kind != "real" or len(root.output.shape) != 1:
            raise ValueError(
                f"network must take {kind} and end in a row of real values, got {root.spec} and {root.output}"
            )
        if size is not None and (len(root.spec.shape) != 3 or root.spec.shape[:2] != (size, size)):
            raise ValueError(f"network must take images of {size} x {size} as they are prepared, got {root.spec}")
        shape = scaling.shape
        if isinstance(scaling, Thermometer):
            shape = (*scaling.shape[:-1], scaling.thresholds.shape[-1] * scaling.shape[-1])
        if shape is not None and shape != root.spec.shape:
            raise ValueError(f"network must take features of shape {shape} as they are scaled, got {root.spec}")
        if self.labels is not None and len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels must be different, got {brief(self.labels)}")
        if self.labels is not None and len(self.labels) != self.classes:
            raise ValueError(f"labels must be one for each of the {self.classes} outputs, got {len(self.labels)}")

    @property
    def classes(self) -> int:
        """The number of classes."""
        return self.network.classes if isinstance(self.network, Frozen) else self.network.output_shape[-1]

    def scores(self, x: Any, *, batch_size: int = 1000) -> np.ndarray:
        """Return the scores of the classes for each raw example.

        Parameters
        ----------
        x : array_like, shape (count, ...)
            Raw images or features, like the training data.
        batch_size : int
            How many examples are processed at a time.

        Returns
        -------
        ndarray of float32, shape (count, classes)

        Raises
        ------
        TypeError, ValueError
            If the examples do not hold numbers, or their shape or type differs from the training data.
        """
        examples, parts = Examples(x, None, self.preparation), []
        network = self.network.freeze() if isinstance(self.network, Model) else self.network
        for start in range(0, len(examples), batch_size):
            codes = examples.codes(slice(start, start + batch_size))
            if codes.shape[1:] != self.network.input_shape:
                raise ValueError(f"examples must give codes of shape {self.network.input_shape}, got {codes.shape[1:]}")
            parts.append(network.scores(codes))
        return np.concatenate(parts) if parts else np.empty((0, self.classes), dtype=np.float32)

    def predict(self, x: Any, *, batch_size: int = 1000) -> np.ndarray:
        """Return the class of each raw example: its label if there are labels, otherwise its number.

        Parameters
        ----------
        x, batch_size
            As `scores`.

        Returns
        -------
        ndarray of int64, or of the type of the labels, shape (count,)

        Raises
        ------
        TypeError, ValueError
            As `scores`.
        """
        found = self.scores(x, batch_size=batch_size).argmax(axis=1)
        return found if self.labels is None else np.array(self.labels)[found]

    def predict_proba(self, x: Any, *, batch_size: int = 1000) -> np.ndarray:
        """Return the softmax of the scores: rows sum to 1, in the order of `labels`.

        Parameters
        ----------
        x, batch_size
            As `scores`.

        Returns
        -------
        ndarray of float64, shape (count, classes)
        """
        return probabilities(self.scores(x, batch_size=batch_size))

    def summary(self) -> Summary:
        """Return the table of the network's layers, like `Model.summary`."""
        return self.network.summary()

    def __repr__(self) -> str:
        labels = "" if self.labels is None else f", labels={brief(self.labels)}"
        return f"Classifier({self.network!r}, {self.preparation!r}{labels})"

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()


def probabilities(scores: np.ndarray) -> np.ndarray:
    """Return the softmax of each row of scores, as float64.

    Examples
    --------
    >>> probabilities(np.array([[0.0, np.log(3)]]))
    array([[0.25, 0.75]])
    """
    found = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True, initial=-np.inf))
    return found / found.sum(axis=1, keepdims=True)
