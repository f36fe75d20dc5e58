"""Batch norm over channels: followed by a sign, giving packed bits, or on its own, giving float32.

Of real values the statistics are those of `real_norm`. Sums are integers, so their statistics are exact, and
normalising and taking the sign is one comparison. With ``t = mean - bias * std``, ``x = (y - mean) / std + bias >= 0``
is ``y >= ceil(t)`` for an integer ``y``, and ``|x| <= 1`` and the mean of ``|x|`` follow from sums of integers too. So
the order of a reduction cannot show, and no float is kept for an activation.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bitlearn.bits import WORD, words_for
from bitlearn.errors import NonFiniteError
from bitlearn.nn.gradients import in_groups, norm_gradient, norm_pieces
from bitlearn.nn.layer import Arrays, Layer, Narrowed, register
from bitlearn.nn.norm_sums import Sums, exact_signs
from bitlearn.nn.real_norm import absolute_mean, real_statistics, signs_of
from bitlearn.nn.sign import Sign
from bitlearn.nn.spec import Spec
from bitlearn.nn.step import ParameterGradient, Step
from bitlearn.nn.value import Gradient, Value
from bitlearn.ops import check
from bitlearn.program import Array
from bitlearn.safetensors import Types

#: Running statistics keep this share at each step.
MOMENTUM = 0.9
_INT32 = np.iinfo(np.int32)


class Normalization(Layer):
    """What the two batch norms share: a bias for each channel, running statistics, and no gain.

    A gain (gamma) does nothing before a sign, and the published networks have none.
    """

    def __init__(self, *, norm: str | None = None, fixed: bool = False):
        if norm is not None:
            check.choice("norm", norm, ("l1", "l2"))
        self.norm, self.fixed = norm, bool(fixed)

    @property
    def settled(self) -> bool:
        """Whether the running statistics stay as they are."""
        return self.fixed

    def fix(self) -> None:
        """Normalise by the running statistics in training too, which stay as they are from now on."""
        self.fixed = True

    def build(self, seed: int) -> None:
        """Begin with no bias, a mean of 0 and a deviation of 1."""
        channels = self.spec.channels
        self.bias = np.zeros(channels, dtype=np.float32)
        self.running_mean = np.zeros(channels, dtype=np.float32)
        self.running_std = np.ones(channels, dtype=np.float32)

    def parameters(self) -> Arrays:
        """Return the bias, shape (channels,)."""
        return {"bias": self.bias}

    def statistics(self) -> Arrays:
        """Return the running mean and deviation, float32 (channels,), in units of the real input."""
        return {"running_mean": self.running_mean, "running_std": self.running_std}

    def state_types(self) -> Types:
        """Return the types of bias and running statistics."""
        return dict.fromkeys(("bias", "running_mean", "running_std"), ((self.spec.channels,), np.dtype(np.float32)))

    def check(self, arrays: Arrays) -> None:
        """Check numbers, and that no deviation is negative."""
        super().check(arrays)
        if "running_std" in arrays and (arrays["running_std"] < 0).any():
            raise ValueError(f"running_std must be at least 0, got {arrays['running_std'].min()}")

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"norm": self.norm} | ({"fixed": True} if self.fixed else {})

    def narrowed(self, inputs: np.ndarray | None, outputs: np.ndarray | None) -> Narrowed:
        """Return the same of some channels."""
        return self._narrowed_alike(inputs)

    @property
    def _l1(self) -> bool:
        return (self.norm or self.precision.norm) == "l1"

    @property
    def _half(self) -> bool:
        return self.precision.statistics == np.float16

    def _running(self, step: Step) -> tuple[Array, Array]:
        name = "running statistics"
        return step.constant(self.running_mean, name), step.constant(self.running_std, name)

    def _statistics(self, step: Step, y: Sums) -> tuple[Array, Array, Array, Array]:
        """Record the statistics of sums: the batch's, the running ones after it, the sums of each channel, bounds.

        Of fixed ones these are the running ones, in units of the sums; nothing moves, and no sums are made.
        """
        if self.fixed:
            found = self._fixed_statistics(step)
            return found, found, found, self._bounds(step, found)
        rows, channels, name = step.of_all(y.rows), y.channels, "mu, psi"
        sums = step.empty("sums", (y.groups, 2, channels), np.int64)
        for _, at, part in y.parts():
            step.run("channel_sums", part, sums[at])
        step.over_batch("sum", sums)
        if self._l1:
            bound = step.empty("bounds", (channels,), np.int32)
            step.run("mean_bounds", sums, rows, bound)
            above = y.above(step, bound)
        else:
            above = step.constant(_nothing(channels))
        found, moved = step.empty(name, (2, channels), np.float64), step.empty(name, (2, channels), np.float32)
        finite = step.finite()
        options = (rows, self.spec.unit, MOMENTUM, self._half)
        outputs = (found, moved, finite)
        step.run(
            "batch_statistics",
            sums,
            above,
            *options,
            *self._running(step),
            *outputs,
            check=finite,
            what="the running statistics",
        )
        return found, moved, sums, self._bounds(step, found)

    def _fixed_statistics(self, step: Step) -> Array:
        """Record the running statistics as those of a batch: they are read anew in each step."""
        found, unit = step.empty("mu, psi", (2, self.spec.channels), np.float64), self.spec.unit

        def write(mean: np.ndarray, std: np.ndarray, out: np.ndarray) -> None:
            np.divide(mean, unit, out=out[0])
            np.divide(std, unit, out=out[1])

        step.run(write, *self._running(step), found)
        return found

    def _bounds(self, step: Step, found: Array) -> Array:
        """Record the integers that sums are compared with, for the sign and for where its gradient passes."""
        bounds, finite = step.empty("bounds", (3, found.shape[1]), np.int32), step.finite()
        bias = step.constant(self.bias, "beta")
        step.run("norm_bounds", found, bias, bounds, finite, check=finite, what="bias and statistics")
        return bounds

    def _magnitude(self, step: Step, y: Sums, found: Array, sums: Array, bounds: Array) -> Array:
        """Record the mean magnitude of the normalised values, for the gradient behind a mean deviation."""
        above = y.above(step, bounds[:1].reshape(-1))
        magnitude = step.empty("mu, psi", (y.channels,), np.float64)
        bias = step.constant(self.bias, "beta")
        step.run("mean_magnitude", sums, above, step.of_all(y.rows), found, bias, self._half, magnitude)
        return magnitude

    @property
    def _keeps_bits(self) -> bool:
        """Whether the backward pass needs a bit of each of the sums, or none, and not the sums."""
        return self.fixed or (self._l1 and self.precision.integer)

    def _kept(self, step: Step, y: Sums, signs: Array, found: Array, moved: Array, sums: Array, bounds: Array) -> tuple:
        """Return what the backward pass needs: the sums, or of an "l1" norm under an integer policy one bit a value.

        Nothing but the mask where statistics are fixed; the signs stand in for what the kernels want an array of.
        """
        if self.fixed:
            return signs, None, found, moved
        if self._keeps_bits:
            return signs, self._magnitude(step, y, found, sums, bounds), found, moved
        return y.whole, None, found, moved

    def _backward(self, step: Step, kept: tuple, grad: Gradient, mask: Array) -> Gradient:
        """Record the gradients of the sums and of the bias, from that of normalised values where `mask` passes it."""
        x, magnitude, found, moved = kept
        if grad.is_real or step.savings.keeps(math.prod(grad.shape) * grad.dtype.itemsize):
            grad = grad.kept()
        channels, unit, pieces = grad.shape[-1], self.spec.unit, norm_pieces(grad)
        rows, groups, of_reals = len(x), pieces[-1][1].stop, x.dtype == np.float32
        sums = step.empty("sums", (groups, 2, channels), np.float64 if grad.is_real or of_reals else np.int64)
        factors, bias = step.empty("factors", (3, channels), np.float32), step.empty("dbeta", (channels,), np.float32)
        for (some, at), (_, part) in zip(pieces, grad.blocks(slice(0, step.batch), step.savings.block), strict=True):
            d, passed, values = in_groups(part, mask, x, some, at.stop - at.start)
            if of_reals:
                step.run("real_sums", d, values, sums[at])
            else:
                step.run("gradient_sums", d, passed, values, sums[at])
        step.over_batch("sum", sums)
        rows = step.of_all(rows)
        step.run("bias_gradient", sums, grad.scale, bias)
        if self.fixed:
            step.run(_scale_alone, found, unit, factors)
        elif magnitude is not None:
            step.run("l1_factors", sums, magnitude, found, rows, unit, factors)
        elif self._l1:
            x = exact_signs(step, self.spec.unit, x, found, sums, factors, rows)
        else:
            step.run("l2_factors", sums, found, rows, unit, factors)
        result = norm_gradient(step, grad, mask, x, factors, self.precision.gradient_bits)
        for row, running in enumerate(() if self.fixed else (self.running_mean, self.running_std)):
            step.commit("copy", moved[row : row + 1], step.constant(running).reshape(1, channels))
        step.gradient("bias", ParameterGradient(bias.reshape(*self.bias.shape), whole=True))
        return result

    def _rows(self, step: Step, x: Value, *, kept: bool = True) -> Sums:
        """Return what flows in, as rows of channels; a single row has no deviation."""
        y = Sums(x, kept)
        if step.of_all(y.rows) < 2 and not self.fixed:
            raise ValueError(f"a batch norm must get at least 2 values a channel in training, got {y.rows}")
        return y

    def operations(self) -> tuple[int, int]:
        """Return the multiply-adds of an example: one a value."""
        return 0, self.spec.size


def _scale_alone(found: np.ndarray, unit: float, factors: np.ndarray) -> None:
    """Write what `norm_gradient` takes where neither mean nor deviation depends on the values: 1 / std."""
    std = found[1] * unit
    factors[:2] = 0
    factors[2] = np.divide(1.0, std, out=np.zeros_like(std), where=std >= np.finfo(np.float32).tiny)


def _nothing(channels: int) -> np.ndarray:
    return np.empty((0, 2, channels), dtype=np.int64)


@register
class BatchNormSign(Normalization):
    """Batch norm and sign in one: sums in, packed ±1 bits out.

    Parameters
    ----------
    norm : {"l1", "l2"}, optional
        Divide by the mean absolute deviation or by the standard deviation; by default as the policy says.
    fixed : bool
        Normalise by the running statistics in training too, which then stay as they are: what is left is a constant
        factor and a bias for each channel, as of a batch norm that is folded into its layer.

    Notes
    -----
    ``sign((y - mean) / std + bias)`` with sign(0) = +1; the gradient of the sign is cut off where its argument exceeds
    1 in magnitude (straight-through estimator). Normalising is a comparison with one integer a channel. Under "l1" and
    an integer policy what is kept is two bits a value (sign and mask), the deviation and the mean magnitude (arXiv
    2102.04270); else the sums and a bit. In inference the running statistics take the batch's place:
    ``0.9 * running + 0.1 * batch`` after each step.

    Examples
    --------
    >>> import bitlearn as bl
    >>> model = bl.nn.Model([bl.nn.BinaryLinear(4), bl.nn.BatchNormSign()], bl.nn.Spec.bits((8,)))
    >>> model.output_shape, model["sign1"].bias
    ((4,), array([0., 0., 0., 0.], dtype=float32))
    """

    kind = "sign"

    def infer(self, spec: Spec) -> Spec:
        """Return bits of the same shape."""
        if spec.kind != "sums" or not spec.shape:
            raise ValueError(f"a batch norm with a sign must get sums, got {spec}")
        return Spec.bits(spec.shape)

    def forward(self, step: Step, x: Value) -> tuple[Value, Any]:
        """Record the statistics of the batch, and the signs."""
        y = self._rows(step, x, kept=not self._keeps_bits)
        found, moved, sums, bounds = self._statistics(step, y)
        out = step.empty("X", self.output.array_shape(step.batch), WORD)
        mask = step.empty("STE mask", out.pixels().shape, WORD)
        for rows, _, part in y.parts():
            step.run("norm_signs", part.pixels(), bounds, out.pixels()[rows], mask[rows])
        return Value(step, self.output, out), (self._kept(step, y, out.pixels(), found, moved, sums, bounds), mask)

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
        return [norm, Sign()]

    def predict(self, step: Step, arrays: Arrays, x: Value) -> Value:
        """Record the comparison, with the product where that can be one."""
        return x.signs(step.constant(arrays["thresholds"], "thresholds"))


@register
class BatchNorm(Normalization):
    """Batch norm alone: sums or real values in, float32 out. The published networks end in one, before the softmax.

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

    def _values(self, step: Step, y: Array, unit: float, centre: Array, bias: Array) -> Value:
        out = step.empty("Y", self.output.array_shape(step.batch), np.float32)
        step.run("norm_values", y, unit, centre, bias, out.pixels())
        return Value(step, self.output, out)

    def forward(self, step: Step, x: Value) -> tuple[Value, Any]:
        """Record the statistics of the batch, and the normalised values."""
        given = self._rows(step, x)
        y = given.whole
        if self.spec.kind == "real":
            return self._forward_of_reals(step, y)
        found, moved, sums, bounds = self._statistics(step, given)
        result, signs = self._normalized(step, y, found), y
        if self._keeps_bits:
            signs, unused = (step.empty("X", (len(y), words_for(y.shape[1])), WORD) for _ in range(2))
            step.run("norm_signs", y, bounds, signs, unused)
        return result, self._kept(step, given, signs, found, moved, sums, bounds)

    def _normalized(self, step: Step, y: Array, found: Array) -> Value:
        centre = step.empty("factors", found.shape, np.float32)
        step.run("mean_inverse", found, centre)
        return self._values(step, y, 1.0, centre, step.constant(self.bias, "beta"))

    def _forward_of_reals(self, step: Step, y: Array) -> tuple[Value, Any]:
        if self.fixed:
            found = self._fixed_statistics(step)
            return self._normalized(step, y, found), (y, None, found, found)
        found, moved = real_statistics(step, y, self._running(step), MOMENTUM, self._half, self._l1)
        result = self._normalized(step, y, found)
        if not (self._l1 and self.precision.integer):
            return result, (y, None, found, moved)
        x, magnitude = result.array.pixels(), step.empty("mu, psi", (y.shape[1],), np.float64)
        absolute_mean(step, x, step.constant(np.zeros(y.shape[1])), self._half, magnitude)
        return result, (signs_of(step, x), magnitude, found, moved)

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
        return self._values(step, x.array.pixels(), self.spec.unit, centre, bias)
