"""Batch norm over channels: followed by a sign, giving packed bits, or on its own, giving float32.

Of real values the statistics are those of `real_norm`. Sums are integers, so their statistics are exact, and
normalising and taking the sign is one comparison. With ``t = mean - bias * std``, ``x = (y - mean) / std + bias >= 0``
is ``y >= ceil(t)`` for an integer ``y``, and ``|x| <= clip`` and the mean of ``|x|`` follow from sums of integers too.
So the order of a reduction cannot show, and no float is kept for an activation.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bitlearn.bits import WORD, words_for
from bitlearn.errors import NonFiniteError
from bitlearn.nn.layer import Arrays, Layer, register
from bitlearn.nn.normalization import MOMENTUM, Kept, Normalization, Sums, after
from bitlearn.nn.real_norm import absolute_mean, real_statistics, signs_of
from bitlearn.nn.sign import Sign, checked_clip
from bitlearn.nn.spec import Spec
from bitlearn.nn.step import Step
from bitlearn.nn.value import Gradient, Value
from bitlearn.program import Array
from bitlearn.safetensors import Types

_INT32 = np.iinfo(np.int32)


@register
class BatchNormSign(Normalization):
    """Batch norm and sign in one: sums in, packed ±1 bits out.

    Parameters
    ----------
    norm : {"l1", "l2"}, optional
        Divide by the mean absolute deviation or by the standard deviation; by default the policy decides.
    fixed : bool
        Normalise by the running statistics in training too, which then never change: what is left is a constant factor
        and a bias per channel, as in a batch norm that is folded into its layer.
    clip : float
        Above 0: up to which magnitude of its argument the sign passes a gradient on.

    Raises
    ------
    ValueError
        If there is no such norm, or `clip` is not a finite number above 0.

    Notes
    -----
    ``sign((y - mean) / std + bias)`` with sign(0) = +1; the gradient of the sign is cut off where its argument exceeds
    `clip` in magnitude (straight-through estimator). Normalising is a comparison with one integer per channel. Under
    "l1" and an integer policy, or a policy of that norm, two bits per value are kept (sign and mask), with the
    deviation and the mean magnitude (arXiv 2102.04270); otherwise the sums and one bit. With ``v`` the gradient over
    the deviation, ``s`` the kept signs and ``w`` the mean magnitude, "l1" has the published gradient ``v - mean(v) - s
    * mean(v * s * w)``, which does not sum to 0 where the signs are uneven, as the exact one does. Inference uses the
    running statistics instead of the batch's: ``0.9 * running + 0.1 * batch`` after each step.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.nn.Model([bl.nn.BinaryLinear(4), bl.nn.BatchNormSign()], bl.nn.Spec.bits((8,)))
    >>> model.output_shape, model["sign1"].bias
    ((4,), array([0., 0., 0., 0.], dtype=float32))
    """

    kind = "sign"

    def __init__(self, *, norm: str | None = None, fixed: bool = False, clip: float = 1.0):
        super().__init__(norm=norm, fixed=fixed)
        self.clip = checked_clip(clip)

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return super().settings() | ({} if self.clip == 1 else {"clip": self.clip})

    def infer(self, spec: Spec) -> Spec:
        """Return bits of the same shape."""
        if spec.kind != "sums" or not spec.shape:
            raise ValueError(f"a batch norm with a sign must get sums, got {spec}")
        return Spec.bits(spec.shape)

    def forward(self, step: Step, x: Value) -> tuple[Value, Any]:
        """Record the statistics of the batch, and the signs."""
        out = step.empty("X", self.output.array_shape(step.batch), WORD)
        mask = step.empty("STE mask", out.pixels().shape, WORD)
        kept, running = [], self._running(step)
        for examples in self._shares(step):
            y = self._rows(step, x, examples, kept=not (self._keeps_bits or self._recomputes(step, x)))
            found, moved, sums, bounds = self._statistics(step, y, running)
            for rows, _, part in y.parts():
                step.run("norm_signs", part.pixels(), bounds, out.pixels()[rows], mask[rows])
            kept.append(self._kept(step, y, out.pixels()[y.span], found, moved, sums, bounds))
            running = after(moved)
        return Value(step, self.output, out), (kept, mask)

    def backward(self, step: Step, cache: Any, grad: Gradient, *, wanted: bool) -> Gradient | None:
        """Record the gradients of the sums and of the bias."""
        kept, mask = cache
        return self._backward(step, kept, grad, mask)

    def inference(self) -> Arrays:
        """Return the integers that sums are compared with, int32 (channels,)."""
        mean, std, bias = (a.astype(np.float64) for a in (self.running_mean, self.running_std, self.bias))
        with np.errstate(invalid="ignore", over="ignore"):  # refused below
            bound = np.ceil((mean - bias * std) / self.spec.unit)
        if not np.isfinite(bound).all():
            raise NonFiniteError("bias and running statistics")
        return {"thresholds": np.clip(bound, _INT32.min, _INT32.max).astype(np.int32)}

    def inference_types(self) -> Types:
        """Return the type of the thresholds."""
        return {"thresholds": ((self.spec.channels,), np.dtype(np.int32))}

    def of_reals(self) -> list[Layer]:
        """Return a batch norm with the same arrays, and a sign."""
        norm = BatchNorm(norm=self.norm, fixed=self.fixed)
        norm.bias, norm.running_mean, norm.running_std = self.bias, self.running_mean, self.running_std
        return [norm, Sign(clip=self.clip)]

    def predict(self, step: Step, arrays: Arrays, x: Value) -> Value:
        """Record the comparison, with the product where that can be one."""
        return x.signs(step.constant(arrays["thresholds"], "thresholds"))


@register
class BatchNorm(Normalization):
    """Batch norm without a sign: sums or real values in, float32 out; the published networks end in one.

    Parameters
    ----------
    norm, fixed
        As `BatchNormSign`.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.nn.Model([bl.nn.BinaryLinear(4), bl.nn.BatchNorm()], bl.nn.Spec.bits((8,)))
    >>> model.apply(bl.Bits(bl.pack(np.ones((3, 8))), 8)).shape
    (3, 4)
    """

    kind = "norm"

    def infer(self, spec: Spec) -> Spec:
        """Return real values of the same shape."""
        if spec.kind not in ("sums", "real") or not spec.shape:
            raise ValueError(f"a batch norm must get sums or real values, got {spec}")
        return Spec.real(spec.shape)

    def forward(self, step: Step, x: Value) -> tuple[Value, Any]:
        """Record the statistics of the batch, and the normalised values."""
        out = step.empty("Y", self.output.array_shape(step.batch), np.float32)
        kept, running = [], self._running(step)
        for examples in self._shares(step):
            y = self._rows(step, x, examples)
            way = self._of_reals if self.spec.kind == "real" else self._of_sums
            kept.append(way(step, y, running, out.pixels()[y.span]))
            running = after(kept[-1].moved)
        return Value(step, self.output, out), kept

    def _of_sums(self, step: Step, given: Sums, running: tuple[Array, Array], out: Array) -> Kept:
        """Record normalised sums; return what the backward pass needs."""
        y = given.whole
        found, moved, sums, bounds = self._statistics(step, given, running)
        self._normalize(step, y, found, out)
        signs = y
        if self._keeps_bits:
            signs, unused = (step.empty("X", (len(y), words_for(y.shape[1])), WORD) for _ in range(2))
            step.run("norm_signs", y, bounds, signs, unused)
        return self._kept(step, given, signs, found, moved, sums, bounds)

    def _normalize(self, step: Step, y: Array, found: Array, out: Array) -> None:
        centre = step.empty("factors", found.shape, np.float32)
        step.run("mean_inverse", found, centre)
        step.run("norm_values", y, 1.0, centre, step.constant(self.bias, "beta"), out)

    def _of_reals(self, step: Step, given: Sums, running: tuple[Array, Array], out: Array) -> Kept:
        """Record normalised real values; return what the backward pass needs."""
        y = given.whole
        if self.fixed:
            found = self._fixed_statistics(step)
            self._normalize(step, y, found, out)
            return Kept(y, None, found, found)
        found, moved = real_statistics(step, y, running, MOMENTUM, self._half, self._l1)
        self._normalize(step, y, found, out)
        if not (self._l1 and self.precision.integer):
            return Kept(y, None, found, moved)
        magnitude = step.empty("mu, psi", (y.shape[1],), np.float64)
        absolute_mean(step, out, step.constant(np.zeros(y.shape[1])), self._half, magnitude)
        return Kept(signs_of(step, out), magnitude, found, moved)

    def backward(self, step: Step, cache: Any, grad: Gradient, *, wanted: bool) -> Gradient | None:
        """Record the gradients of the sums and of the bias."""
        return self._backward(step, cache, grad, step.constant(np.empty((0, 1), dtype=WORD)))

    def inference(self) -> Arrays:
        """Return the mean and the inverse deviation, (2, channels), and the bias, float32."""
        inverse = np.zeros_like(self.running_std, dtype=np.float64)
        # A channel that never varies: 0.9 to the power of the steps ends in subnormal numbers, whose inverse is none.
        np.divide(1.0, self.running_std, out=inverse, where=self.running_std >= np.finfo(np.float32).tiny)
        return {"centre": np.stack([self.running_mean, inverse.astype(np.float32)]), "bias": self.bias.copy()}

    def inference_types(self) -> Types:
        """Return the types of the factors and the bias."""
        kind, channels = np.dtype(np.float32), self.spec.channels
        return {"centre": ((2, channels), kind), "bias": ((channels,), kind)}

    def predict(self, step: Step, arrays: Arrays, x: Value) -> Value:
        """Record the normalised values."""
        centre, bias = step.constant(arrays["centre"], "factors"), step.constant(arrays["bias"], "beta")
        out = step.empty("Y", self.output.array_shape(step.batch), np.float32)
        step.run("norm_values", x.array.pixels(), self.spec.unit, centre, bias, out.pixels())
        return Value(step, self.output, out)
