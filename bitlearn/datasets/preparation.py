"""From a data set's images or features to the codes that a network takes, batch by batch."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitlearn.bits import Bits
from bitlearn.datasets import checks
from bitlearn.datasets.folder import Images
from bitlearn.datasets.levels import Quantiles, Thermometer, columns, fit_levels, long_tailed
from bitlearn.datasets.rows import Rows
from bitlearn.datasets.scaling import Scaling, fit_scaling, pad_images
from bitlearn.errors import brief, by_name

#: How features become codes.
CODES = ("auto", "range", "quantile", "thermometer")
#: Bits of a thermometer, a feature. Chosen on held-out parts of made tabular sets.
BITS = 64
#: What the arrays of a file are named, and what is made of them.
_KINDS: dict[tuple[str, ...], Any] = {
    (): Scaling,
    ("half_range", "midpoint"): Scaling,
    (Quantiles.kind,): lambda quantiles: Quantiles(quantiles),
    (Thermometer.kind,): lambda thermometer: Thermometer(thermometer),
}


def rebuilt(arrays: dict[str, np.ndarray]) -> Scaling | Quantiles | Thermometer:
    """Return the scaling whose `arrays` these are.

    Raises
    ------
    ValueError
        If they are of none.
    """
    make = _KINDS.get(tuple(sorted(arrays)))
    if make is None:
        raise ValueError(f"a scaling must have arrays of one kind, got {', '.join(sorted(arrays))}")
    return make(**arrays)


@dataclass(frozen=True, eq=False)
class Preparation:
    """The scaling of the training data and the size to which images are padded.

    Parameters
    ----------
    scaling : Scaling, Quantiles or Thermometer
        How values become codes; a thermometer gives packed bits.
    image_size : int or None
        Images are padded with zeros to this height and width; None leaves them unchanged.
    """

    scaling: Scaling | Quantiles | Thermometer
    image_size: int | None = None

    def __post_init__(self) -> None:
        if self.image_size is not None and (type(self.image_size) is not int or self.image_size < 1):
            raise ValueError(f"image_size must be an integer of at least 1 or None, got {self.image_size!r}")

    def codes(self, x: np.ndarray) -> np.ndarray | Bits:
        """Return the codes of raw examples, in the shape that the network takes.

        Parameters
        ----------
        x : ndarray, shape (count, ...)
            Examples in the shape and type of the training data.

        Returns
        -------
        ndarray of int8 or Bits, shape (count, ...)
        """
        if self.image_size is not None:
            x = pad_images(x, self.image_size, self.image_size)
        return self.scaling.codes(x)

    def __repr__(self) -> str:
        shape = "" if self.scaling.shape is None else f" of shape {self.scaling.shape}"
        padded = "" if self.image_size is None else f", padded to {self.image_size} x {self.image_size}"
        return f"Preparation({type(self.scaling).__name__}{shape}{padded})"


@dataclass(frozen=True, eq=False, repr=False)
class Examples:
    """Raw examples and labels, which become codes only batch by batch.

    Parameters
    ----------
    x : array_like, Rows or DataFrame, shape (count, ...)
        Raw images or features, like those that the preparation was fitted on.
    y : array_like of int, shape (count,), optional
        Labels from 0 up; None if there are none, for prediction.
    preparation : Preparation

    Raises
    ------
    TypeError
        If `x` does not hold numbers, `y` does not hold integers, or `preparation` is not a `Preparation`.
    ValueError
        If the shapes do not fit each other or the preparation.

    Examples
    --------
    >>> from bitlearn.datasets import prepare
    >>> x = np.zeros((3, 4), dtype=np.uint8)
    >>> Examples(x, [0, 1, 1], prepare(x))
    Examples(3 of uint8 (4,), labels 0 to 1)
    >>> Examples(x, [[0], [1], [1]], prepare(x))
    Traceback (most recent call last):
    ...
    ValueError: y must be labels of shape (3,), got shape (3, 1): a column becomes a row by y.ravel()
    """

    x: Any
    y: Any
    preparation: Any

    def __post_init__(self) -> None:
        if not hasattr(self.preparation, "codes"):
            raise TypeError(
                f"preparation must be what bitlearn.datasets.prepare(x_train) gives, got {brief(self.preparation)}"
            )
        x: Any = self.x if isinstance(self.x, (Rows, Bits, Images)) else checks.array("x", self.x)
        y = None if self.y is None else checks.labels(self.y, len(x))
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "y", y)
        if len(x.shape) < 2:
            raise ValueError(f"x must have shape (count, ...), got {x.shape}: one feature per row is x.reshape(-1, 1)")
        scaling = getattr(self.preparation, "scaling", None)
        if scaling is not None and scaling.shape not in (None, x.shape[1:]):
            raise ValueError(f"samples must have shape {scaling.shape} as in training, got {x.shape[1:]}")
        if scaling is not None and scaling.shape is None and x.dtype != np.uint8:
            raise TypeError(f"x must be uint8 like the prepared data, got {x.dtype}")

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: slice | np.ndarray) -> Examples:
        """Return some of the examples."""
        some = object.__new__(Examples)  # which were checked
        for name, value in (("x", self.x[index]), ("y", None if self.y is None else self.y[index])):
            object.__setattr__(some, name, value)
        object.__setattr__(some, "preparation", self.preparation)
        return some

    def codes(self, index: slice | np.ndarray | list[int] = slice(None)) -> np.ndarray | Bits:
        """Return the codes of some examples.

        Parameters
        ----------
        index : slice, ndarray of int or ndarray of bool
            Which examples; all by default.

        Returns
        -------
        ndarray of int8 or Bits, shape (count, ...)
        """
        return self.preparation.codes(self.x[index])

    def __repr__(self) -> str:
        if self.y is None:
            told = "without labels"
        else:
            told = f"labels {self.y.min()} to {self.y.max()}" if len(self.y) else "none"
        kind = "bits" if isinstance(self.x, Bits) else self.x.dtype
        return f"Examples({len(self)} of {kind} {tuple(self.x.shape[1:])}, {told})"

    def _repr_html_(self) -> str:
        return f"<code>{html.escape(repr(self))}</code>"


def prepare(
    x_train: Any, image_size: int | None = None, *, codes: str = "auto", bits: int | None = None
) -> Preparation:
    """Return the preparation fitted on training data.

    Parameters
    ----------
    x_train : array_like, shape (count, height, width, channels) or (count, features)
    image_size : int, optional
        Pad uint8 images to this size, as networks made for 32×32 images need.
    codes : {"auto", "range", "quantile", "thermometer"}
        How features become codes; uint8 stays as it is (minus 128) unless another one is named. ``range``: int8, in
        equal steps from the least to the largest value. ``quantile``: int8, with equally many training values between
        neighbouring codes. ``thermometer``: packed bits, each +1 from a quantile up. ``auto``: ``quantile`` for the
        features with long tails, whose middle 90 % take less than a quarter of the range, and ``range`` for the others.
    bits : int, optional
        Bits per feature of a thermometer; 64 by default.

    Returns
    -------
    Preparation

    Raises
    ------
    TypeError, ValueError
        If the data are not finite numbers; if `image_size` is given and the data are features or larger images; or if
        `codes` is unknown.

    Notes
    -----
    A network on a thermometer takes bits: ``bl.models.mlp(bl.nn.Spec.of(train.codes([0])), classes)``. Its first layer
    is then a binary one, in which each unit has a step function of every feature: for features that are not images this
    is by far the best choice.

    Examples
    --------
    >>> prepare(np.zeros((2, 28, 28, 1), dtype=np.uint8), 32).codes(np.zeros((1, 28, 28, 1), dtype=np.uint8)).shape
    (1, 32, 32, 1)
    >>> prices = np.array([[1.0], [2.0], [3.0], [900.0]])
    >>> prepare(prices, codes="range").codes(prices).ravel()
    array([-127, -127, -126,  127], dtype=int8)
    >>> prepare(prices, codes="quantile").codes(prices).ravel()
    array([-127,  -42,   42,  127], dtype=int8)
    """
    by_name("codes", codes, dict.fromkeys(CODES))
    if bits is not None and codes != "thermometer":
        raise ValueError(f"bits must be given for a thermometer only, got bits={bits} with codes={codes!r}")
    if bits is not None and (
        isinstance(bits, bool) or not isinstance(bits, (int, np.integer)) or not 1 <= bits <= 4096
    ):
        raise ValueError(f"bits must be an integer from 1 to 4096, got {bits!r}")
    x_train = x_train if isinstance(x_train, Rows) else checks.array("x_train", x_train)
    if image_size is None and isinstance(x_train, Rows) and x_train.dtype == np.uint8:
        # One scaling for all: images that are read from files as they are asked for are not looked at.
        return Preparation(fit_scaling(x_train[:1]))
    if image_size is not None:
        if x_train.ndim != 4:
            raise ValueError(f"examples must be images for this network, got features of shape {x_train.shape[1:]}")
        if codes != "auto":
            raise ValueError(f"codes must be 'auto' for images that are padded, got {codes!r}")
        return Preparation(fit_scaling(pad_images(x_train[:1], image_size, image_size)), image_size)
    scaling = fit_scaling(x_train)  # it checks the values too
    if codes == "range" or (codes == "auto" and scaling.shape is None):
        if scaling.shape is None and codes == "range":
            scaling = fit_scaling(np.asarray(x_train).astype(np.float32))
        return Preparation(scaling)
    if codes == "auto" and not any(long_tailed(column) for column in columns(x_train)):
        return Preparation(scaling)
    return Preparation(fit_levels(x_train, codes, bits=BITS if bits is None else bits))
