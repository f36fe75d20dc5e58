"""Max pooling of integer sums and of packed bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn.arena import track
from bitlearn.bits import Bits, words_for
from bitlearn.nn.layer import Gradients, Layer, Value, Variable
from bitlearn.ops.packing import pack, unpack
from bitlearn.ops.quantize import Quantized
from bitlearn.quantizers import Gradient, integers, sums_gradient


class MaxPool2d(Layer):
    """The largest value of each window, NHWC: of sums before a batch norm, or of ±1 bits behind a sign (their OR).

    Parameters
    ----------
    window : int
        Rows and columns of a window.
    stride : int, optional
        Rows and columns between windows; the window's size by default. What does not fill a window is left out.

    Notes
    -----
    The gradient goes to the first largest value of a window, in row order. Which one that was is kept as
    ``ceil(log2(window**2))`` packed bits a result: half a bit a value for 2×2 windows.

    Examples
    --------
    >>> import bitlearn as bl
    >>> x = np.array([[3, 7], [7, 1]], dtype=np.int16).reshape(1, 2, 2, 1)
    >>> pool = bl.nn.MaxPool2d(2)
    >>> y, cache = pool.forward(x, training=True)
    >>> y.item(), pool.backward(cache, np.ones((1, 1, 1, 1), dtype=np.float32))[0].ravel().tolist()
    (7, [0.0, 1.0, 0.0, 0.0])
    """

    kind = "pool"

    def __init__(self, window: int = 2, stride: int | None = None):
        self.window, self.stride = window, window if stride is None else stride
        if window < 1 or self.stride < 1:
            raise ValueError(f"window and stride must be at least 1, got {window} and {self.stride}")

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"window": self.window, "stride": self.stride}

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return ``(out_h, out_w, channels)``."""
        if len(shape) != 3 or min(shape[:2]) < self.window:
            raise ValueError(f"a max pool must get maps of at least {self.window}x{self.window}, got shape {shape}")
        height, width = ((size - self.window) // self.stride + 1 for size in shape[:2])
        return height, width, shape[2]

    def _taps(self, array: np.ndarray, height: int, width: int) -> list[np.ndarray]:
        """Return a view of `array` for each place in the window, in row order."""
        return [
            array[:, i :: self.stride, j :: self.stride][:, :height, :width]
            for i in range(self.window)
            for j in range(self.window)
        ]

    @property
    def _planes(self) -> int:
        return (self.window * self.window - 1).bit_length()

    def forward(self, x: Value, *, training: bool) -> tuple[Value, Any]:
        """Return the largest values, of the type of `x`."""
        array = x.words if isinstance(x, Bits) else x
        height, width, _ = self.output_shape(x.shape[1:])
        taps = self._taps(array, height, width)
        best = taps[0].copy()
        planes = np.zeros((self._planes, *best.shape[:-1], words_for(x.shape[-1])), dtype=np.uint64)
        for index, tap in enumerate(taps[1:], start=1):
            if isinstance(x, Bits):
                larger = tap & ~best
                best |= tap
            else:
                above = tap > best
                np.maximum(best, tap, out=best)
                larger = pack(above) if training else planes[:0]
            if training:
                for bit, plane in enumerate(planes):
                    plane &= ~larger
                    if index >> bit & 1:
                        plane |= larger
        cache = (track("pool mask", planes), x.shape) if training else None
        if isinstance(x, Bits):
            return Bits(track("X", best), x.n), cache
        return track("Y", best), cache

    def backward(self, cache: Any, grad: Gradient, *, input_gradient: bool = True) -> tuple[Gradient | None, Gradients]:
        """Return the gradient, routed to the first largest value of each window."""
        if not input_gradient:
            return None, {}
        planes, shape = cache
        values = integers(grad)
        # Windows that overlap add up: such sums may pass the gradient's own type.
        wide = values.dtype if self.stride >= self.window or values.dtype.kind == "f" else np.int32
        result = np.zeros(shape, dtype=wide)
        for index, tap in enumerate(self._taps(result, *values.shape[1:3])):
            chosen = np.full(planes.shape[1:], 0xFFFF_FFFF_FFFF_FFFF, dtype=np.uint64)
            for bit, plane in enumerate(planes):
                chosen &= plane if index >> bit & 1 else ~plane
            tap += values * (unpack(chosen, shape[-1]) > 0)
        track("dX", result)
        if isinstance(grad, Quantized) and result.dtype != values.dtype:
            return sums_gradient(result, grad), {}
        return (Quantized(result, grad.scale, 0, grad.bits) if isinstance(grad, Quantized) else result), {}

    def variables(self, shape: tuple[int, ...], batch: int) -> list[Variable]:
        """Return what a training step keeps: see `Layer.variables`."""
        height, width, channels = self.output_shape(shape)
        bits = 8 * batch * height * width * words_for(channels) * self._planes
        return [Variable("pool mask", "forward to backward", "bool", bits)]
