"""From maps to rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn.bits import WORD, WORD_BITS
from bitlearn.nn.layer import Arrays, Layer, Narrowed, register
from bitlearn.nn.spec import Spec
from bitlearn.nn.step import Step
from bitlearn.nn.value import Gradient, Value


@register
class Flatten(Layer):
    """Maps ``(height, width, channels)`` to rows ``(height * width * channels,)``, in that order.

    Notes
    -----
    Packed maps whose channels fill whole words are only reshaped; others are packed again, to close the gaps at the
    ends of their words.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.nn.Model([bl.nn.Flatten()], bl.nn.Spec.bits((2, 2, 3)))
    >>> bits = model.apply(bl.Bits(bl.pack(np.ones((1, 2, 2, 3))), 3))
    >>> bits.n, bits.words
    (12, array([[4095]], dtype=uint64))
    """

    kind = "flatten"

    def settings(self) -> dict[str, Any]:
        """Return no arguments."""
        return {}

    def infer(self, spec: Spec) -> Spec:
        """Return one axis of all values."""
        return spec.reshaped((spec.size,))

    def narrowed(self, inputs: np.ndarray | None, outputs: np.ndarray | None) -> Narrowed:
        """Return the same layer for some channels, which are at every position."""
        size, channels = self.spec.size, self.spec.channels
        kept = None if inputs is None else np.arange(size).reshape(-1, channels)[:, inputs].reshape(-1)
        return Narrowed(Flatten(), {}, kept)

    def predict(self, step: Step, arrays: Arrays, x: Value) -> Value:
        """Record what closes the gaps, where there are any."""
        batch, array = step.batch, x.array
        shape = self.output.array_shape(batch)
        if self.spec.kind != "bits" or self.spec.channels % WORD_BITS == 0 or len(self.spec.shape) == 1:
            return Value(step, self.output, array.reshape(*shape))
        out, values = step.empty("X", shape, WORD), step.empty("scratch", (batch, self.spec.size), np.int8)
        step.run("unpack", array.pixels(), self.spec.channels, values.reshape(-1, self.spec.channels))
        step.run("pack", values, step.constant(_ZERO), out)
        return Value(step, self.output, out)

    def forward(self, step: Step, x: Value) -> tuple[Value, Any]:
        """Record the same as in inference."""
        return self.predict(step, {}, x), None

    def backward(self, step: Step, cache: Any, grad: Gradient, *, wanted: bool) -> Gradient | None:
        """Return the gradient in the shape of the maps."""
        return grad.reshaped(step.batch, *self.spec.shape)


_ZERO = np.zeros(1, dtype=np.int8)
