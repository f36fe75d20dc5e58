"""What may stand between a gradient and its update: masks, projections, penalties, clipping.

A transform works on the gradient as real numbers, so a network whose updates have one makes a float32 copy of each
gradient that it looks at. Without any the update's kernel reads exact sums or bits. One that is wrapped in `of_update`
works on what the optimiser makes of the gradient instead: the change of the parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitlearn.bits import Bits
from bitlearn.nn.step import ParameterGradient, Step
from bitlearn.ops.packing import unpack
from bitlearn.program import Array

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


@dataclass(frozen=True, eq=False)
class OfUpdate:
    """A transform of updates: see `of_update`.

    Parameters
    ----------
    transform : callable
    names : frozenset of str or None
        The parameters whose updates it is given; None for all.
    """

    transform: Transform
    names: frozenset[str] | None = None

    def concerns(self, name: str) -> bool:
        """Whether it is given the updates of a parameter."""
        return self.names is None or name in self.names

    def __call__(self, name: str, change: np.ndarray, parameter: np.ndarray) -> None:
        """Change a float32 update in place."""
        self.transform(name, change, parameter)


def of_update(transform: Transform, names: Collection[str] | None = None) -> OfUpdate:
    """Return a transform of updates: it receives ``new - old`` of a parameter in place of its gradient.

    Parameters
    ----------
    transform : callable
        ``transform(name, change, parameter)`` changes a float32 update in place; `parameter` has the values before the
        step.
    names : collection of str, optional
        The parameters whose updates it receives, by ``path.parameter``; all by default. Copies are made only for these.

    Returns
    -------
    OfUpdate

    Notes
    -----
    A rule with moments does not preserve the effect of a transform of gradients. Adam divides each weight's step by a
    different number, so a gradient in a subspace has an update outside it, and a weight whose gradient is stopped still
    moves by the moment of earlier ones. To constrain the weights, transform the update. The optimiser works on copies
    of parameter and state, and all copies replace the originals at the end: a step that fails changes nothing. The
    copies take as many bytes as the parameters named and their moments, and lie outside the step's arena.

    The new parameter is ``old + change``, rounded to the parameter's own type. Bop needs weights of ±1, so the only
    transform of updates it takes is a mask.

    Examples
    --------
    >>> d = np.array([3.0, -0.5], dtype=np.float32)
    >>> frozen = of_update(mask({"weight": np.array([False, True])}), ["weight"])
    >>> frozen("weight", d, d)
    >>> d, frozen.concerns("bias")
    (array([ 0. , -0.5], dtype=float32), False)
    """
    return OfUpdate(transform, None if names is None else frozenset(names))


def changed(
    step: Step,
    transforms: Sequence[OfUpdate],
    name: str,
    parameter: np.ndarray,
    state: Mapping[str, np.ndarray],
    record: Callable[[Array, dict[str, Array]], None],
) -> list[tuple[Array, Array]]:
    """Record an update whose change passes transforms; return pairs of rows to be copied once nothing can fail.

    Parameters
    ----------
    step : Step
    transforms : sequence of OfUpdate
    name : str
    parameter : ndarray
    state : mapping of str to ndarray
        The optimiser's, of all parameters.
    record : callable
        ``record(parameter, state)`` records the optimiser's own update of other arrays than those, which lie in the
        arena: by then the step is done with most of what it held.

    Returns
    -------
    list of (Array, Array)
        From where to where.
    """
    kept = {"": parameter} | {key: array for key, array in state.items() if key.startswith(f"{name}.")}
    copies = {key: step.empty("momenta" if key else "W", array.shape, array.dtype) for key, array in kept.items()}
    pairs = [(_bytes(step.constant(array)), _bytes(copies[key])) for key, array in kept.items()]
    for original, copy in pairs:
        step.run("copy", original, copy)
    new = copies.pop("")
    record(new, copies)
    change = step.empty("dW real", parameter.shape, np.float32)
    old = step.constant(parameter)
    step.run(_difference, new, old, change)
    for transform in transforms:
        step.run(lambda d, w, transform=transform: transform(name, d, w), change, old)
    finite = step.finite()
    what = f"what the transforms make of the update of {name.rpartition('.')[2]}"
    step.run("all_finite", change.reshape(1, -1), finite, check=finite, what=what)
    step.run(_added, old, change, new)
    return [(copy, original) for original, copy in pairs]


def _bytes(array: Array) -> Array:
    """Return an array as a row of bytes, which the kernel that copies takes of every type."""
    return Array(array.buffer, (1, array.nbytes), np.dtype(np.int8), array.offset)


def _difference(new: np.ndarray, old: np.ndarray, out: np.ndarray) -> None:
    out[...] = distance(new, old)


def _added(old: np.ndarray, change: np.ndarray, new: np.ndarray) -> None:
    if new.dtype.kind == "i":
        most = np.iinfo(new.dtype).max
        new[...] = np.clip(np.rint(old + change * np.float32(most)), -most, most)
    else:
        new[...] = old + change


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
    """Return a transform that stops gradients: those of the named parameters pass only where their mask is true.

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
    """Return a transform that removes the part of gradients in a subspace: ``g - (g B) B^T`` (arXiv 2103.09762).

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
        The values that parameters are pulled towards, by ``path.parameter``.
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
