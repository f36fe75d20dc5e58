"""The rectified linear unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn.bits import WORD, words_for
from bitlearn.nn.layer import Arrays, Layer, Narrowed, register
from bitlearn.nn.spec import Spec
from bitlearn.nn.step import Step
from bitlearn.nn.value import Gradient, Value
from bitlearn.program import Array


@register
class ReLU(Layer):
    """``max(x, 0)`` of real values.

    Notes
    -----
    The gradient passes where ``x >= 0``. One bit per value is kept for it.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.nn.Model([bl.nn.ReLU()], bl.nn.Spec.real((3,)))
    >>> model.apply(np.array([[0.5, -2.0, 0.0]], dtype=np.float32))
    array([[0.5, 0. , 0. ]], dtype=float32)
    """

    kind = "relu"

    def settings(self) -> dict[str, Any]:
        """Return no arguments."""
        return {}

    def narrowed(self, inputs: np.ndarray | None, outputs: np.ndarray | None) -> Narrowed:
        """Return the same of some channels."""
        return self._narrowed_alike(inputs)

    def infer(self, spec: Spec) -> Spec:
        """Return real values of the same shape."""
        if spec.kind != "real" or not spec.shape:
            raise ValueError(f"a ReLU must get real values, got {spec}")
        return spec

    def _positive(self, step: Step, x: Array) -> tuple[Value, Array]:
        values = x.pixels()
        signs, unused = (step.empty("ReLU mask", (len(values), words_for(x.shape[-1])), WORD) for _ in range(2))
        out = step.empty("Y", x.shape, np.float32)
        step.run("sign_values", values, np.inf, signs, unused)
        step.run("mask_gradient", values, signs, out.pixels())
        return Value(step, self.output, out), signs

    def forward(self, step: Step, x: Value) -> tuple[Value, Any]:
        """Record the positive values, and where they are."""
        return self._positive(step, x.array)

    def backward(self, step: Step, cache: Any, grad: Gradient, *, wanted: bool) -> Gradient | None:
        """Record the gradient where the values are not negative."""
        if not wanted:
            return None
        d = grad.values.pixels()
        step.run("mask_gradient", d, cache, d)
        return grad.with_values(d.reshape(*grad.shape))

    def predict(self, step: Step, arrays: Arrays, x: Value) -> Value:
        """Record the positive values."""
        return self._positive(step, x.array)[0]
