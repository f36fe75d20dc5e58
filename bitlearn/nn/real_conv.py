"""Convolutions with real weights, of a network's input codes or of real values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bitlearn.nn import reals
from bitlearn.nn.gram import gram_of_values, windows_of
from bitlearn.nn.layer import Narrowed, chosen, register, sizes, whole
from bitlearn.nn.products import unfolded
from bitlearn.nn.real_weights import RealWeights
from bitlearn.nn.sequential import Residual
from bitlearn.nn.spec import Spec
from bitlearn.nn.step import Step
from bitlearn.nn.value import Gradient, Value
from bitlearn.ops.conv import Geometry, Padding, Pair, geometry
from bitlearn.program import Array, counted


@register
class Conv2d(RealWeights):
    """A network's int8 input codes, or real values, NHWC, convolved with real kernels.

    Parameters
    ----------
    filters : int
        Output channels.
    kernel : (int, int)
    stride, padding
        As for `bitlearn.xnor_conv2d`; by default maps keep their size. Padding is 0.

    Notes
    -----
    Without bias: a batch norm follows. The weights are float32 under every policy. Under an integer policy they are
    quantized for the products to the width of the gradient between the layers, and real values to 8 bits with one scale
    per image: these codes are kept for the backward pass, and the sums are exact integers. Windows are unfolded for a
    few images at a time, forward and backward. The gradient of the input is the gradient of the result convolved with
    the kernels turned round; if windows are ``stride`` apart, there are zeros between its pixels, which are multiplied
    as well.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.nn.Model([bl.nn.Conv2d(8, kernel=(7, 7), stride=2)], (32, 32, 3))
    >>> model.output_shape, model["conv1"].weight.shape
    ((16, 16, 8), (8, 7, 7, 3))
    >>> model = bl.nn.Model([bl.nn.Conv2d(1)], bl.nn.Spec.real((3, 3, 1)))
    >>> model["conv1"].weight[...] = 0.5
    >>> model.apply(np.ones((1, 3, 3, 1), dtype=np.float32))[0, :, :, 0]
    array([[2. , 3. , 2. ],
           [3. , 4.5, 3. ],
           [2. , 3. , 2. ]], dtype=float32)
    """

    kind = "conv"

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

    def infer(self, spec: Spec) -> Spec:
        """Return real values of shape ``(out_h, out_w, filters)``."""
        if spec.kind not in ("codes", "real") or len(spec.shape) != 3:
            raise ValueError(
                f"a real convolution must get maps (height, width, channels) of codes or real values, got {spec}"
            )
        self.windows = geometry(spec.shape[:2], self.kernel, self.stride, self.padding, 0)
        return Spec.real((*self.windows.out_size, self.filters))

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """``(filters, kh, kw, channels)``."""
        return self.filters, *self.kernel, self.spec.channels

    @property
    def _by_pixel(self) -> bool:
        """Whether windows are the pixels of real values as they are."""
        windows = self.windows
        plain = self.kernel == windows.stride == (1, 1) and windows.padding == (0, 0)
        return self.spec.kind == "real" and plain

    def _windows(self, step: Step, x: Gradient) -> Iterator[tuple[slice, Gradient]]:
        """Yield the windows of a few images at a time, (images, windows, fan_in)."""
        if self._by_pixel:
            yield slice(0, step.batch), x
            return
        for images, part in unfolded(step, x.values, self.kernel, self.windows):
            own = None if x.is_real or len(x.scale) == 1 else x.scale[images]
            yield images, x.with_values(part.reshape(len(part), -1, self.fan_in), own)

    def _result(self, step: Step, x: Array, weight: Array) -> tuple[Value, Gradient]:
        """Record the convolution with kernels (filters, kh, kw, channels); return it, and what went in."""
        values = reals.activations(step, x, self.spec, self.precision)
        turned = reals.real_weights(step, reals.transposed(step, weight.rows()), self.precision, forward=True)
        y = step.empty("Y", self.output.array_shape(step.batch), np.float32)
        for images, windows in self._windows(step, values):
            part = y[images]
            reals.product(step, windows, turned, part.reshape(len(part), -1, self.filters))
        return Value(step, self.output, y), values

    def backward(self, step: Step, cache: Any, grad: Gradient, *, wanted: bool) -> Gradient | None:
        """Record dW, and dX of real values."""
        return super().backward(step, cache, grad.kept(), wanted=wanted)

    def _weight_sums(self, step: Step, grad: Gradient, x: Gradient) -> Array:
        """Record what a gradient and the inputs give for the weights: sums over windows and images."""
        g, kind = grad.values, np.float32 if grad.is_real else np.int64
        sums = step.empty("dW", self.weight_shape, kind)
        for images, windows in self._windows(step, x):
            reals.weight_product(step, g[images], windows, images.start > 0, sums.rows())
        return sums

    def _input_gradient(self, step: Step, grad: Gradient, weight: Array) -> Gradient:
        """Record the gradient of real values, from kernels (filters, kh, kw, channels)."""
        codes, shape = reals.real_weights(step, weight.rows(), self.precision), (step.batch, *self.spec.shape)
        if self._by_pixel:
            return reals.input_gradient(step, grad, codes, shape, self.precision)
        (rows, columns), (down, right), channels = self.kernel, self.windows.stride, self.spec.channels
        turned = step.empty("scratch", (rows * columns * self.filters, channels), codes.dtype)
        step.run(_turned, codes.values.reshape(*self.weight_shape), turned.reshape(rows, columns, -1, channels))
        weights = codes.with_values(turned)
        before = (rows - 1 - self.windows.padding[0], columns - 1 - self.windows.padding[1])
        back = Geometry((1, 1), before, 0, (self.spec.shape[0], self.spec.shape[1]))
        apart = (self.windows.out_size[0] - 1) * down + 1, (self.windows.out_size[1] - 1) * right + 1

        def seen(g: Array) -> Array:
            """Record zeros between the pixels of windows that are apart."""
            if (down, right) == (1, 1):
                return g
            out = step.empty("scratch", (len(g), *apart, self.filters), g.dtype)
            step.run(_spread, g, down, right, out)
            return out

        def write(some: slice, out: Array) -> None:
            for images, windows in unfolded(step, grad.values[some], self.kernel, back, seen):
                reals.sums(step, windows.reshape(-1, len(turned)), weights, out[images])

        return reals.input_gradient(step, grad, weights, shape, self.precision, write)

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


@counted(lambda weight, out: {})
def _turned(weight: np.ndarray, out: np.ndarray) -> None:
    """Write ``out[i, j, o] = weight[o, -1 - i, -1 - j]``: a kernel turned round, filters in place of channels."""
    np.copyto(out, weight[:, ::-1, ::-1].transpose(1, 2, 0, 3))


@counted(lambda g, down, right, out: {})
def _spread(g: np.ndarray, down: int, right: int, out: np.ndarray) -> None:
    out[...] = 0
    out[:, ::down, ::right] = g
