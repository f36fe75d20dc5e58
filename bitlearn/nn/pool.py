"""Max pooling of integer sums and of packed bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn.arena import track
from bitlearn.bits import WORD, Bits, words_for
from bitlearn.nn.layer import Gradients, Layer, Value, Variable
from bitlearn.ops import passes
from bitlearn.ops.quantize import Quantized
from bitlearn.quantizers import Gradient, integers, sums_gradient
from bitlearn.rng import Key


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

    def _best(self, words: np.ndarray, size: tuple[int, int], training: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the OR of each window of bits, and the planes of the first place that has it set."""
        planes = (self.window * self.window - 1).bit_length()
        taps = [
            words[:, i :: self.stride, j :: self.stride][:, : size[0], : size[1]]
            for i in range(self.window)
            for j in range(self.window)
        ]
        best = taps[0].copy()
        places = np.zeros((*best.shape[:3], planes, best.shape[3]), dtype=WORD) if training else None
        for index, tap in enumerate(taps[1:], start=1):
            first = tap & ~best
            best |= tap
            if places is not None:
                for bit in range(planes):
                    if index >> bit & 1:
                        places[:, :, :, bit] |= first
        return best, places

    def forward(self, x: Value, *, training: bool) -> tuple[Value, Any]:
        """Return the largest values, of the type of `x`."""
        height, width, _ = self.output_shape(x.shape[1:])
        if isinstance(x, Bits):
            best, places = self._best(x.words, (height, width), training)
            y: Value = Bits(track("X", best), x.n)
        else:
            maps = passes.sums(x)
            y = track("Y", passes.max_pool(maps, self.window, self.stride, (height, width)))
            places = passes.max_pool_places(maps, self.window, self.stride, (height, width)) if training else None
        return y, None if places is None else (track("pool mask", places), x.shape)

    def backward(
        self, cache: Any, grad: Gradient, *, input_gradient: bool = True, key: Key | None = None
    ) -> tuple[Gradient | None, Gradients]:
        """Return the gradient, routed to the first largest value of each window."""
        if not input_gradient:
            return None, {}
        places, shape = cache
        values = np.ascontiguousarray(integers(grad))
        result = track("dX", passes.max_pool_gradient(values, places, self.window, self.stride, shape))
        if not isinstance(grad, Quantized):
            return result, {}
        # Windows that overlap add up: such sums may pass the gradient's own type.
        if result.dtype != values.dtype:
            return sums_gradient(result, grad), {}
        return Quantized(result, grad.scale, 0, grad.bits), {}

    def variables(self, shape: tuple[int, ...], batch: int) -> list[Variable]:
        """Return what a training step keeps: see `Layer.variables`."""
        height, width, channels = self.output_shape(shape)
        bits = 8 * batch * height * width * words_for(channels) * (self.window * self.window - 1).bit_length()
        return [Variable("pool mask", "forward to backward", "bool", bits)]
