"""Convolutions: packed maps times binary kernels, and first-layer images of codes times binary kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn.arena import track
from bitlearn.bits import Bits, words_for
from bitlearn.nn.layer import Gradients, Layer, Value, Variable, uniform_weights
from bitlearn.nn.products import code_sum_type, convolved_codes, sum_type, unfolded
from bitlearn.nn.weights import binary_weight_gradient, input_weight_gradient, sum_variables, weight_variables
from bitlearn.ops.codes import code_products
from bitlearn.ops.conv import Geometry, Padding, Pair, geometry, xnor_conv2d
from bitlearn.ops.conv_gradients import conv2d_grad_input, conv2d_grad_weight
from bitlearn.ops.packing import pack
from bitlearn.precision import Precision, policy
from bitlearn.quantizers import Gradient, input_gradient_of, input_operand, integers, sums_like, width
from bitlearn.rng import Key
from bitlearn.workspace import empty


class Convolution(Layer):
    """What the convolutions share: kernels (filters, kh, kw, channels) and the geometry of their windows."""

    kind = "conv"
    binary = ("weight",)

    def __init__(
        self,
        channels: int,
        filters: int,
        *,
        kernel: tuple[int, int] = (3, 3),
        stride: Pair = 1,
        padding: Padding = "same",
        pad_value: int = 0,
        precision: str | Precision = "standard",
        key: Key | None = None,
    ):
        self.channels, self.filters, self.kernel = channels, filters, (int(kernel[0]), int(kernel[1]))
        self.stride, self.padding, self.pad_value = stride, padding, pad_value
        self.precision = policy(precision)
        shape = (filters, *self.kernel, channels)
        self.weight = track("W", uniform_weights(shape, self.precision.latent, key or Key(0)))

    @property
    def fan_in(self) -> int:
        """How many weights feed one result."""
        return self.channels * self.kernel[0] * self.kernel[1]

    def parameters(self) -> dict[str, np.ndarray]:
        """Return the latent kernels, shape (filters, kh, kw, channels)."""
        return {"weight": self.weight}

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "channels": self.channels,
            "filters": self.filters,
            "kernel": list(self.kernel),
            "stride": self.stride,
            "padding": self.padding,
            "pad_value": self.pad_value,
            "precision": self.precision.setting(),
        }

    def windows(self, image: tuple[int, int]) -> Geometry:
        """Return the windows on images of a size."""
        return geometry(image, self.kernel, self.stride, self.padding, self.pad_value)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return ``(out_h, out_w, filters)``."""
        if len(shape) != 3 or shape[2] != self.channels:
            raise ValueError(f"a convolution must get examples of shape (height, width, {self.channels}), got {shape}")
        return (*self.windows(shape[:2]).out_size, self.filters)

    @property
    def options(self) -> dict[str, Any]:
        """The windows, as the kernels' functions take them."""
        return {"stride": self.stride, "padding": self.padding, "pad_value": self.pad_value}


class BinaryConv2d(Convolution):
    """Packed ±1 maps, NHWC, convolved with the signs of latent kernels.

    Parameters
    ----------
    channels, filters : int
        Channels in and out.
    kernel : (int, int)
    stride, padding, pad_value
        As `bitlearn.xnor_conv2d` takes them.
    precision : str or Precision
    key : Key

    Notes
    -----
    The straight-through mask ``|W| <= 1`` and the latent weights are those of `BinaryLinear`. Padding counts in the
    weight's gradient as it does in the forward pass.

    Examples
    --------
    >>> import bitlearn as bl
    >>> layer = bl.nn.BinaryConv2d(2, 1)
    >>> layer.weight[...] = 1
    >>> layer.forward(bl.Bits(bl.pack(np.ones((1, 3, 3, 2))), 2), training=False)[0][0, :, :, 0]
    array([[ 8, 12,  8],
           [12, 18, 12],
           [ 8, 12,  8]], dtype=int16)
    """

    def forward(self, x: Value, *, training: bool) -> tuple[Value, Any]:
        """Return integer sums, shape (batch, out_h, out_w, filters)."""
        assert isinstance(x, Bits)
        words = track("packed W", pack(self.weight))
        y = track("Y", empty((len(x), *self.output_shape((*x.shape[1:3], x.n))), sum_type(self.fan_in)))
        xnor_conv2d(x.words, words, x.n, dtype=y.dtype, out=y, **self.options)
        return y, (x, words) if training else None

    def backward(
        self, cache: Any, grad: Gradient, *, input_gradient: bool = True, key: Key | None = None
    ) -> tuple[Gradient | None, Gradients]:
        """Return dX and dW."""
        x, words = cache

        def product(operand: Gradient, **options: Any) -> np.ndarray:
            values = integers(operand)
            if options.get("output") != "sign":
                options["out"] = empty(self.weight.shape, sums_like(values))
            options |= {"bits": width(operand)} | self.options
            return conv2d_grad_weight(values, x.words, x.n, self.kernel, **options)

        grads: Gradients = {"weight": binary_weight_gradient(product, grad, self.weight, self.precision, key)}
        if not input_gradient:
            return None, grads
        operand = input_operand(grad, self.precision, key)

        def input_product(images: slice, out: np.ndarray) -> None:
            options = {"bits": width(operand), "out": out} | self.options
            conv2d_grad_input(integers(operand)[images], words, x.n, x.words.shape[1:3], **options)

        return input_gradient_of(input_product, (*x.words.shape[:3], x.n), operand, self.precision), grads

    def variables(self, shape: tuple[int, ...], batch: int) -> list[Variable]:
        """Return what a training step keeps: see `Layer.variables`."""
        inputs, outputs = int(np.prod(shape)), int(np.prod(self.output_shape(shape)))
        return weight_variables(self.weight, self.precision) + [
            Variable("X", "forward to backward", "bool", 8 * batch * shape[0] * shape[1] * words_for(self.channels)),
            *sum_variables(self.precision, batch, inputs, outputs, self.fan_in),
        ]


class InputConv2d(Convolution):
    """The first layer on images: int8 codes, NHWC, convolved with the signs of latent kernels.

    Parameters
    ----------
    channels, filters : int
        Channels in and out.
    **options
        As `BinaryConv2d`. Padded pixels have code 0, mid-grey; `pad_value` must be 0.

    Notes
    -----
    A code ``c`` stands for ``c / 128``; the result is exact, in units of 1/128. The windows are unfolded for a few
    images at a time, so the scratch does not grow with the batch.

    Examples
    --------
    >>> import bitlearn as bl
    >>> layer = bl.nn.InputConv2d(1, 1, padding=0)
    >>> layer.weight[...] = 1
    >>> layer.forward(np.full((1, 3, 3, 1), 5, dtype=np.int8), training=False)[0].item()
    45
    """

    def __init__(self, channels: int, filters: int, **options: Any):
        super().__init__(channels, filters, **options)
        if self.pad_value != 0:
            raise ValueError(f"pad_value must be 0 for a first layer, whose pixels are codes, got {self.pad_value}")

    def forward(self, x: Value, *, training: bool) -> tuple[Value, Any]:
        """Return integer sums in units of 1/128, shape (batch, out_h, out_w, filters)."""
        assert isinstance(x, np.ndarray)
        words = pack(self.weight.reshape(self.filters, self.fan_in))
        y = track("Y", convolved_codes(x, words, self.kernel, self.windows(x.shape[1:3])))
        return y, x if training else None

    def backward(
        self, cache: Any, grad: Gradient, *, input_gradient: bool = True, key: Key | None = None
    ) -> tuple[Gradient | None, Gradients]:
        """Return None and dW."""
        windows = self.windows(cache.shape[1:3])

        def product(operand: Gradient, first: int, total: np.ndarray) -> None:
            values = integers(operand)
            for images, rows in unfolded(cache, self.kernel, windows):
                some = values[images].reshape(len(rows), self.filters)
                code_products(some, rows, first, total, accumulate=images.start > 0)

        return None, {"weight": input_weight_gradient(product, grad, self.weight, self.precision, key)}

    def variables(self, shape: tuple[int, ...], batch: int) -> list[Variable]:
        """Return what a training step keeps: see `Layer.variables`."""
        outputs, sums = batch * int(np.prod(self.output_shape(shape))), np.dtype(code_sum_type(self.fan_in))
        return weight_variables(self.weight, self.precision, packed=False) + [
            Variable("X", "forward to backward", "int8", batch * int(np.prod(shape))),
            Variable("Y", "transient", sums.name, sums.itemsize * outputs),
        ]
