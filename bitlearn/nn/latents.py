"""Latent weights that are kept as integers: codes -m to m stand for -1 to 1, m the largest of the type."""

from __future__ import annotations

import numpy as np

from bitlearn.precision import Precision


def stored(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return real latent weights in the type in which they are kept.

    Parameters
    ----------
    values : ndarray of float32 or float16
    dtype : dtype
        A float's, or int8 or int16: then they are clipped to [-1, 1] and rounded, ties to even, but none loses its
        sign: a weight below 0 becomes -1 at least.

    Returns
    -------
    ndarray
        Of the same signs, where 0 counts as positive.

    Examples
    --------
    >>> stored(np.array([0.5, -1e-6, 1e-6, -3.0], dtype=np.float32), np.dtype(np.int8))
    array([  64,   -1,    0, -127], dtype=int8)
    """
    if dtype.kind == "f":
        return values.astype(dtype)
    codes = np.rint(np.clip(values.astype(np.float32), -1, 1) * np.float32(np.iinfo(dtype).max))
    codes[(codes == 0) & (values < 0)] = -1
    return codes.astype(dtype)


def real(latents: np.ndarray) -> np.ndarray:
    """Return what latent weights stand for, float32: codes / m of integers.

    Parameters
    ----------
    latents : ndarray of float32, float16, int8 or int16

    Returns
    -------
    ndarray of float32
    """
    found = latents.astype(np.float32)
    return found / np.float32(np.iinfo(latents.dtype).max) if latents.dtype.kind == "i" else found


def check_scaled(scaled: bool, precision: Precision) -> None:
    """Raise ValueError where a layer multiplies with the magnitudes of weights that are integers."""
    if scaled and precision.latent.kind == "i":
        raise ValueError(
            f"a scaled layer must have latent weights of float32 or float16, got {precision.latent} under precision "
            f"{precision.name!r}"
        )
