"""The sign of real values, with the clipped straight-through estimator."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn.arena import track
from bitlearn.bits import words_for
from bitlearn.nn.layer import Gradients, Layer, Value, Variable
from bitlearn.precision import Precision, policy
from bitlearn.quantizers import Gradient, ste_backward, ste_sign
from bitlearn.rng import Key


class Sign(Layer):
    """Packed signs of float32 values; behind a batch norm `BatchNormSign` does both in one.

    Parameters
    ----------
    precision : str or Precision

    Notes
    -----
    ``sign(0) = +1``. The gradient passes where ``|x| <= 1`` and stops elsewhere (arXiv 1602.02830); one bit a value is
    kept for that.

    Examples
    --------
    >>> import bitlearn as bl
    >>> bits, mask = bl.nn.Sign().forward(np.array([[0.5, -2.0, 0.0]]), training=True)
    >>> bl.unpack(bits.words, 3)
    array([[ 1, -1,  1]], dtype=int8)
    >>> bl.nn.Sign().backward(mask, np.ones((1, 3), dtype=np.float32))[0]
    array([[1., 0., 1.]], dtype=float32)
    """

    kind = "sign"

    def __init__(self, *, precision: str | Precision = "standard"):
        self.precision = policy(precision)

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"precision": self.precision.setting()}

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape as it is."""
        return shape

    def forward(self, x: Value, *, training: bool) -> tuple[Value, Any]:
        """Return packed signs of the same shape."""
        assert isinstance(x, np.ndarray)
        signs, mask = ste_sign(x)
        track("X", signs.words)
        track("STE mask", mask.words)
        return signs, mask if training else None

    def backward(
        self, cache: Any, grad: Gradient, *, input_gradient: bool = True, key: Key | None = None
    ) -> tuple[Gradient | None, Gradients]:
        """Return the gradient where the straight-through estimator passes it."""
        return (ste_backward(cache, grad) if input_gradient else None), {}

    def variables(self, shape: tuple[int, ...], batch: int) -> list[Variable]:
        """Return what a training step keeps: see `Layer.variables`."""
        bits = 8 * batch * int(np.prod(shape[:-1])) * words_for(shape[-1])
        return [Variable(name, "forward to backward", "bool", bits) for name in ("X", "STE mask")]
