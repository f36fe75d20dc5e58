"""A layer made of kernels: real values times a number, such as scores by a temperature."""

from __future__ import annotations

import numpy as np

from bitlearn.nn import Gradient, Layer, Spec, Value, register


@register
class Scaled(Layer):
    """Real values times a number.

    Parameters
    ----------
    factor : float
        Above 0.
    """

    kind = "scaled"

    def __init__(self, factor: float):
        if not factor > 0:
            raise ValueError(f"factor must be above 0, got {factor}")
        self.factor, self.scale = float(factor), np.array([float(factor)])

    def settings(self):
        return {"factor": self.factor}

    def infer(self, spec):
        if spec.kind != "real":
            raise ValueError(f"a scaled layer must get real values, got {spec}")
        return Spec.real(spec.shape)

    def _times(self, step, x):
        """Record ``x * factor + x * 0``, since there is a kernel for such sums."""
        out = step.empty("Y", x.shape, np.float32)
        factor, zero = step.constant(self.scale), step.constant(np.zeros(1))
        step.run("add_scaled", x.rows(), factor, x.rows(), zero, out.rows())
        return out

    def forward(self, step, x):
        return Value(step, self.output, self._times(step, x.array)), None

    def backward(self, step, cache, grad, *, wanted):
        if grad.is_real:
            return Gradient(step, self._times(step, grad.values), None)
        # Integer codes stay as they are: what one of them stands for changes.
        scale = step.empty("scales", grad.scale.shape, np.float64)
        step.run("multiply_scales", grad.scale, step.constant(self.scale), scale)
        return grad.with_values(grad.values, scale)

    def predict(self, step, arrays, x):
        return self.forward(step, x)[0]
