"""Batch norm in float32, with its exact gradient: the arithmetic of the policy ``standard``.

Each operation writes to memory that the one before has left: fresh memory would have to come from the system each time.
"""

from __future__ import annotations

import numpy as np

from bitlearn.workspace import empty

#: Added to a variance, and the floor of a mean deviation. The sums that are normalised are integers, far larger.
EPSILON = 1e-5


def normalize(y: np.ndarray, scale: float, norm: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ``(y * scale - mean) / spread`` of (rows, channels) in float32, the mean and the spread.

    The spread is the standard deviation for "l2", the mean deviation for "l1".
    """
    x = np.multiply(y, np.float32(scale), out=empty(y.shape, np.float32), dtype=np.float32)
    mean = x.mean(axis=0)
    x -= mean
    terms = empty(x.shape, np.float32)
    if norm == "l1":
        spread = np.maximum(np.abs(x, out=terms).mean(axis=0), np.float32(EPSILON))
    else:
        spread = np.sqrt(np.multiply(x, x, out=terms).mean(axis=0) + np.float32(EPSILON))
    x /= spread
    return x, mean, spread


def backward(grad: np.ndarray, x: np.ndarray, spread: np.ndarray, norm: str) -> np.ndarray:
    """Return the gradient of y from that of the normalised values, without their shift, ``x`` (rows, channels).

    "l2": ``dY = v - mean(v) - x * mean(v * x)`` with ``v = dX / spread``. "l1", where ``spread = mean |y - mean|``:
    ``dY = v - mean(v) - (s - mean(s)) * mean(v * x)`` with ``s = sign(x)``.
    """
    v, terms = empty(grad.shape, grad.dtype), empty(grad.shape, grad.dtype)
    np.divide(grad, spread, out=v)
    product = np.multiply(v, x, out=terms).mean(axis=0)
    v -= v.mean(axis=0)
    if norm == "l1":
        direction = np.sign(x, out=terms)
        direction -= direction.mean(axis=0)
    else:
        direction = x
    v -= np.multiply(direction, product, out=terms)
    return v
