"""The trained centre of a binary convolution, after its frozen taps: see `bitlearn.nn.taps`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bitlearn.bits import WORD, words_for
from bitlearn.nn import reals
from bitlearn.nn.gradients import sums_type, weight_operand
from bitlearn.nn.gram import gram_of_bits
from bitlearn.nn.layer import Arrays, Layer, check_tail, register, uniform_weights, whole
from bitlearn.nn.products import Operand, packed
from bitlearn.nn.spec import Spec
from bitlearn.nn.step import ParameterGradient, Step
from bitlearn.nn.taps import SHARE
from bitlearn.nn.value import Gradient, Product, Value
from bitlearn.nn.weights import CLIP, binary_weight_gradient
from bitlearn.ops.packing import pack
from bitlearn.program import Array
from bitlearn.rng import Key
from bitlearn.safetensors import Types

#: Sums that are formed at a time: a step has so little else that a second-level cache full of them would be most of it.
_SUMS_AT_A_TIME = 2**15


def _bits(x: np.ndarray, bits: np.ndarray) -> None:
    """Write the words after the sums of each pixel."""
    bits.view(np.int16)[...] = x[:, x.shape[1] - SHARE * bits.shape[1] :]


def _add(x: np.ndarray, out: np.ndarray) -> None:
    """Add the sums of each pixel."""
    out += x[:, : out.shape[1]]


@register
class CentreConv2d(Layer):
    """The trained centre of a convolution after its `FrozenTaps`: a 1×1 convolution of bits, added to their sums.

    Parameters
    ----------
    filters : int
    channels : int
        How many channels the centre sees: those of the words that the frozen taps leave out.
    real : bool
        Multiply bits by real weights and output real values, instead of using the signs of latent weights and
        outputting sums.
    patch : int
        The gradient of the weights is taken from sums over patches of this many rows and columns: gradient filtering.

    Notes
    -----
    ``y = frozen sums + x W^T``. With gradient filtering (arXiv 2301.00330) the forward pass is exact, and with ``P x``
    the sum and ``A g`` the mean over a patch ``dW = (A g)^T (P x)``: a fourth of the products for a patch of 2×2,
    assuming that the gradient is constant over a patch.
    """

    kind = "centre"

    def __init__(self, filters: int, channels: int, *, real: bool = False, patch: int = 1):
        self.filters, self.channels = whole("filters", filters), whole("channels", channels)
        self.real, self.patch = bool(real), whole("patch", patch)
        self.binary = () if self.real else ("weight",)  # type: ignore[misc]

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {name: getattr(self, name) for name in ("filters", "channels", "real", "patch")}

    def infer(self, spec: Spec) -> Spec:
        """Return sums of shape ``(height, width, filters)``, or real values."""
        wanted = self.filters + SHARE * words_for(self.channels)
        if spec.kind != "sums" or len(spec.shape) != 3 or spec.dtype != np.int16 or spec.shape[-1] != wanted:
            raise ValueError(
                f"a centre of {self.filters} filters and {self.channels} channels must get what frozen taps give, "
                f"int16 with {wanted} numbers per pixel, got {spec}"
            )
        if spec.shape[0] % self.patch or spec.shape[1] % self.patch:
            raise ValueError(f"patch must divide both sides of maps {spec.shape[:2]}, got {self.patch}")
        shape = (*spec.shape[:2], self.filters)
        return Spec.real(shape) if self.real else Spec.sums(shape)

    @property
    def weight_shape(self) -> tuple[int, int]:
        """``(filters, channels)``."""
        return self.filters, self.channels

    @property
    def _latent(self) -> np.dtype:
        return np.dtype(np.float32) if self.real else self.precision.latent

    def build(self, seed: int) -> None:
        """Draw the weights."""
        self.weight = uniform_weights(self.weight_shape, self._latent, Key(seed, stream=self.index))

    def parameters(self) -> Arrays:
        """Return the weights, shape (filters, channels)."""
        return {"weight": self.weight}

    def state_types(self) -> Types:
        """Return the type of the weights."""
        return {"weight": (self.weight_shape, self._latent)}

    def gram(self, x: np.ndarray) -> np.ndarray:
        """Return the sums of products of the bits, shape (channels, channels)."""
        bits = np.ascontiguousarray(x.reshape(-1, x.shape[-1])[:, self.filters :]).view(WORD)
        return gram_of_bits(bits, self.channels)

    def _inputs(self, step: Step, x: Array) -> Array:
        """Return the bits of all pixels."""
        rows = x.pixels()
        bits = step.empty("X", (len(rows), words_for(self.channels)), WORD)
        step.run(_bits, rows, bits)
        return bits

    def _binary(self, step: Step, x: Value, words: Array) -> tuple[Value, Array]:
        bits, operand, given = self._inputs(step, x.array), Operand(step, words), x.array
        images = bits.reshape(step.batch, len(bits) // max(step.batch, 1), bits.shape[1])

        def write(some: slice, out: Array) -> None:
            operand.matmul(images[some].pixels(), self.channels, (), out.pixels())
            step.run(_add, given[some].pixels(), out.pixels())

        return Product(step, self.output, write, most=_SUMS_AT_A_TIME), bits

    def _real(self, step: Step, x: Value, weight: Array) -> tuple[Value, Array]:
        bits = self._inputs(step, x.array)
        operand = reals.real_weights(step, weight, self.precision, forward=True)
        y = step.empty("Y", self.output.array_shape(step.batch), np.float32)
        each = math.prod(self.output.shape[:2])
        count = each * max(1, _SUMS_AT_A_TIME // max(each * self.filters, 1))
        for start in range(0, len(bits), count):
            some = slice(start, min(start + count, len(bits)))
            rows = some.stop - start
            turned = step.empty("scratch", (self.channels, words_for(rows)), WORD)
            sums = step.empty("Y", (self.filters, rows), sums_type(operand.dtype))
            step.run("transpose_bits", bits[some], self.channels, turned)
            step.run("grad_input", operand.values, turned, rows, sums)
            step.run("scaled_transpose", sums, operand.scale, y.pixels()[some])
        step.run(_add, x.array.pixels(), y.pixels())
        return Value(step, self.output, y), bits

    def forward(self, step: Step, x: Value) -> tuple[Value, Any]:
        """Record the sums of all taps."""
        if self.real:
            return self._real(step, x, step.constant(self.weight, "W"))
        return self._binary(step, x, packed(step, self.weight, self.filters))

    def backward(self, step: Step, cache: Any, grad: Gradient, *, wanted: bool) -> Gradient | None:
        """Record dW; no gradient passes on, since the layers below are frozen."""
        if wanted:
            raise ValueError("a centre must be the first layer of a network that is trained, got layers below")
        bits, operand = cache, weight_operand(grad, self.precision, 2 * self.index)
        g = operand.values.pixels()
        if self.patch > 1:
            step.gradient("weight", self._filtered(step, operand, bits))
        elif self.real:
            sums = step.empty("dW", self.weight.shape, sums_type(operand.dtype))
            step.run("grad_weight", g, bits, self.channels, 0, False, sums)
            scale = None if operand.is_real else operand.scale
            step.gradient("weight", ParameterGradient(sums, scale, fan_in=self.channels))
        else:

            def values(out: Array) -> None:
                step.run("grad_weight", g, bits, self.channels, 0, False, out)

            def signs(thresholds: Array, mask: Array, out: Array) -> None:
                step.run("grad_weight_sign", g, bits, self.channels, 0, thresholds, mask, out)

            shape = self.weight.shape
            found = binary_weight_gradient(step, operand, shape, self.precision, values, signs)
            step.gradient("weight", found)
        return None

    def _filtered(self, step: Step, operand: Gradient, bits: Array) -> ParameterGradient:
        """Return the gradient from patches: of integers exact sums, of which one is worth the patch's share."""
        sums = step.empty("dW", self.weight.shape, np.float32 if operand.is_real else np.int64)
        step.run(self._patches, operand.values.pixels(), bits, sums)
        clip, share = float("inf") if self.real else CLIP, np.array([1 / self.patch**2])
        if self.precision.sign_weight_gradient and not self.real:
            words = step.empty("dW", (self.filters, words_for(self.channels)), WORD)
            step.run("pack", sums, step.constant(np.zeros(1, dtype=sums.dtype)), words)
            return ParameterGradient(words, None, clip, self.channels)
        if operand.is_real:
            return ParameterGradient(sums, None, clip, self.channels)
        scale = step.empty("scales", operand.scale.shape, np.float64)
        step.run("multiply_scales", operand.scale, step.constant(share), scale)
        return ParameterGradient(sums, scale, clip, self.channels)

    def _patches(self, g: np.ndarray, bits: np.ndarray, out: np.ndarray) -> None:
        size, (height, width) = self.patch, self.spec.shape[:2]
        real = out.dtype.kind == "f"
        x = np.unpackbits(bits.view(np.uint8), axis=1, bitorder="little")[:, : self.channels].astype(np.int8) * 2 - 1
        wide = np.float32 if real else np.float64  # of integers of 16 bits these sums are exact
        shape = (-1, height // size, size, width // size, size)
        sums = [a.astype(wide).reshape(*shape, a.shape[1]).sum(axis=(2, 4)).reshape(-1, a.shape[1]) for a in (g, x)]
        found = sums[0].T @ sums[1]
        out[...] = found / np.float32(size * size) if real else found

    def inference(self) -> Arrays:
        """Return the packed signs of the weights, or real weights."""
        if self.real:
            return {"weight": self.weight.copy()}
        return {"words": pack(self.weight)}

    def inference_types(self) -> Types:
        """Return their type."""
        if self.real:
            return {"weight": (self.weight_shape, np.dtype(np.float32))}
        return {"words": ((self.filters, words_for(self.channels)), np.dtype(WORD))}

    def check(self, arrays: Arrays) -> None:
        """Check numbers, and the tails of words."""
        super().check(arrays)
        if "words" in arrays:
            check_tail("words", arrays["words"], self.channels)

    def predict(self, step: Step, arrays: Arrays, x: Value) -> Value:
        """Record the sums of all taps."""
        if self.real:
            return self._real(step, x, step.constant(arrays["weight"], "W"))[0]
        return self._binary(step, x, step.constant(arrays["words"], "packed W"))[0]

    def operations(self) -> tuple[int, int]:
        """Return the multiply-adds of an example."""
        count = math.prod(self.output.shape) * self.channels
        return (0, count) if self.real else (count, 0)
