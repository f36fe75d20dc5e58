"""Batch norm over channels: followed by a sign, giving packed bits, or on its own, giving float32 scores."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bitlearn.arena import track
from bitlearn.bits import Bits, ones, words_for
from bitlearn.errors import NonFiniteError
from bitlearn.nn import norm_float, norm_integer
from bitlearn.nn.layer import Gradients, Layer, Value, Variable
from bitlearn.ops import passes
from bitlearn.ops.quantize import Quantized, largest_magnitude
from bitlearn.precision import Precision, policy
from bitlearn.quantizers import Gradient, integers, reshaped, ste_backward, ste_sign
from bitlearn.rng import Key
from bitlearn.workspace import empty

#: Running statistics keep this share at each step.
MOMENTUM = 0.9


class Normalization(Layer):
    """What the two batch norms share: a shift for each channel, running statistics, and no gain.

    A gain (gamma) does nothing before a sign, and the published networks have none.
    """

    def __init__(
        self,
        channels: int,
        *,
        norm: str | None = None,
        input_scale: float = 1.0,
        precision: str | Precision = "standard",
    ):
        self.channels, self.input_scale = channels, float(input_scale)
        self.precision = policy(precision)
        self.norm = self.precision.norm if norm is None else norm
        if self.norm not in ("l1", "l2"):
            raise ValueError(f"norm must be 'l1' or 'l2', got {norm!r}")
        self.shift = track("beta", np.zeros(channels, dtype=self.precision.shift))
        self.running_mean = np.zeros(channels, dtype=np.float32)
        self.running_spread = np.ones(channels, dtype=np.float32)

    def parameters(self) -> dict[str, np.ndarray]:
        """Return the shift, shape (channels,)."""
        return {"shift": self.shift}

    def statistics(self) -> dict[str, np.ndarray]:
        """Return the running mean and spread, float32 (channels,), in units of the real input."""
        return {"running_mean": self.running_mean, "running_spread": self.running_spread}

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "channels": self.channels,
            "norm": self.norm,
            "input_scale": self.input_scale,
            "precision": self.precision.setting(),
        }

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape as it is."""
        if not shape or shape[-1] != self.channels:
            raise ValueError(f"a batch norm must get examples whose last axis is {self.channels}, got shape {shape}")
        return shape

    def _batch(self, y: np.ndarray) -> np.ndarray:
        rows = y.reshape(-1, self.channels)
        if self.precision.integer:
            rows = passes.sums(rows)
        if len(rows) < 2:
            raise ValueError(f"a batch norm must get at least 2 values a channel in training, got {len(rows)}")
        return rows

    def _update(self, mean: np.ndarray, spread: np.ndarray) -> None:
        for running, value in ((self.running_mean, mean), (self.running_spread, spread)):
            new = running * np.float32(MOMENTUM) + (value * (1 - MOMENTUM)).astype(np.float32)
            if not np.isfinite(new).all():
                raise NonFiniteError("the running statistics")
            running[...] = new

    def _integer_statistics(self, rows: np.ndarray) -> norm_integer.BatchStatistics:
        """Return the statistics in units of y; the spread is rounded as it is kept for the backward pass."""
        if self.norm == "l2" and self.precision.statistics == np.float32 and passes.alone(rows):
            running = self.running_mean, self.running_spread
            if (in_one := passes.batch_statistics(rows, self.input_scale, MOMENTUM, *running)) is None:
                raise NonFiniteError("the running statistics")
            return norm_integer.BatchStatistics(*in_one)
        measure = norm_integer.l1_statistics if self.norm == "l1" else norm_integer.l2_statistics
        found = measure(rows)
        kept = (found.spread * self.input_scale).astype(self.precision.statistics)
        self._update(found.mean * self.input_scale, kept.astype(np.float64))
        return norm_integer.BatchStatistics(found.mean, kept.astype(np.float64) / self.input_scale, found.total)

    def _float_normalized(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the normalised values before the shift, and the spread; update the running statistics."""
        normal, mean, spread = norm_float.normalize(rows, self.input_scale, self.norm)
        self._update(mean, spread)
        return track("X", normal), spread

    def _norm_backward(self, kept: tuple, grad: Gradient, mask: Bits | None) -> tuple[Gradient, Gradients]:
        """Return the gradients of the rows and of the shift from that of normalised rows, where `mask` passes it."""
        if not isinstance(grad, Quantized):
            x, spread = kept
            passed = grad if mask is None else ste_backward(mask, grad)
            assert isinstance(passed, np.ndarray)
            return track("dY", norm_float.backward(passed, x, spread, self.norm)), {"shift": passed.sum(axis=0)}
        through = Bits(ones(grad.values.shape[:1], self.channels), self.channels) if mask is None else mask
        if self.norm == "l1":
            signs, spread, omega = kept
            quantized, shift = norm_integer.l1_backward(grad, through, signs, spread, omega)
        else:
            y, mean, spread = kept
            quantized, shift = norm_integer.l2_backward(grad, through, y, mean, spread, self.input_scale)
        return quantized, {"shift": shift}

    def _kept_sums(self, rows: np.ndarray, found: norm_integer.BatchStatistics) -> tuple:
        """Return what it needs of an "l2" norm: the sums themselves."""
        return rows, track("mu, psi", found.mean), track("mu, psi", found.spread)

    def _kept_signs(
        self, rows: np.ndarray, signs: Bits, thresholds: np.ndarray, found: norm_integer.BatchStatistics
    ) -> tuple:
        """Return what the integer backward pass needs of an "l1" norm: one bit a value."""
        mean, spread, kind = found.mean, found.spread, self.precision.statistics
        assert found.total is not None
        omega = norm_integer.mean_magnitude(rows, thresholds, found.total, mean, spread, self.shift)
        return signs, track("mu, psi", (spread * self.input_scale).astype(kind)), track("mu, psi", omega.astype(kind))

    def _kept_variables(self, values: int) -> list[Variable]:
        """The memory of what is kept, and of the passes over `values` values."""
        found = [
            Variable("beta", "persistent", self.precision.shift.name, self.shift.nbytes),
            Variable("running statistics", "persistent", "float32", 8 * self.channels),
            Variable("dbeta", "step", "float32", 4 * self.channels),
        ]
        if not self.precision.integer:
            return [
                *found,
                Variable("X", "forward to backward", "float32", 4 * values),
                Variable("mu, psi", "forward to backward", "float32", 4 * self.channels),
                Variable("dY", "transient", "float32", 4 * values),
            ]
        # First-layer sums are int32; those of bits are, where a layer has 2**15 inputs or more, but this does not ask.
        sums = np.dtype(np.int16 if self.input_scale == 1 else np.int32)
        narrow = np.dtype(np.int8 if (self.precision.gradient_bits or 0) <= 8 else np.int16)
        statistics = self.precision.statistics if self.norm == "l1" else np.dtype(np.float64)
        found += [
            Variable("mu, psi", "forward to backward", statistics.name, 2 * statistics.itemsize * self.channels),
            Variable("dY", "transient", narrow.name, narrow.itemsize * values),
        ]
        if self.norm == "l2":
            found.append(Variable("Y", "forward to backward", sums.name, sums.itemsize * values))
        return found

    def _bits(self, values: int) -> int:
        """The bytes of one packed bit a value."""
        return 8 * (values // self.channels) * words_for(self.channels)


class BatchNormSign(Normalization):
    """Batch norm and sign in one: sums in, packed ±1 bits out.

    Parameters
    ----------
    channels : int
        The last axis of the input.
    norm : {"l1", "l2"}, optional
        Divide by the mean absolute deviation or by the standard deviation; by default as the policy says.
    input_scale : float
        What one unit of the input is worth: 1/128 behind a first layer on codes, else 1. A power of two.
    precision : str or Precision

    Notes
    -----
    ``sign((y - mean) / spread + shift)`` with sign(0) = +1; the gradient of the sign is cut off where its argument
    exceeds 1 in magnitude (straight-through estimator). Under an integer policy normalising is a comparison with one
    integer a channel, and what is kept is two bits a value (sign and mask), the spread and the mean magnitude. When not
    training the running statistics take the batch's place: ``0.9 * running + 0.1 * batch`` after each step.

    Examples
    --------
    >>> import bitlearn as bl
    >>> layer = bl.nn.BatchNormSign(1, precision="low-memory")
    >>> bits, _ = layer.forward(np.array([[1], [3], [8]], dtype=np.int16), training=True)
    >>> bl.unpack(bits.words, 1).ravel()
    array([-1, -1,  1], dtype=int8)
    """

    kind = "sign"

    def thresholds(self) -> np.ndarray:
        """Return the integers that sums are compared with when not training, int32 (channels,)."""
        return norm_integer.sign_thresholds(self.running_mean, self.running_spread, self.shift, self.input_scale)

    def forward(self, x: Value, *, training: bool) -> tuple[Value, Any]:
        """Return packed signs of the same shape."""
        assert isinstance(x, np.ndarray)
        if not training:
            return norm_integer.packed("X", x >= self.thresholds()), None
        rows = self._batch(x)
        if not self.precision.integer:
            normal, spread = self._float_normalized(rows)
            shifted = np.add(normal, self.shift, out=empty(normal.shape, np.float32))
            if not math.isfinite(largest_magnitude(shifted)):
                raise NonFiniteError("the normalised values")
            signs, mask = ste_sign(shifted)
            return self._shaped(signs, x), ((normal, spread), mask)
        found = self._integer_statistics(rows)
        thresholds, signs, mask = norm_integer.signs(rows, found.mean, found.spread, self.shift)
        l2 = self.norm == "l2"
        kept = self._kept_sums(rows, found) if l2 else self._kept_signs(rows, signs, thresholds, found)
        return self._shaped(signs, x), (kept, mask)

    def _shaped(self, rows: Bits, like: np.ndarray) -> Bits:
        return Bits(rows.words.reshape(*like.shape[:-1], -1), rows.n)

    def backward(
        self, cache: Any, grad: Gradient, *, input_gradient: bool = True, key: Key | None = None
    ) -> tuple[Gradient | None, Gradients]:
        """Return dY, and the gradient of the shift."""
        kept, mask = cache
        rows = reshaped(grad, (-1, self.channels))
        dy, grads = self._norm_backward(kept, rows, mask)
        return reshaped(dy, integers(grad).shape), grads

    def variables(self, shape: tuple[int, ...], batch: int) -> list[Variable]:
        """Return what a training step keeps: see `Layer.variables`."""
        values = batch * int(np.prod(shape))
        return [
            *self._kept_variables(values),
            Variable("X", "forward to backward", "bool", self._bits(values)),
            Variable("STE mask", "forward to backward", "bool", self._bits(values)),
        ]


class BatchNorm(Normalization):
    """Batch norm alone: sums in, float32 out. The published networks end in one, before the softmax.

    Parameters
    ----------
    channels, norm, input_scale, precision
        As `BatchNormSign`.

    Examples
    --------
    >>> import bitlearn as bl
    >>> layer = bl.nn.BatchNorm(1, norm="l1")
    >>> layer.forward(np.array([[1], [3], [5], [7]], dtype=np.int16), training=True)[0].ravel()
    array([-1.5, -0.5,  0.5,  1.5], dtype=float32)
    """

    kind = "norm"

    def forward(self, x: Value, *, training: bool) -> tuple[Value, Any]:
        """Return normalised float32 values of the same shape."""
        assert isinstance(x, np.ndarray)
        if not training:
            real = x.astype(np.float32) * np.float32(self.input_scale)
            return (real - self.running_mean) * norm_integer.inverse(self.running_spread) + self.shift, None
        rows = self._batch(x)
        if not self.precision.integer:
            normal, spread = self._float_normalized(rows)
            return (normal + self.shift).reshape(x.shape), (normal, spread)
        found = self._integer_statistics(rows)
        # Sums of int32 would make it float64.
        centred = np.subtract(rows, found.mean.astype(np.float32), dtype=np.float32)
        y = centred * norm_integer.inverse(found.spread) + self.shift.astype(np.float32)
        y = y.reshape(x.shape)
        if self.norm == "l2":
            return y, self._kept_sums(rows, found)
        thresholds = norm_integer.sign_thresholds(found.mean, found.spread, self.shift, 1.0)
        signs = norm_integer.packed("X", rows >= thresholds)
        return y, self._kept_signs(rows, signs, thresholds, found)

    def backward(
        self, cache: Any, grad: Gradient, *, input_gradient: bool = True, key: Key | None = None
    ) -> tuple[Gradient | None, Gradients]:
        """Return dY, and the gradient of the shift."""
        dy, grads = self._norm_backward(cache, reshaped(grad, (-1, self.channels)), None)
        return reshaped(dy, integers(grad).shape), grads

    def variables(self, shape: tuple[int, ...], batch: int) -> list[Variable]:
        """Return what a training step keeps: see `Layer.variables`."""
        values = batch * int(np.prod(shape))
        found = self._kept_variables(values)
        if self.precision.integer and self.norm == "l1":
            found.append(Variable("X", "forward to backward", "bool", self._bits(values)))
        return found
