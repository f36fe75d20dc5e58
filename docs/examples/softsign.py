"""A layer with Python functions in the recorded step: ``x / (1 + |x|)``."""

from __future__ import annotations

import numpy as np

from bitlearn.nn import Gradient, Layer, Spec, Value, register
from bitlearn.nn.gradients import quantized


def softsign(x, out):
    """Write ``x / (1 + |x|)``, by operations that every processor rounds alike."""
    np.divide(x, np.float32(1) + np.abs(x), out=out)


def softsign_gradient(d, scale, x, out):
    """Write ``d * scale / (1 + |x|)**2``; d are codes in units of `scale`, or float32."""
    below = np.float32(1) + np.abs(x)
    np.divide(d * np.float32(scale[0]), below * below, out=out)


@register
class Softsign(Layer):
    """Real values pressed into (-1, 1)."""

    kind = "softsign"

    def settings(self):
        return {}

    def infer(self, spec):
        if spec.kind != "real":
            raise ValueError(f"a softsign must get real values, got {spec}")
        return Spec.real(spec.shape)

    def forward(self, step, x):
        y = step.empty("Y", x.array.shape, np.float32)
        step.run(softsign, x.array, y)
        return Value(step, self.output, y), x.array

    def backward(self, step, cache, grad, *, wanted):
        if not wanted:
            return None
        out = step.empty("dX", grad.shape, np.float32)
        step.run(softsign_gradient, grad.values, grad.scale, cache, out)
        if grad.is_real:
            return Gradient(step, out, None)
        return quantized(step, out, self.precision.code_bits)

    def predict(self, step, arrays, x):
        return self.forward(step, x)[0]
