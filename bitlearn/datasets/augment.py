"""Random shifts and flips of images, the same after a resume."""

from __future__ import annotations

import numpy as np

from bitlearn.rng import Key


def augment(x: np.ndarray, key: Key, *, shift: int, flip: bool, fill: int) -> np.ndarray:
    """Return each image shifted by a random offset and, with `flip`, mirrored with probability 1/2.

    Parameters
    ----------
    x : ndarray of uint8 or int8, shape (count, height, width, channels)
        Images, or their codes.
    key : Key
        The key of this batch, used for nothing else: the same key gives the same result.
    shift : int
        The largest shift along either axis, in pixels; all offsets in [-shift, shift] are equally likely.
    flip : bool
        Whether to mirror images left to right.
    fill : int
        The value that fills the edge: black is 0 for pixels and -128 for codes.

    Returns
    -------
    ndarray of x's type and shape

    Raises
    ------
    TypeError
        If `x` is neither uint8 nor int8.
    ValueError
        If `x` has not four dimensions, `shift` is negative, or `fill` lies outside x's type.

    Examples
    --------
    >>> x = np.arange(1, 7, dtype=np.uint8).reshape(1, 2, 3, 1)
    >>> augment(x, Key(5), shift=1, flip=True, fill=0)[0, :, :, 0]
    array([[5, 4, 0],
           [0, 0, 0]], dtype=uint8)
    """
    x = np.asarray(x)
    if x.dtype not in (np.uint8, np.int8):
        raise TypeError(f"x must be uint8 or int8, got {x.dtype}")
    if x.ndim != 4:
        raise ValueError(f"x must be images (count, height, width, channels), got shape {x.shape}")
    if shift < 0:
        raise ValueError(f"shift must be at least 0, got {shift}")
    limits = np.iinfo(x.dtype)
    if not limits.min <= fill <= limits.max:
        raise ValueError(f"fill must lie in [{limits.min}, {limits.max}] for {x.dtype}, got {fill}")
    count, height, width, channels = x.shape
    canvas = np.full((count, height + 2 * shift, width + 2 * shift, channels), fill, dtype=x.dtype)
    canvas[:, shift : shift + height, shift : shift + width] = x
    # A word's place in the stream, not how many were drawn, decides it: the flips are the same with any shift.
    top, left = key.integers(2 * count, 2 * shift + 1).reshape(2, count, 1)
    mirrored = (key.words(3 * count)[2 * count :] & 1).astype(bool)[:, None] & flip
    rows = top + np.arange(height)
    columns = left + np.where(mirrored, np.arange(width)[::-1], np.arange(width))
    return canvas[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
