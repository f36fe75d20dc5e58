"""A binary convolution split in two: frozen taps, summed once per image, and a trainable centre.

What flows between the halves is one array of int16 an image: for each pixel the sums of the frozen taps, and after
them the packed bits that the trained centre sees, four numbers per word.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bitlearn.bits import WORD, words_for
from bitlearn.nn.layer import Arrays, Layer, check_tail, register, whole
from bitlearn.nn.products import Operand
from bitlearn.nn.spec import Spec
from bitlearn.nn.step import Step
from bitlearn.nn.value import Gradient, Value
from bitlearn.ops.conv import Padding, Pair, geometry
from bitlearn.safetensors import Types

#: Numbers of int16 in a word.
SHARE = 4
#: The most terms of a sum that int16 holds.
_MOST_TERMS = 2**15 - 1


def channels_of(words: Sequence[int], channels: int) -> np.ndarray:
    """Return the channels in some of the words that so many channels are packed into.

    Examples
    --------
    >>> channels_of([1], 70)
    array([64, 65, 66, 67, 68, 69])
    """
    bits = np.arange(64)
    found = np.concatenate([word * 64 + bits for word in words]) if len(words) else np.empty(0, np.int64)
    return found[found < channels]


@register
class FrozenTaps(Layer):
    """A binary convolution without some words of its centre: the sums of the rest, and the bits that those words see.

    Parameters
    ----------
    filters, kernel, stride, padding, pad_value
        Those of the convolution.
    words : sequence of int
        The words of the centre's channels to leave out, in increasing order.

    Attributes
    ----------
    taps : ndarray of uint64, shape (filters, kh, kw, words)
        The packed kernels, including the centre.

    Notes
    -----
    A bit cannot be 0, so a tap cannot be switched off: the sums are those of the whole kernel minus those of the words
    of the centre that are left out, in integers. As long as no layer below and no frozen tap changes, these sums and
    the bits are all that the rest of a network needs to know of an image.
    """

    kind = "taps"

    def __init__(
        self,
        filters: int,
        *,
        words: Sequence[int],
        kernel: tuple[int, int] = (3, 3),
        stride: Pair = 1,
        padding: Padding = "same",
        pad_value: int = 0,
    ):
        self.filters, self.kernel = whole("filters", filters), (int(kernel[0]), int(kernel[1]))
        self.stride, self.padding, self.pad_value = stride, padding, pad_value
        self.words = [whole("a word", word, least=0) for word in words]
        if not self.words or sorted(set(self.words)) != self.words:
            raise ValueError(f"words must be one or more in increasing order, got {self.words}")

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        names = ("filters", "words", "kernel", "stride", "padding", "pad_value")
        return {name: getattr(self, name) for name in names} | {"kernel": list(self.kernel)}

    def infer(self, spec: Spec) -> Spec:
        """Return int16 of shape ``(out_h, out_w, filters + 4 * len(words))``."""
        if spec.kind != "bits" or len(spec.shape) != 3:
            raise ValueError(f"frozen taps must get maps of bits, got {spec}")
        if not (self.kernel[0] % 2 and self.kernel[1] % 2):
            raise ValueError(
                "a convolution must have a centre (odd numbers of rows and columns) to be decoupled, "
                f"got a kernel of {self.kernel[0]}x{self.kernel[1]}"
            )
        if spec.channels * math.prod(self.kernel) > _MOST_TERMS:
            raise ValueError(f"frozen taps must have at most {_MOST_TERMS} terms per sum, got more")
        if self.words[-1] >= words_for(spec.channels):
            raise ValueError(f"words must be below {words_for(spec.channels)}, got {self.words[-1]}")
        self.windows = geometry(spec.shape[:2], self.kernel, self.stride, self.padding, self.pad_value)
        self.first = [size // 2 - before for size, before in zip(self.kernel, self.windows.padding, strict=True)]
        last = [
            at + (count - 1) * step
            for at, count, step in zip(self.first, self.windows.out_size, self.windows.stride, strict=True)
        ]
        if min(self.first) < 0 or any(at >= size for at, size in zip(last, spec.shape[:2], strict=True)):
            raise ValueError(f"centres must lie inside the image to be decoupled, got padding {self.windows.padding}")
        shape = (*self.windows.out_size, self.filters + SHARE * len(self.words))
        return Spec.sums(shape)

    @property
    def free(self) -> int:
        """How many channels the omitted words hold."""
        return len(channels_of(self.words, self.spec.channels))

    def build(self, seed: int) -> None:
        """Start with all taps at -1; `BinaryConv2d.decoupled` sets them to those of a trained kernel."""
        self.taps = np.zeros((self.filters, *self.kernel, words_for(self.spec.channels)), dtype=WORD)

    def statistics(self) -> Arrays:
        """Return the packed kernels: they are not trained."""
        return {"taps": self.taps}

    @property
    def settled(self) -> bool:
        """Say that nothing changes."""
        return True

    def state_types(self) -> Types:
        """Return the type of the kernels."""
        return {"taps": ((self.filters, *self.kernel, words_for(self.spec.channels)), np.dtype(WORD))}

    def check(self, arrays: Arrays) -> None:
        """Check the tails of words."""
        check_tail("taps", arrays["taps"], self.spec.channels)

    def inference(self) -> Arrays:
        """Return the packed kernels."""
        return {"taps": self.taps.copy()}

    def inference_types(self) -> Types:
        """Return the type of the kernels."""
        return self.state_types()

    def forward(self, step: Step, x: Value) -> tuple[Value, Any]:
        """Record the sums and the bits."""
        return self.predict(step, {"taps": self.taps}, x), None

    def backward(self, step: Step, cache: Any, grad: Gradient, *, wanted: bool) -> Gradient | None:
        """Return nothing: no gradient passes frozen taps."""
        if wanted:
            raise ValueError("frozen taps must be the first layers of a network, or frozen with those below")
        return None

    def predict(self, step: Step, arrays: Arrays, x: Value) -> Value:
        """Record the sums and the bits."""
        taps, (rows, columns) = step.constant(arrays["taps"], "packed W"), self.windows.out_size
        pixels, count = step.batch * rows * columns, len(self.words)
        sums = step.empty("Y", (step.batch, rows, columns, self.filters), np.int16)
        options = self.windows.stride, self.windows.padding, self.windows.pad_value
        operand = Operand(step, taps.reshape(self.filters, -1))
        operand.conv2d(x.array, self.kernel, self.spec.channels, options, (), sums, pixels=pixels)
        bits = step.empty("X", (pixels, count), WORD)
        step.run(self._pick, x.array, bits)
        found, words = arrays["taps"], self.words
        middle = found[:, self.kernel[0] // 2, self.kernel[1] // 2]
        centre = step.derived("packed W", lambda: np.ascontiguousarray(middle[:, words]), found)
        ours = step.empty("Y", (pixels, self.filters), np.int16)
        Operand(step, centre).matmul(bits, self.free, (), ours)
        out = step.empty("Y", self.output.array_shape(step.batch), np.int16)
        step.run(_join, sums.pixels(), ours, bits, out.pixels())
        return Value(step, self.output, out)

    def _pick(self, x: np.ndarray, out: np.ndarray) -> None:
        """Write the words of the pixels at which the windows have their centres."""
        (top, left), (down, right), (rows, columns) = self.first, self.windows.stride, self.windows.out_size
        seen = x[:, top : top + down * (rows - 1) + 1 : down, left : left + right * (columns - 1) + 1 : right]
        out[...] = seen[..., self.words].reshape(out.shape)

    def operations(self) -> tuple[int, int]:
        """Return the multiply-adds of an example: those of all taps, and of the part that is subtracted again."""
        pixels = math.prod(self.windows.out_size) * self.filters
        return pixels * (self.spec.channels * math.prod(self.kernel) + self.free), 0


def _join(sums: np.ndarray, ours: np.ndarray, bits: np.ndarray, out: np.ndarray) -> None:
    np.subtract(sums, ours, out=out[:, : sums.shape[1]])
    out[:, sums.shape[1] :] = bits.view(np.int16)
