"""What may stand between a gradient and its update: masks, projections, penalties, clipping.

A transform works on the gradient as real numbers, so a network whose updates have one makes a float32 copy of each
gradient that it looks at. Without any the update's kernel reads exact sums or bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bitlearn.bits import Bits
from bitlearn.nn.step import ParameterGradient, Step
from bitlearn.ops.packing import unpack

#: ``transform(name, gradient, parameter)`` changes a float32 gradient in place.
Transform = Callable[[str, np.ndarray, np.ndarray], None]


def apply(
    step: Step,
    transforms: tuple[Transform, ...],
    name: str,
    gradient: ParameterGradient,
    parameter: np.ndarray,
    attenuation: np.float32,
) -> ParameterGradient:
    """Record the transforms of a gradient, and return what the update takes.

    `attenuation` is what the update counts a packed sign as, and so what the transforms see of it.
    """
    real = step.empty("dW real", parameter.shape, np.float32)
    scale = [] if gradient.scale is None else [gradient.scale]
    step.run(_real(gradient.clip, attenuation), step.constant(parameter), real, gradient.values, *scale)
    for transform in transforms:
        step.run(lambda g, w, transform=transform: transform(name, g, w), real, step.constant(parameter))
    return ParameterGradient(real, fan_in=gradient.fan_in)


def _real(clip: float, attenuation: np.float32) -> Callable[..., None]:
    """Return what writes a gradient of any form as float32, 0 where the straight-through estimator stops it."""

    def write(weight: np.ndarray, out: np.ndarray, values: np.ndarray, scale: np.ndarray | None = None) -> None:
        if values.dtype == np.uint64:
            out[...] = unpack(values, weight.shape[-1], dtype=np.float32) * attenuation
        elif scale is not None:
            out[...] = values * scale.reshape(-1, *[1] * (values.ndim - 1))
        else:
            out[...] = values
        if weight.dtype.kind == "f":  # integers stand for -1 to 1
            out *= np.abs(weight) <= clip

    return write


def clip(magnitude: float) -> Transform:
    """Return a transform that clips each gradient to ``[-magnitude, magnitude]``.

    Parameters
    ----------
    magnitude : float
        Above 0.

    Returns
    -------
    callable

    Examples
    --------
    >>> g = np.array([3.0, -0.5], dtype=np.float32)
    >>> clip(1.0)("weight", g, g)
    >>> g
    array([ 1. , -0.5], dtype=float32)
    """
    if not magnitude > 0:
        raise ValueError(f"magnitude must be above 0, got {magnitude}")

    def transform(name: str, gradient: np.ndarray, parameter: np.ndarray) -> None:
        np.clip(gradient, -magnitude, magnitude, out=gradient)

    return transform


def mask(masks: Mapping[str, np.ndarray | Bits]) -> Transform:
    """Return a transform that stops gradients: those of named parameters pass where their mask is true.

    Parameters
    ----------
    masks : mapping of str to (ndarray of bool or Bits)
        By ``path.parameter``; the gradients of other parameters pass.

    Returns
    -------
    callable

    Examples
    --------
    >>> g = np.array([3.0, -0.5], dtype=np.float32)
    >>> mask({"head1.weight": np.array([False, True])})("head1.weight", g, g)
    >>> g
    array([ 0. , -0.5], dtype=float32)
    """

    def transform(name: str, gradient: np.ndarray, parameter: np.ndarray) -> None:
        found = masks.get(name)
        if found is not None:
            gradient *= unpack(found.words, found.n) > 0 if isinstance(found, Bits) else found

    return transform


def project(bases: Mapping[str, np.ndarray]) -> Transform:
    """Return a transform that takes the part in a subspace out of gradients: ``g - (g B) B^T`` (arXiv 2103.09762).

    Parameters
    ----------
    bases : mapping of str to ndarray, shape (fan_in, rank)
        Orthonormal columns, by ``path.parameter``; each row of the gradient is projected.

    Returns
    -------
    callable

    Examples
    --------
    >>> g = np.array([[3.0, -0.5]], dtype=np.float32)
    >>> project({"weight": np.array([[1.0], [0.0]], dtype=np.float32)})("weight", g, g)
    >>> g
    array([[ 0. , -0.5]], dtype=float32)
    """

    def transform(name: str, gradient: np.ndarray, parameter: np.ndarray) -> None:
        basis = bases.get(name)
        if basis is not None:
            rows = gradient.reshape(len(gradient), -1)
            rows -= (rows @ basis) @ basis.T

    return transform


def distance(parameter: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    """Return ``parameter - anchor`` in float32, where integers stand for -1 to 1.

    Examples
    --------
    >>> distance(np.array([127, 0], dtype=np.int8), np.array([0, -127], dtype=np.int8))
    array([1., 1.], dtype=float32)
    """
    away: np.ndarray = np.subtract(parameter, anchor, dtype=np.float32)  # exact of float16, too
    if parameter.dtype.kind == "i":
        away /= np.float32(np.iinfo(parameter.dtype).max)
    return away


def penalise(anchors: Mapping[str, np.ndarray], strengths: Mapping[str, Any] | float) -> Transform:
    """Return a transform that adds the gradient of ``strength / 2 * (w - anchor)**2`` (arXiv 1612.00796).

    Parameters
    ----------
    anchors : mapping of str to ndarray
        Where parameters are drawn to, by ``path.parameter``.
    strengths : float or mapping of str to (float or ndarray)
        One for all, or one for each parameter that has an anchor.

    Returns
    -------
    callable

    Examples
    --------
    >>> g, w = np.zeros(2, dtype=np.float32), np.array([1.0, 3.0], dtype=np.float32)
    >>> penalise({"weight": np.ones(2)}, 0.5)("weight", g, w)
    >>> g
    array([0., 1.], dtype=float32)
    """

    def transform(name: str, gradient: np.ndarray, parameter: np.ndarray) -> None:
        if name in anchors:
            strength = strengths[name] if isinstance(strengths, Mapping) else strengths
            gradient += strength * distance(parameter, anchors[name])

    return transform
