"""Convolutions: packed maps, or the images of codes that a network begins with, times binary kernels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bitlearn.bits import WORD, words_for
from bitlearn.nn import latents, magnitude
from bitlearn.nn.centre import CentreConv2d
from bitlearn.nn.gradients import input_gradient, input_operand, sums_type, weight_operand
from bitlearn.nn.gram import gram_of_values, gram_of_windows, windows_of
from bitlearn.nn.layer import Arrays, Layer, Narrowed, check_tail, chosen, register, sizes, uniform_weights, whole
from bitlearn.nn.linear import code_product
from bitlearn.nn.products import Operand, kept_words, packed, unfolded
from bitlearn.nn.spec import Spec, code_sum_type, sum_type
from bitlearn.nn.step import ParameterGradient, Step
from bitlearn.nn.taps import FrozenTaps, channels_of
from bitlearn.nn.value import BLOCK_VALUES, Gradient, Product, Value, Write
from bitlearn.nn.weights import binary_weight_gradient, code_weight_gradient
from bitlearn.ops.conv import Padding, Pair, geometry
from bitlearn.ops.packing import pack
from bitlearn.program import Array
from bitlearn.rng import Key
from bitlearn.safetensors import Types


@register
class BinaryConv2d(Layer):
    """Packed ±1 maps, NHWC, or a network's int8 input codes, convolved with the signs of latent kernels.

    Parameters
    ----------
    filters : int
        Output channels.
    kernel : (int, int)
    stride, padding, pad_value
        As for `bitlearn.xnor_conv2d`; by default maps keep their size. Codes are padded with 0, mid-grey.
    scaled : bool
        As for `BinaryLinear`: multiply each channel by the mean magnitude of its latent kernel.

    Notes
    -----
    The straight-through mask ``|W| <= 1`` and the latent weights are those of `BinaryLinear`. Padding counts in the
    weight's gradient as it does in the forward pass. Windows of codes are unfolded for a few images at a time, so the
    scratch does not grow with the batch.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.nn.Model([bl.nn.BinaryConv2d(1)], bl.nn.Spec.bits((3, 3, 2)))
    >>> model["conv1"].weight[...] = 1
    >>> model.apply(bl.Bits(bl.pack(np.ones((1, 3, 3, 2))), 2))[0, :, :, 0]
    array([[ 8, 12,  8],
           [12, 18, 12],
           [ 8, 12,  8]], dtype=int16)
    """

    kind = "conv"
    mixes = True
    binary = ("weight",)

    def __init__(
        self,
        filters: int,
        *,
        kernel: tuple[int, int] = (3, 3),
        stride: Pair = 1,
        padding: Padding = "same",
        pad_value: int = 0,
        scaled: bool = False,
    ):
        self.scaled = bool(scaled)
        self.of_signs = () if scaled else ("weight",)  # type: ignore[misc]
        rows, columns = kernel
        self.filters, self.kernel = whole("filters", filters), (whole("kernel", rows), whole("kernel", columns))
        self.stride: Pair = sizes("stride", stride, least=1)
        self.padding: Padding = sizes("padding", padding, least=0)
        self.pad_value = whole("pad_value", pad_value, least=-1)

    @property
    def fan_in(self) -> int:
        """How many weights feed one result."""
        return self.spec.channels * self.kernel[0] * self.kernel[1]

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """``(filters, kh, kw, channels)``."""
        return self.filters, *self.kernel, self.spec.channels

    def infer(self, spec: Spec) -> Spec:
        """Return sums of shape ``(out_h, out_w, filters)``, or real values if they are scaled."""
        latents.check_scaled(self.scaled, self.precision)
        if spec.kind not in ("bits", "codes") or len(spec.shape) != 3:
            raise ValueError(
                f"a binary convolution must get maps (height, width, channels) of bits or codes, got {spec}"
            )
        if spec.kind == "codes" and self.pad_value != 0:
            raise ValueError(f"a convolution of codes must have pad_value 0, got {self.pad_value}")
        self.windows = geometry(spec.shape[:2], self.kernel, self.stride, self.padding, self.pad_value)
        given = zip(self.windows.padding, self.kernel, spec.shape[:2], strict=True)
        if any(before > max(size, image) for before, size, image in given):
            raise ValueError(
                f"padding must be at most the size of kernel {self.kernel} or image {spec.shape[:2]}, "
                f"got {self.windows.padding}"
            )
        terms = spec.channels * self.kernel[0] * self.kernel[1]
        kind = code_sum_type(terms) if spec.kind == "codes" else sum_type(terms)
        self.sums = Spec((*self.windows.out_size, self.filters), "sums", kind, spec.unit)
        return Spec.real(self.sums.shape) if self.scaled else self.sums

    def build(self, seed: int) -> None:
        """Draw the latent kernels."""
        self.weight = uniform_weights(self.weight_shape, self.precision.latent, Key(seed, stream=self.index))

    def parameters(self) -> Arrays:
        """Return the latent kernels, shape (filters, kh, kw, channels)."""
        return {"weight": self.weight}

    def state_types(self) -> Types:
        """Return the type of the latent kernels."""
        return {"weight": (self.weight_shape, self.precision.latent)}

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
            "pad_value": self.pad_value,
        } | ({"scaled": True} if self.scaled else {})

    @property
    def _words(self) -> int:
        """The words of a kernel, packed along its last axis."""
        return self.kernel[0] * self.kernel[1] * words_for(self.spec.channels)

    def _options(self) -> tuple[Any, ...]:
        return self.windows.stride, self.windows.padding, self.windows.pad_value

    def _product(self, step: Step, x: Array, words: Array) -> Value:
        pixels, words = step.batch * math.prod(self.windows.out_size), words.reshape(self.filters, self._words)
        given = self.kernel, self.spec.channels, self._options()

        def prepared() -> Write:
            """Prepare the weights, and return what records the sums of some examples."""
            operand = Operand(step, words)
            return lambda some, out: operand.conv2d(x[some], *given, (), out, pixels=pixels)

        def write_signs(thresholds: Array, out: Array) -> None:
            Operand(step, words).conv2d(x, *given, (thresholds,), out, pixels=pixels)

        return Product(step, self.sums, prepared(), write_signs, recompute=prepared)

    def _product_of_codes(self, step: Step, x: Array, words: Array) -> Value:
        def prepared() -> Write:
            """Prepare the weights, and return what records the sums of some examples."""
            turned_shape = (self.fan_in, words_for(self.filters))
            turned = step.prepared("transpose_bits", "packed W", turned_shape, WORD, words, self.fan_in)

            def write(some: slice, out: Array) -> None:
                for images, windows in self._unfolded(step, x[some]):
                    part = out[images].pixels()
                    if out.dtype == np.int32:
                        step.run("grad_input", windows, turned, self.filters, part)
                        continue
                    wide = step.empty("scratch", part.shape, np.int32)
                    step.run("grad_input", windows, turned, self.filters, wide)
                    step.run("cast", wide, part)

            return write

        return Product(step, self.sums, prepared(), recompute=prepared)

    def _unfolded(self, step: Step, x: Array) -> Iterator[tuple[slice, Array]]:
        """Yield the windows of a few images of codes at a time, as rows, in the same memory."""
        for images, part in unfolded(step, x, self.kernel, self.windows):
            yield images, part.reshape(-1, self.fan_in)

    def forward(self, step: Step, x: Value) -> tuple[Value, Any]:
        """Record the convolution with the signs of the kernels."""
        codes, inputs = self.spec.kind == "codes", x.array
        words = packed(step, self.weight, self.filters if codes else self.weight.size // self.spec.channels)
        y = self._product_of_codes(step, inputs, words) if codes else self._product(step, inputs, words)
        kept = kept_words(step, words)
        if not self.scaled:
            return y, (inputs, kept, None)
        factors = magnitude.scale_factors(step, self.weight)
        return magnitude.scaled(step, y, self.output, factors), (inputs, kept, factors)

    def backward(self, step: Step, cache: Any, grad: Gradient, *, wanted: bool) -> Gradient | None:
        """Record dW, and dX of bits."""
        (x, words, factors), stream, n = cache, 2 * self.index, self.spec.channels
        if factors is not None:
            grad = magnitude.gradient_of_sums(step, grad, factors, self.precision)
        operand = weight_operand(grad, self.precision, stream)
        if self.spec.kind == "codes":
            few = step.savings.summed and not operand.is_real
            step.gradient("weight", self._code_gradient(step, operand if few else operand.kept(), x))
            return None
        if wanted and words is None:  # before the update
            words = packed(step, self.weight, self.weight.size // n)
        step.gradient("weight", self._weight_gradient(step, operand, x))
        if not wanted:
            return None
        operand = input_operand(grad, self.precision, stream)
        kernels = words.reshape(self.filters, *self.kernel, words_for(n))

        def product(some: slice, out: Array) -> None:
            for images, part in operand.blocks(some, BLOCK_VALUES):
                here = out[images.start - some.start : images.stop - some.start]
                step.run("conv2d_grad_input", part, kernels, n, *self._options()[:2], here)

        return input_gradient(operand, (step.batch, *self.spec.shape), self.precision, product)

    def _weight_gradient(self, step: Step, operand: Gradient, x: Array) -> ParameterGradient:
        shape, n, options = self.weight.shape, self.spec.channels, self._options()
        whole = math.prod(operand.shape) * operand.dtype.itemsize
        sums = self.weight.size * sums_type(operand.dtype).itemsize
        summed = operand.formed and not operand.is_real and step.savings.summed and sums < whole
        if not summed:
            operand = operand.kept()

        def values(out: Array) -> None:
            for images, part in operand.blocks(slice(0, step.batch), step.savings.block):
                step.run("conv2d_grad_weight", part, x[images], n, *options, 0, images.start > 0, out)

        def signs(thresholds: Array, mask: Array, out: Array) -> None:
            step.run("conv2d_grad_weight_sign", operand.values, x, n, *options, 0, thresholds, mask, out)

        return binary_weight_gradient(step, operand, shape, self.precision, values, signs, summed=summed)

    def _code_gradient(self, step: Step, operand: Gradient, x: Array) -> ParameterGradient:
        every = slice(0, step.batch)

        def product(first: int, out: Array) -> None:
            for some, part in operand.blocks(every, step.savings.block):
                for within, windows in self._unfolded(step, x[some]):
                    added = some.start + within.start > 0
                    code_product(step, part[within].pixels(), windows, first, added, out)

        return code_weight_gradient(step, operand, self.weight.shape, self.precision, self.spec.unit, product)

    def inference(self) -> Arrays:
        """Return the packed signs of the kernels, each as one row where they are for codes; and any scales."""
        words = {"words": pack(self.weight.reshape(self.filters, -1) if self.spec.kind == "codes" else self.weight)}
        return words | (magnitude.scales(self.weight) if self.scaled else {})

    def check(self, arrays: Arrays) -> None:
        """Check numbers, and the tails of words."""
        super().check(arrays)
        if "words" in arrays:
            check_tail("words", arrays["words"], self.fan_in if self.spec.kind == "codes" else self.spec.channels)

    def inference_types(self) -> Types:
        """Return the type of the words, and of the scales."""
        rows = (words_for(self.fan_in),) if self.spec.kind == "codes" else (*self.kernel, words_for(self.spec.channels))
        types = {"words": ((self.filters, *rows), np.dtype(WORD))}
        return types | (magnitude.scale_types(self.filters) if self.scaled else {})

    def predict(self, step: Step, arrays: Arrays, x: Value) -> Value:
        """Record the convolution."""
        words, codes = step.constant(arrays["words"], "packed W"), self.spec.kind == "codes"
        y = self._product_of_codes(step, x.array, words) if codes else self._product(step, x.array, words)
        return magnitude.predicted(step, y, self.output, arrays) if self.scaled else y

    def decoupled(
        self, words: Sequence[int] | None = None, *, real: bool = False, patch: int = 1
    ) -> tuple[Layer, Layer]:
        """Return frozen taps and a trainable centre, whose results add up to those of this layer.

        Parameters
        ----------
        words : sequence of int, optional
            Which words of the centre's channels, 64 each, are trained; all by default.
        real, patch
            As for `CentreConv2d <bitlearn.nn.CentreConv2d>`.

        Returns
        -------
        taps : FrozenTaps
        centre : CentreConv2d
            Bound and built, with copies of the weights: the latent ones, or their signs if the centre is real.

        Raises
        ------
        ValueError
            If the kernel has no centre, centres lie past the edge, channels are scaled by the mean magnitude of
            their weights, which would change with the centre, or codes flow in.
        """
        if self.scaled or self.spec.kind != "bits":
            got = "scaled ones" if self.scaled else f"one of {self.spec.kind}"
            raise ValueError(f"a convolution must be one of bits without scales to be decoupled, got {got}")
        chosen = list(range(words_for(self.spec.channels))) if words is None else [int(word) for word in words]
        given = {name: getattr(self, name) for name in ("kernel", "stride", "padding", "pad_value")}
        taps = FrozenTaps(self.filters, words=chosen, **given)
        taps.bind(self.spec, self.precision, self.index)
        taps.build(0)
        taps.taps[...] = pack(self.weight)
        channels = channels_of(chosen, self.spec.channels)
        centre = CentreConv2d(self.filters, len(channels), real=real, patch=patch)
        centre.bind(taps.output, self.precision, self.index)
        centre.build(0)
        middle = self.weight[:, self.kernel[0] // 2, self.kernel[1] // 2][:, channels]
        centre.weight[...] = np.where(middle >= 0, 1, -1) if real else middle
        taps.is_built = centre.is_built = True
        return taps, centre

    def merge(self, centre: Layer, words: Sequence[int]) -> None:
        """Copy the latent weights of a trained centre into this layer, in place.

        Parameters
        ----------
        centre : CentreConv2d
        words : sequence of int
            Those passed to `decoupled`.

        Raises
        ------
        ValueError
            If the centre has real weights, which signs cannot represent, or belongs to another convolution.
        """
        channels, found = channels_of(words, self.spec.channels), centre.parameters().get("weight", np.empty(0))
        if not centre.binary or found.shape != (self.filters, len(channels)) or found.dtype != self.weight.dtype:
            kind = "binary" if centre.binary else "real"
            raise ValueError(
                f"a centre must be binary, of {self.weight.dtype} and of shape {(self.filters, len(channels))} to be "
                f"merged, got a {kind} one of {found.dtype} and of shape {found.shape}"
            )
        self.weight[:, self.kernel[0] // 2, self.kernel[1] // 2, channels] = found

    def gram(self, x: np.ndarray) -> np.ndarray:
        """Return the sums of products of the windows, shape (fan_in, fan_in)."""
        if self.spec.kind == "bits":
            return gram_of_windows(x, self.spec.channels, self.kernel, self.windows)
        return gram_of_values(windows_of(x, self.kernel, self.windows, np.zeros(1, x.dtype)).reshape(-1, self.fan_in))

    def operations(self) -> tuple[int, int]:
        """Return the multiply-adds of an example."""
        count = self.output.size * self.fan_in
        return (0, count) if self.spec.kind == "codes" else (count, 0)
