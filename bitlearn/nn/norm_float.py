"""Batch norm in float32, with its exact gradient: the arithmetic of the policy ``standard``."""

from __future__ import annotations

import numpy as np

#: Added to a variance, and the floor of a mean deviation. The sums that are normalised are integers, far larger.
EPSILON = 1e-5


def statistics(y: np.ndarray, norm: str) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and spread of float32 (rows, channels): standard deviation for "l2", mean deviation for "l1"."""
    mean = y.mean(axis=0)
    centred = y - mean
    if norm == "l1":
        return mean, np.maximum(np.abs(centred).mean(axis=0), np.float32(EPSILON))
    return mean, np.sqrt((centred * centred).mean(axis=0) + np.float32(EPSILON))


def backward(grad: np.ndarray, x: np.ndarray, spread: np.ndarray, norm: str) -> np.ndarray:
    """Return the gradient of y from that of the normalised values, without their shift, ``x`` (rows, channels).

    "l2": ``dY = v - mean(v) - x * mean(v * x)`` with ``v = dX / spread``. "l1", where ``spread = mean |y - mean|``:
    ``dY = v - mean(v) - (s - mean(s)) * mean(v * x)`` with ``s = sign(x)``.
    """
    v = grad / spread
    direction = x
    if norm == "l1":
        direction = np.sign(x)
        direction = direction - direction.mean(axis=0)
    return v - v.mean(axis=0) - direction * (v * x).mean(axis=0)
