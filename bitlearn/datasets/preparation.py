"""From a data set's images or features to the codes that a network takes, batch by batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitlearn.datasets.rows import Rows
from bitlearn.datasets.scaling import Scaling, fit_scaling, pad_images


@dataclass(frozen=True, eq=False)
class Preparation:
    """The scaling of the training data and the size to which images are padded.

    Parameters
    ----------
    scaling : Scaling
    image_size : int or None
        Images are padded with zeros to this height and width; None leaves them.
    """

    scaling: Scaling
    image_size: int | None = None

    def __post_init__(self) -> None:
        if self.image_size is not None and (type(self.image_size) is not int or self.image_size < 1):
            raise ValueError(f"image_size must be an integer of at least 1 or None, got {self.image_size!r}")

    def codes(self, x: np.ndarray) -> np.ndarray:
        """Return int8 codes for raw examples, in the shape that the network takes.

        Parameters
        ----------
        x : ndarray, shape (count, ...)
            In the shape and type of the training data.

        Returns
        -------
        ndarray of int8, shape (count, ...)
        """
        if self.image_size is not None:
            x = pad_images(x, self.image_size, self.image_size)
        return self.scaling.codes(x)


@dataclass(frozen=True, eq=False)
class Examples:
    """Raw examples and labels, which become codes only batch by batch.

    Parameters
    ----------
    x : ndarray or Rows
        Raw images or features, as a `Dataset` holds them.
    y : ndarray of int64
    preparation : Preparation
    """

    x: np.ndarray | Rows
    y: np.ndarray
    preparation: Preparation

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            raise ValueError(f"x and y must have as many rows as each other, got {len(self.x)} and {len(self.y)}")

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: slice | np.ndarray) -> Examples:
        """Return some of the examples."""
        return Examples(self.x[index], self.y[index], self.preparation)

    def codes(self, index: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Return the int8 codes of some examples.

        Parameters
        ----------
        index : slice, ndarray of int or ndarray of bool
            Which examples; all by default.

        Returns
        -------
        ndarray of int8, shape (count, ...)
        """
        return self.preparation.codes(self.x[index])


def prepare(x_train: np.ndarray | Rows, image_size: int | None = None) -> Preparation:
    """Return the preparation fitted on training data.

    Parameters
    ----------
    x_train : ndarray, shape (count, height, width, channels) or (count, features)
    image_size : int, optional
        Pad images to this size, as networks made for 32×32 images want.

    Returns
    -------
    Preparation

    Raises
    ------
    ValueError
        Where images are wanted and the data are features, or the images are larger.

    Examples
    --------
    >>> prepare(np.zeros((2, 28, 28, 1), dtype=np.uint8), 32).codes(np.zeros((1, 28, 28, 1), dtype=np.uint8)).shape
    (1, 32, 32, 1)
    """
    if image_size is None:
        # The scaling of uint8 is one for all: images that are read from files as they are asked for are not looked at.
        return Preparation(fit_scaling(x_train[:1] if x_train.dtype == np.uint8 else np.asarray(x_train)))
    if x_train.ndim != 4:
        raise ValueError(f"examples must be images for this network, got features of shape {x_train.shape[1:]}")
    return Preparation(fit_scaling(pad_images(x_train[:1], image_size, image_size)), image_size)
