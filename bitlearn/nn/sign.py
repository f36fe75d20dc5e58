"""The sign of real values, with the straight-through estimators of the field."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bitlearn.bits import WORD
from bitlearn.nn.gradients import quantized
from bitlearn.nn.layer import Arrays, Layer, Narrowed, register
from bitlearn.nn.spec import Spec
from bitlearn.nn.step import Step
from bitlearn.nn.value import Gradient, Value
from bitlearn.program import Array

ESTIMATORS = ("clip", "approximate")


def checked_clip(clip: float) -> float:
    """Return up to which magnitude a sign passes gradients, as a float.

    Raises
    ------
    ValueError
        If it is not a finite number above 0.
    """
    if not 0 < clip < math.inf:
        raise ValueError(f"clip must be a finite number above 0, got {clip}")
    return float(clip)


@register
class Sign(Layer):
    """Packed signs of float32 values; after a batch norm of sums, use `BatchNormSign`, which does both in one.

    Parameters
    ----------
    estimator : {"clip", "approximate"}
        What replaces the sign's derivative. "clip": 1 where ``|x| <= clip``, else 0 (arXiv 1602.02830); one bit per
        value is kept for it. "approximate": ``max(2 - 2 |x|, 0)``, that of a piecewise quadratic (arXiv 1808.00278);
        the values themselves are kept.
    clip : float
        Above 0, and only for "clip".

    Notes
    -----
    ``sign(0) = +1``.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.nn.Model([bl.nn.Sign()], bl.nn.Spec.real((3,)))
    >>> bl.unpack(model.apply(np.array([[0.5, -2.0, 0.0]], dtype=np.float32)).words, 3)
    array([[ 1, -1,  1]], dtype=int8)
    """

    kind = "sign"

    def __init__(self, estimator: str = "clip", *, clip: float = 1.0):
        if estimator not in ESTIMATORS:
            raise ValueError(f"estimator must be one of {', '.join(ESTIMATORS)}, got {estimator!r}")
        self.estimator, self.clip = estimator, checked_clip(clip)

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"estimator": self.estimator, "clip": self.clip}

    def narrowed(self, inputs: np.ndarray | None, outputs: np.ndarray | None) -> Narrowed:
        """Return the same of some channels."""
        return self._narrowed_alike(inputs)

    def infer(self, spec: Spec) -> Spec:
        """Return bits of the same shape."""
        if spec.kind != "real" or not spec.shape:
            raise ValueError(f"a sign must get real values, got {spec}")
        return Spec.bits(spec.shape)

    def _signs(self, step: Step, x: Array) -> tuple[Value, Array]:
        out = step.empty("X", self.output.array_shape(step.batch), WORD)
        mask = step.empty("STE mask", out.pixels().shape, WORD)
        step.run("sign_values", x.pixels(), self.clip, out.pixels(), mask)
        return Value(step, self.output, out), mask

    def forward(self, step: Step, x: Value) -> tuple[Value, Any]:
        """Record the signs, and what the estimator needs."""
        y, mask = self._signs(step, x.array)
        return y, (x.array if self.estimator == "approximate" else mask)

    def backward(self, step: Step, cache: Any, grad: Gradient, *, wanted: bool) -> Gradient | None:
        """Record the gradient that the estimator lets pass."""
        if not wanted:
            return None
        d = grad.values.pixels()
        if self.estimator == "clip":
            step.run("mask_gradient", d, cache, d)
            return grad.with_values(d.reshape(*grad.shape))
        out = step.empty("dX", grad.shape, np.float32)
        step.run("approximate_sign_gradient", d, grad.scale, cache.pixels(), out.pixels())
        if grad.is_real:
            return Gradient(step, out, None)
        return quantized(step, out, self.precision.code_bits)

    def predict(self, step: Step, arrays: Arrays, x: Value) -> Value:
        """Record the signs."""
        return self._signs(step, x.array)[0]
