"""Max pooling of integer sums, real values and packed bits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bitlearn.bits import WORD, words_for
from bitlearn.nn.gradients import requantized
from bitlearn.nn.layer import Arrays, Layer, Narrowed, register, whole
from bitlearn.nn.spec import Spec
from bitlearn.nn.step import Step
from bitlearn.nn.value import BLOCK_VALUES, FormedGradient, Gradient, Value, Write, in_spans
from bitlearn.program import Array


@register
class MaxPool2d(Layer):
    """The largest value of each window, NHWC: of sums before a batch norm, of real values, or of ±1 bits (their OR).

    Parameters
    ----------
    window : int
        Rows and columns of a window.
    stride : int, optional
        Rows and columns between windows; the window's size by default. Incomplete windows are left out.
    ceil_mode : bool
        Keep incomplete windows, cut off at the lower or the right edge. So windows of 3 with a stride of 2 halve maps
        of an even size, as with TensorFlow's padding "same".

    Notes
    -----
    The gradient goes to the first largest value of a window, in row order. Which one that was is kept as
    ``ceil(log2(window**2))`` packed bits per result: half a bit per value for 2×2 windows. After a convolution, the
    sums are pooled while they are in the cache, and never held in full; nor is the gradient on its way back.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.nn.Model([bl.nn.MaxPool2d(2)], bl.nn.Spec.bits((2, 2, 3)))
    >>> bits = model.apply(bl.Bits(bl.pack([[[[-1, 1, -1], [-1, -1, -1]], [[1, -1, -1], [1, 1, -1]]]]), 3))
    >>> bl.unpack(bits.words, 3).ravel()
    array([ 1,  1, -1], dtype=int8)
    """

    kind = "pool"

    def __init__(self, window: int = 2, stride: int | None = None, *, ceil_mode: bool = False):
        self.window, self.ceil_mode = whole("window", window), bool(ceil_mode)
        self.stride = self.window if stride is None else whole("stride", stride)

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"window": self.window, "stride": self.stride} | ({"ceil_mode": True} if self.ceil_mode else {})

    def narrowed(self, inputs: np.ndarray | None, outputs: np.ndarray | None) -> Narrowed:
        """Return the same of some channels."""
        return self._narrowed_alike(inputs)

    def infer(self, spec: Spec) -> Spec:
        """Return maps of ``(out_h, out_w, channels)``."""
        if spec.kind == "codes" or len(spec.shape) != 3 or min(spec.shape[:2]) < self.window:
            size = f"{self.window}x{self.window}"
            raise ValueError(f"a max pool must get maps of at least {size}, sums, real values or bits, got {spec}")
        return spec.reshaped((*(self._windows(size) for size in spec.shape[:2]), spec.channels))

    def _windows(self, size: int) -> int:
        """How many windows there are along an axis; each begins inside."""
        whole, rest = divmod(size - self.window, self.stride)
        return whole + 1 + (self.ceil_mode and rest > 0 and (whole + 1) * self.stride < size)

    @property
    def _planes(self) -> int:
        """How many bits the place of a tap in its window has."""
        return (self.window * self.window - 1).bit_length()

    def forward(self, step: Step, x: Value) -> tuple[Value, Any]:
        """Record the largest values, and their positions."""
        kernel, name = ("bit_pool", "X") if self.spec.kind == "bits" else ("max_pool", "Y")
        y = step.empty(name, self.output.array_shape(step.batch), self.output.dtype)
        size = (step.batch, *self.output.shape[:2], self._planes, words_for(self.spec.channels))
        places = step.empty("pool mask", size, WORD)
        for images, part in x.blocks(BLOCK_VALUES):
            step.run(kernel, part, self.window, self.stride, y[images])
            step.run(f"{kernel}_places", part, self.window, self.stride, places[images])

        def again() -> Write:
            """Prepare what is pooled, and return what records the largest values of some images."""
            assert x.recompute is not None
            form = x.recompute()

            def write(images: slice, out: Array) -> None:
                for some in in_spans(images, BLOCK_VALUES, self.spec.size):
                    room = step.empty("Y", self.spec.array_shape(some.stop - some.start), self.spec.dtype)
                    form(some, room)
                    here = out[some.start - images.start : some.stop - images.start]
                    step.run("max_pool", room, self.window, self.stride, here)

            return write

        return Value(step, self.output, y, recompute=again if x.recompute else None), places

    def backward(self, step: Step, cache: Any, grad: Gradient, *, wanted: bool) -> Gradient | None:
        """Record the gradient, routed to the first largest value of each window."""
        if not wanted:
            return None
        places, shape = cache, (step.batch, *self.spec.shape)

        def write(images: slice, out: Array) -> None:
            for some, part in grad.blocks(images, step.savings.block):
                d = part.reshape(len(part), *self.output.shape)
                here = out[some.start - images.start : some.stop - images.start]
                step.run("max_pool_gradient", d, places[some], self.window, self.stride, here)

        if self.stride >= self.window:
            return FormedGradient(step, shape, grad.dtype, None if grad.is_real else grad.scale, write)
        # Windows that overlap add up: such sums may pass the gradient's own type.
        sums = step.empty("dX", shape, np.float32 if grad.is_real else np.int32)
        write(slice(0, step.batch), sums)
        if grad.is_real:
            return Gradient(step, sums, None)
        return requantized(step, sums, grad.scale, self.precision.code_bits)

    def predict(self, step: Step, arrays: Arrays, x: Value) -> Value:
        """Record the pool, after the sign where one follows: a comparison is monotone."""
        if self.spec.kind == "bits":
            return self._bits(step, x)
        pooled = Pooled(step, self.output, x, self)
        return pooled if self.spec.kind == "sums" else Value(step, self.output, pooled.array)

    def _bits(self, step: Step, x: Value) -> Value:
        spec = Spec.bits(self.output.shape)
        out = step.empty("X", spec.array_shape(step.batch), WORD)
        step.run("bit_pool", x.array, self.window, self.stride, out)
        return Value(step, spec, out)


class Pooled(Value):
    """Sums that an inference pools where they are wanted: as bits, pooling comes after the sign, as an OR."""

    def __init__(self, step: Step, spec: Spec, x: Value, pool: MaxPool2d):
        self.step, self.spec, self._x, self._pool = step, spec, x, pool
        self._whole: Array | None = None

    @property
    def array(self) -> Array:
        """The pooled sums, formed now."""
        if self._whole is None:
            self._whole = self.step.empty("Y", self.spec.array_shape(self.step.batch), self.spec.dtype)
            for images, part in self._x.blocks(BLOCK_VALUES):
                self.step.run("max_pool", part, self._pool.window, self._pool.stride, self._whole[images])
        return self._whole

    def blocks(self, most: int, *, wide: bool = False) -> Iterator[tuple[slice, Array]]:
        """Yield the pooled sums as one block."""
        yield slice(0, self.step.batch), self.array

    def signs(self, thresholds: Array) -> Value:
        """Return the bits of the pooled sums."""
        return self._pool._bits(self.step, self._x.signs(thresholds))
