"""Convolutions with real weights: the stem of a residual network, and the 1x1 convolutions of its shortcuts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from bitlearn.nn import reals
from bitlearn.nn.gradients import input_operand, weight_operand
from bitlearn.nn.gram import gram_of_values, windows_of
from bitlearn.nn.layer import Arrays, Layer, Narrowed, chosen, register, sizes, uniform_weights, whole
from bitlearn.nn.products import WINDOW_VALUES
from bitlearn.nn.sequential import Residual
from bitlearn.nn.spec import Spec
from bitlearn.nn.step import Step
from bitlearn.nn.value import Gradient, Value
from bitlearn.ops.conv import Padding, Pair, geometry
from bitlearn.program import Array
from bitlearn.rng import Key
from bitlearn.safetensors import Types


@register
class Conv2d(Layer):
    """A network's int8 input codes, NHWC, convolved with real kernels; or real values, pixel by pixel.

    Parameters
    ----------
    filters : int
        Output channels.
    kernel : (int, int)
        ``(1, 1)`` for real values.
    stride, padding
        As for `bitlearn.xnor_conv2d`; by default maps keep their size, and real values are not padded. Padding is 0.

    Notes
    -----
    Without bias: a batch norm follows. The weights are float32 under every policy. Under an integer policy they are
    quantized for the products to the width of the gradient between the layers, and real values to 8 bits with one scale
    per image: these codes are kept for the backward pass, and the sums are exact integers. Windows are unfolded for a
    few images at a time.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.nn.Model([bl.nn.Conv2d(8, kernel=(7, 7), stride=2)], (32, 32, 3))
    >>> model.output_shape, model["conv1"].weight.shape
    ((16, 16, 8), (8, 7, 7, 3))
    """

    kind = "conv"
    mixes = True

    def __init__(self, filters: int, *, kernel: tuple[int, int] = (3, 3), stride: Pair = 1, padding: Padding = "same"):
        rows, columns = kernel
        self.filters, self.kernel = whole("filters", filters), (whole("kernel", rows), whole("kernel", columns))
        self.stride: Pair = sizes("stride", stride, least=1)
        self.padding: Padding = sizes("padding", padding, least=0)

    def narrowed(self, inputs: np.ndarray | None, outputs: np.ndarray | None) -> Narrowed:
        """Return a layer of some kernels, and of some channels of each."""
        filters, channels = chosen(outputs, self.filters), chosen(inputs, self.spec.channels)
        layer, taps = type(self)(**self.settings() | {"filters": len(filters)}), map(np.arange, self.kernel)
        return Narrowed(layer, {"weight": np.ix_(filters, *taps, channels)}, outputs)

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "filters": self.filters,
            "kernel": list(self.kernel),
            "stride": self.stride,
            "padding": self.padding,
        }

    @property
    def fan_in(self) -> int:
        """How many weights feed one result."""
        return self.spec.channels * math.prod(self.kernel)

    def infer(self, spec: Spec) -> Spec:
        """Return real values of shape ``(out_h, out_w, filters)``."""
        if spec.kind not in ("codes", "real") or len(spec.shape) != 3:
            raise ValueError(
                f"a real convolution must get maps (height, width, channels) of codes or real values, got {spec}"
            )
        self.windows = geometry(spec.shape[:2], self.kernel, self.stride, self.padding, 0)
        if spec.kind == "real" and (self.kernel != (1, 1) or self.windows.out_size != spec.shape[:2]):
            raise ValueError(
                "a real convolution of real values must have a kernel of 1x1 and keep the maps' size, got a kernel of "
                f"{self.kernel[0]}x{self.kernel[1]} and a stride of {self.stride}"
            )
        return Spec.real((*self.windows.out_size, self.filters))

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """``(filters, kh, kw, channels)``."""
        return self.filters, *self.kernel, self.spec.channels

    def state_types(self) -> Types:
        """Return the type of the kernels."""
        return {"weight": (self.weight_shape, np.dtype(np.float32))}

    def build(self, seed: int) -> None:
        """Draw the kernels, float32 under every policy."""
        self.weight = uniform_weights(self.weight_shape, np.dtype(np.float32), Key(seed, stream=self.index))

    def parameters(self) -> Arrays:
        """Return the kernels, shape (filters, kh, kw, channels)."""
        return {"weight": self.weight}

    def _unfolded(self, step: Step, x: Gradient) -> Iterator[tuple[slice, Gradient]]:
        """Yield the windows of a few images at a time, (images, windows, fan_in)."""
        if self.spec.kind == "real":
            yield slice(0, step.batch), x
            return
        size = (*self.windows.out_size, *self.kernel, self.spec.channels)
        count = min(step.batch, max(1, WINDOW_VALUES // max(math.prod(size), 1)))
        room = step.empty("scratch", (count, *size), np.int8)
        for start in range(0, step.batch, count):
            images = slice(start, min(start + count, step.batch))
            part = room[: images.stop - start]
            step.run("unfold_codes", x.values[images], self.windows.stride, self.windows.padding, part)
            yield images, x.with_values(part.reshape(len(part), -1, self.fan_in))

    def _convolved(self, step: Step, x: Array, weight: Array) -> tuple[Value, Gradient]:
        values = reals.activations(step, x, self.spec, self.precision)
        turned = reals.real_weights(step, reals.transposed(step, weight.rows()), self.precision, forward=True)
        y = step.empty("Y", self.output.array_shape(step.batch), np.float32)
        for images, windows in self._unfolded(step, values):
            part = y[images]
            reals.product(step, windows, turned, part.reshape(len(part), -1, self.filters))
        return Value(step, self.output, y), values

    def forward(self, step: Step, x: Value) -> tuple[Value, Any]:
        """Record the convolution."""
        y, values = self._convolved(step, x.array, step.constant(self.weight, "W"))
        return y, reals.kept(step, values, self.precision)

    def backward(self, step: Step, cache: Any, grad: Gradient, *, wanted: bool) -> Gradient | None:
        """Record dW, and dX of real values."""
        stream, x, grad = 2 * self.index, cache, grad.kept()
        operand = weight_operand(grad, self.precision, stream)
        g, kind = operand.values, np.float32 if operand.is_real else np.int64
        sums = step.empty("dW", self.weight.shape, kind)
        for images, windows in self._unfolded(step, x):
            reals.weight_product(step, g[images], windows, images.start > 0, sums.rows())
        found, result = reals.weight_gradient(step, sums, operand, x, self.fan_in), None
        # The update changes the weights, so the gradient of the input comes first.
        if wanted and self.spec.kind == "real":
            weight = reals.real_weights(step, step.constant(self.weight, "W").rows(), self.precision)
            grad = input_operand(grad, self.precision, stream)
            result = reals.input_gradient(step, grad, weight, (step.batch, *self.spec.shape), self.precision)
        step.gradient("weight", found)
        return result

    def inference(self) -> Arrays:
        """Return the kernels."""
        return {"weight": self.weight.copy()}

    def inference_types(self) -> Types:
        """Return the type of the kernels."""
        return self.state_types()

    def predict(self, step: Step, arrays: Arrays, x: Value) -> Value:
        """Record the convolution."""
        return self._convolved(step, x.array, step.constant(arrays["weight"], "W"))[0]

    def ring_and_centre(self) -> Residual:
        """Return the kernel without its centre, and the centre as a 1×1 convolution, whose results are added.

        Returns
        -------
        Residual
            Bound and built, with copies of the weights.

        Raises
        ------
        ValueError
            If the kernel has no centre, real values flow in, or a 1×1 convolution does not see the same pixels.
        """
        half, padding = tuple(size // 2 for size in self.kernel), self.windows.padding
        if self.spec.kind != "codes" or not (self.kernel[0] % 2 and self.kernel[1] % 2):
            raise ValueError(
                "a real convolution must have a centre (odd numbers of rows and columns) and get codes to be split, "
                f"got a kernel of {self.kernel[0]}x{self.kernel[1]} and {self.spec.kind}"
            )
        ring, centre = (
            Conv2d(self.filters, kernel=kernel, stride=self.stride, padding=pad)
            for kernel, pad in ((self.kernel, self.padding), ((1, 1), 0))
        )
        found = Residual([ring], [centre])
        try:
            found.bind(self.spec, self.precision, self.index)
        except ValueError:
            raise ValueError(f"padding must be {half} before the image to be split, got {padding}") from None
        if padding != half:
            raise ValueError(f"padding must be {half} before the image to be split, got {padding}")
        for _, leaf in found.leaves():
            leaf.build(0)
            leaf.is_built = True
        ring.weight[...] = self.weight
        ring.weight[:, half[0], half[1]] = 0
        centre.weight[:, 0, 0] = self.weight[:, half[0], half[1]]
        return found

    def gram(self, x: np.ndarray) -> np.ndarray:
        """Return the sums of products of the windows, shape (fan_in, fan_in)."""
        return gram_of_values(windows_of(x, self.kernel, self.windows, np.zeros(1, x.dtype)).reshape(-1, self.fan_in))

    def operations(self) -> tuple[int, int]:
        """Return the multiply-adds of an example."""
        return 0, self.output.size * self.fan_in
