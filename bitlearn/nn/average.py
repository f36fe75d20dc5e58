"""Average pooling of real values."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn.nn.layer import Arrays, Layer, Narrowed, register, whole
from bitlearn.nn.spec import Spec
from bitlearn.nn.step import Step
from bitlearn.nn.value import Gradient, Value


@register
class AveragePool2d(Layer):
    """The mean of each window of real values, NHWC; or of whole maps, which leaves a row of channels.

    Parameters
    ----------
    window : int, optional
        Rows and columns of a window. Windows do not overlap, and incomplete ones are left out. By default a window is
        the whole map.

    Notes
    -----
    Integer gradients pass unchanged: only their scale is divided.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.nn.Model([bl.nn.AveragePool2d()], bl.nn.Spec.real((2, 2, 1)))
    >>> model.apply(np.array([[[[1], [2]], [[3], [6]]]], dtype=np.float32))
    array([[3.]], dtype=float32)
    """

    kind = "average"

    def __init__(self, window: int | None = None):
        self.window = None if window is None else whole("window", window)

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"window": self.window}

    def narrowed(self, inputs: np.ndarray | None, outputs: np.ndarray | None) -> Narrowed:
        """Return the same of some channels."""
        return self._narrowed_alike(inputs)

    def infer(self, spec: Spec) -> Spec:
        """Return maps of ``(out_h, out_w, channels)``, or ``(channels,)``."""
        if spec.kind != "real" or len(spec.shape) != 3 or min(spec.shape[:2]) < (self.window or 1):
            least = f" of at least {self.window}x{self.window}" if self.window else ""
            raise ValueError(f"an average pool must get maps{least} of real values, got {spec}")
        height, width, channels = spec.shape
        if self.window is None:
            self.size, self.maps = (height, width), (1, 1, channels)
            return Spec.real((channels,))
        self.size, self.maps = (self.window,) * 2, (height // self.window, width // self.window, channels)
        return Spec.real(self.maps)

    def predict(self, step: Step, arrays: Arrays, x: Value) -> Value:
        """Record the means."""
        y = step.empty("Y", (step.batch, *self.maps), np.float32)
        step.run("average_pool", x.array, *self.size, y)
        return Value(step, self.output, y.reshape(step.batch, *self.output.shape))

    def forward(self, step: Step, x: Value) -> tuple[Value, Any]:
        """Record the means; nothing is kept."""
        return self.predict(step, {}, x), None

    def backward(self, step: Step, cache: Any, grad: Gradient, *, wanted: bool) -> Gradient | None:
        """Record the gradient, the same at all places of a window."""
        if not wanted:
            return None
        dx, scale = step.empty("dX", (step.batch, *self.spec.shape), grad.dtype), None
        step.run("average_pool_gradient", grad.values.reshape(step.batch, *self.maps), *self.size, dx)
        if not grad.is_real:
            share = np.array([1 / (self.size[0] * self.size[1])])
            scale = step.empty("scales", (1,), np.float64)
            step.run("multiply_scales", grad.scale, step.constant(share), scale)
        return grad.with_values(dx, scale)
