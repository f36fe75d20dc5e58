"""A network together with how raw data become its input: what is saved to be used elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitlearn.datasets.preparation import Preparation
from bitlearn.nn.frozen import Frozen
from bitlearn.nn.model import Model


@dataclass(frozen=True, eq=False)
class Classifier:
    """A network and its preparation.

    Parameters
    ----------
    network : Model or Frozen
        From codes to the scores of classes.
    preparation : Preparation

    Raises
    ------
    ValueError
        Where the network takes or gives something else, or not what the preparation gives.

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

    def __post_init__(self) -> None:
        root, size = self.network.root, self.preparation.image_size
        if root.spec.kind != "codes" or root.output.kind != "real" or len(root.output.shape) != 1:
            raise ValueError(
                f"network must take codes and end in a row of real values, got {root.spec} and {root.output}"
            )
        if size is not None and (len(root.spec.shape) != 3 or root.spec.shape[:2] != (size, size)):
            raise ValueError(f"network must take images of {size} x {size} as they are prepared, got {root.spec}")
        midpoint = self.preparation.scaling.midpoint
        if midpoint is not None and midpoint.shape != root.spec.shape:
            raise ValueError(
                f"network must take features of shape {midpoint.shape} as they are scaled, got {root.spec}"
            )

    @property
    def classes(self) -> int:
        """How many classes it tells apart."""
        return self.network.classes if isinstance(self.network, Frozen) else self.network.output_shape[-1]

    def predict(self, x: np.ndarray, *, batch_size: int = 1000) -> np.ndarray:
        """Return the class of each raw example.

        Parameters
        ----------
        x : ndarray, shape (count, ...)
            Raw images or features, as the training data were.
        batch_size : int
            How many examples are worked on at a time.

        Returns
        -------
        ndarray of int64, shape (count,)

        Raises
        ------
        ValueError
            Where the examples have another shape than those it was trained on.
        """
        parts = []
        for start in range(0, len(x), batch_size):
            codes = self.preparation.codes(x[start : start + batch_size])
            if codes.shape[1:] != self.network.input_shape:
                raise ValueError(f"examples must give codes of shape {self.network.input_shape}, got {codes.shape[1:]}")
            parts.append(self.network.predict(codes))
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
