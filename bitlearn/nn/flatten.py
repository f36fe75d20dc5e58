"""From maps to rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn.bits import WORD_BITS, Bits
from bitlearn.nn.layer import Gradients, Layer, Value
from bitlearn.ops.packing import pack, unpack
from bitlearn.quantizers import Gradient, reshaped
from bitlearn.rng import Key


class Flatten(Layer):
    """Maps ``(batch, height, width, channels)`` to rows ``(batch, height * width * channels)``, in that order.

    Notes
    -----
    Packed maps whose channels fill whole words are only looked at in another shape; others are packed anew, since the
    gaps at the ends of their words must close.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bits, _ = bl.nn.Flatten().forward(bl.Bits(bl.pack(np.ones((1, 2, 2, 3))), 3), training=False)
    >>> bits.n, bits.words
    (12, array([[4095]], dtype=uint64))
    """

    kind = "flatten"

    def settings(self) -> dict[str, Any]:
        """Return no arguments."""
        return {}

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return one axis of all values."""
        return (int(np.prod(shape)),)

    def forward(self, x: Value, *, training: bool) -> tuple[Value, Any]:
        """Return rows of the same kind."""
        cache = x.shape if training else None
        count, n = len(x), int(np.prod(x.shape[1:]))
        if not isinstance(x, Bits):
            return x.reshape(count, n), cache
        if x.n % WORD_BITS == 0:
            return Bits(x.words.reshape(count, -1), n), cache
        return Bits(pack(unpack(x.words, x.n).reshape(count, n)), n), cache

    def backward(
        self, cache: Any, grad: Gradient, *, input_gradient: bool = True, key: Key | None = None
    ) -> tuple[Gradient | None, Gradients]:
        """Return the gradient in the shape of the maps."""
        return reshaped(grad, cache), {}
