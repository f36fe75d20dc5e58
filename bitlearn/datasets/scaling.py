"""From pixels and features to the int8 codes that a network's first layer takes.

One code is worth 1/128. Under the integer policies the first layer takes the codes as they are, under the float policy
the same codes as floats, so that both learn from the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Scaling:
    """How data become codes; `fit_scaling` makes it from the training data.

    Parameters
    ----------
    midpoint, half_range : ndarray of float32, shape of one sample, or None
        The values for each feature over the training data; both None for uint8 data, which need neither.
    """

    midpoint: np.ndarray | None = None
    half_range: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.midpoint is None or self.half_range is None:
            if self.midpoint is not self.half_range:
                raise ValueError("midpoint and half_range must both be given or both None, got one of them")
            return
        if self.midpoint.shape != self.half_range.shape:
            got = f"{self.midpoint.shape} and {self.half_range.shape}"
            raise ValueError(f"midpoint and half_range must have the same shape, got {got}")
        if not (
            np.isfinite(self.midpoint).all() and np.isfinite(self.half_range).all() and (self.half_range >= 0).all()
        ):
            raise ValueError("midpoint must be finite and half_range at least 0, got other values")

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape of one sample; None for uint8 data, of any shape."""
        return None if self.midpoint is None else self.midpoint.shape

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by name; none if the data are uint8."""
        if self.midpoint is None or self.half_range is None:
            return {}
        return {"midpoint": self.midpoint, "half_range": self.half_range}

    def moved(self, transform: Callable[[np.ndarray], np.ndarray]) -> Scaling:
        """Return the scaling of features that `transform`, from samples to samples, has put elsewhere."""
        if self.midpoint is None or self.half_range is None:
            return self
        return Scaling(transform(self.midpoint[None])[0], transform(self.half_range[None])[0])

    def codes(self, x: np.ndarray) -> np.ndarray:
        """Return the codes of some samples.

        Parameters
        ----------
        x : ndarray, shape (count, ...)
            uint8 if it was fitted on uint8; otherwise any real type, in the shape of the training samples.

        Returns
        -------
        ndarray of int8, shape of x

        Raises
        ------
        TypeError
            If the type is not that of the training data.
        ValueError
            If samples have the wrong shape, or a feature is NaN or infinite.

        Notes
        -----
        uint8: ``x - 128``. Else ``round((x - midpoint) / half_range * 127)``, ties to even, clipped to [-127, 127]; a
        feature that was constant in the training data gives 0.

        Examples
        --------
        >>> fit_scaling(np.zeros((1, 4), dtype=np.uint8)).codes(np.array([[0, 127, 128, 255]], dtype=np.uint8))
        array([[-128,   -1,    0,  127]], dtype=int8)
        >>> fit_scaling(np.array([[0.0, 5.0], [4.0, 5.0]])).codes(np.array([[1.0, 6.0], [9.0, 5.0]]))
        array([[-64,   0],
               [127,   0]], dtype=int8)
        """
        x = np.asarray(x)
        if self.midpoint is None or self.half_range is None:
            if x.dtype != np.uint8:
                raise TypeError(f"x must be uint8 like the training data, got {x.dtype}")
            return (x ^ np.uint8(0x80)).view(np.int8)  # flipping the top bit is - 128 in two's complement
        check_features(x, self.midpoint.shape)
        # float64: the difference of two float32 features can overflow float32.
        offset = x.astype(np.float64) - self.midpoint
        scaled = np.divide(offset, self.half_range, out=np.zeros_like(offset), where=self.half_range > 0)
        return np.clip(np.rint(scaled * 127), -127, 127).astype(np.int8)


def fit_scaling(x: np.ndarray) -> Scaling:
    """Return the scaling for some training data.

    Parameters
    ----------
    x : ndarray, shape (count, ...)
        uint8 images or features, or features of another real type.

    Returns
    -------
    Scaling

    Raises
    ------
    TypeError
        If `x` does not hold real numbers.
    ValueError
        If there are no samples, or a feature is NaN or infinite.

    Examples
    --------
    >>> scaling = fit_scaling(np.array([[0.0, 5.0], [4.0, 5.0]]))
    >>> scaling.midpoint, scaling.half_range
    (array([2., 5.], dtype=float32), array([2., 0.], dtype=float32))
    """
    x = np.asarray(x)
    if x.ndim < 2 or len(x) == 0:
        raise ValueError(f"x must have shape (count, ...) with at least one sample, got shape {x.shape}")
    if x.dtype == np.uint8:
        return Scaling()
    _check_type(x)
    # NaN comes through a minimum, and infinity is one: nothing as large as x is made, which a file may hold.
    low, high = x.min(axis=0).astype(np.float64), x.max(axis=0).astype(np.float64)
    check_features(np.stack([low, high]), x.shape[1:])
    return Scaling(((low + high) / 2).astype(np.float32), ((high - low) / 2).astype(np.float32))


def check_features(x: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise where samples are not finite real numbers of a shape."""
    _check_type(x)
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise ValueError("features must be finite, got NaN or infinity")
    if x.shape[1:] != shape:
        raise ValueError(f"samples must have shape {shape} as in training, got {x.shape[1:]}")


def _check_type(x: np.ndarray) -> None:
    if x.dtype.kind not in "biuf":
        raise TypeError(f"x must hold real numbers, got {x.dtype}")


def pad_images(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return images padded on all sides with black, such as 28x28 images for a network made for 32x32.

    Parameters
    ----------
    x : ndarray of uint8, shape (count, h, w, channels)
    height, width : int
        The new size; an odd difference leaves one more row below, or column on the right.

    Returns
    -------
    ndarray of uint8, shape (count, height, width, channels)

    Raises
    ------
    TypeError
        If `x` is not uint8.
    ValueError
        If `x` does not have four dimensions, or is larger.

    Examples
    --------
    >>> pad_images(np.full((1, 1, 2, 1), 9, dtype=np.uint8), 2, 4)[0, :, :, 0]
    array([[0, 9, 9, 0],
           [0, 0, 0, 0]], dtype=uint8)
    """
    x = np.asarray(x)
    if x.dtype != np.uint8:
        raise TypeError(f"x must be uint8 images, got {x.dtype}")
    if x.ndim != 4 or x.shape[1] > height or x.shape[2] > width:
        raise ValueError(f"x must be images (count, h, w, channels) of at most {height} x {width}, got shape {x.shape}")
    rows, columns = height - x.shape[1], width - x.shape[2]
    return np.pad(x, ((0, 0), (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2), (0, 0)))
