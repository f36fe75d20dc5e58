"""What the two batch norms share: statistics, exact where sums are integers, and their gradients."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from bitlearn.bits import WORD, words_for
from bitlearn.nn.gradients import groups_of
from bitlearn.nn.layer import Arrays, Layer, Narrowed
from bitlearn.nn.norm_gradients import (
    Normalized,
    RecomputedRows,
    Rows,
    in_groups,
    is_recomputed,
    norm_gradient,
    norm_pieces,
)
from bitlearn.nn.real_norm import centred_signs
from bitlearn.nn.step import ParameterGradient, Step
from bitlearn.nn.value import Gradient, Value
from bitlearn.ops import check
from bitlearn.precision import NORMS
from bitlearn.program import Array
from bitlearn.safetensors import Types

#: Running statistics keep this share at each step.
MOMENTUM = 0.9


class Sums:
    """What flows into a batch norm, as rows of channels: whole, or formed again in each pass, a few examples at a time.

    Parameters
    ----------
    x : Value
    examples : slice
        Those of which the batch norm has statistics. If they are not the whole batch, they are formed once, together.
    kept : bool
        Whether the batch is whole in any case.
    """

    def __init__(self, x: Value, examples: slice, kept: bool):
        step, size = x.step, math.prod(x.spec.shape)
        self.x, self.channels, self._examples = x, x.spec.channels, examples
        alone = examples.stop - examples.start < step.batch and not kept
        self._own = x.part(examples) if alone else None
        self.whole_wanted = alone or kept or step.savings.keeps(step.batch * size * x.spec.dtype.itemsize)
        spans = [examples] if self.whole_wanted else x.spans(step.savings.block)
        each, at = size // max(self.channels, 1), 0
        self._pieces: list[tuple[slice, slice]] = []
        for some in spans:
            rows = slice(some.start * each, some.stop * each)
            groups = groups_of(rows.stop - rows.start)
            self._pieces.append((rows, slice(at, at + groups)))
            at += groups
        self.span, self.groups = slice(examples.start * each, examples.stop * each), at
        self.rows = self.span.stop - self.span.start

    @property
    def _array(self) -> Array:
        return self.x.array[self._examples] if self._own is None else self._own

    @property
    def whole(self) -> Array:
        """All of it, (rows, channels)."""
        return self._array.pixels()

    def recomputed(self) -> RecomputedRows:
        """Return the same rows, to be formed again in the backward pass."""
        assert self.x.recompute is not None
        return RecomputedRows(self.x.step, self.x.spec, self.x.recompute, self._examples)

    def parts(self) -> Iterator[tuple[slice, slice, Array]]:
        """Yield rows, the groups that they are cut into, and their part: (groups, rows of a group, channels)."""
        found = [self._array] if self.whole_wanted else (part for _, part in self.x.blocks(self.x.step.savings.block))
        for (rows, groups), part in zip(self._pieces, found, strict=True):
            count = groups.stop - groups.start
            yield rows, groups, part.reshape(count, (rows.stop - rows.start) // count, self.channels)


class Kept(NamedTuple):
    """What the backward pass needs of examples that have statistics of their own.

    Parameters
    ----------
    x : Rows
        The sums or real values, or packed signs of them, by channels.
    magnitude : Array or None
        Where the signs stand for the values: their mean magnitude (channels,).
    statistics : Array
        Mean and deviation (2, channels), float64.
    moved : Array
        The running statistics after these examples (2, channels).
    """

    x: Rows
    magnitude: Array | None
    statistics: Array
    moved: Array


class Normalization(Layer):
    """What the two batch norms share: a bias for each channel, running statistics, and no gain.

    A gain (gamma) does nothing before a sign, and the published networks have none.
    """

    #: Up to which magnitude of a value a sign passes a gradient; without a sign any will do.
    clip = 1.0

    def __init__(self, *, norm: str | None = None, fixed: bool = False):
        if norm is not None:
            check.choice("norm", norm, NORMS)
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
        return (self.norm or self.precision.norm) != "l2"

    @property
    def _half(self) -> bool:
        return self.precision.statistics == np.float16

    def _running(self, step: Step) -> tuple[Array, Array]:
        name = "running statistics"
        return step.constant(self.running_mean, name), step.constant(self.running_std, name)

    def _shares(self, step: Step) -> list[slice]:
        """Return the ranges of examples that have statistics of their own."""
        return [slice(0, step.batch)] if self.fixed else step.micro_batches

    def _statistics(self, step: Step, y: Sums, running: tuple[Array, Array]) -> tuple[Array, Array, Array, Array]:
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
            above = self._sums_above(step, y, bound)
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
            *running,
            *outputs,
            check=finite,
            what="the running statistics",
        )
        return found, moved, sums, self._bounds(step, found)

    def _fixed_statistics(self, step: Step) -> Array:
        """Record the running statistics as those of a batch: they are read again in each step."""
        found, unit = step.empty("mu, psi", (2, self.spec.channels), np.float64), self.spec.unit

        def write(mean: np.ndarray, std: np.ndarray, out: np.ndarray) -> None:
            np.divide(mean, unit, out=out[0])
            np.divide(std, unit, out=out[1])

        step.run(write, *self._running(step), found)
        return found

    def _bounds(self, step: Step, found: Array) -> Array:
        """Record the integers that sums are compared with, for the sign and for where its gradient passes."""
        bounds, finite = step.empty("bounds", (3, found.shape[1]), np.int32), step.finite()
        given = found, step.constant(self.bias, "beta"), self.clip
        step.run("norm_bounds", *given, bounds, finite, check=finite, what="bias and statistics")
        return bounds

    @staticmethod
    def _sums_above(step: Step, y: Sums, bound: Array) -> Array:
        """Record the sums and counts of what is above a bound of each channel."""
        above = step.empty("sums", (y.groups, 2, y.channels), np.int64)
        for _, at, part in y.parts():
            step.run("channel_sums_above", part, bound, above[at])
        step.over_batch("sum", above)
        return above

    def _magnitude(self, step: Step, y: Sums, found: Array, sums: Array, bounds: Array) -> Array:
        """Record the mean magnitude (channels,), which stands in for that of each value after a mean deviation."""
        above = self._sums_above(step, y, bounds[:1].reshape(-1))
        magnitude = step.empty("mu, psi", (y.channels,), np.float64)
        bias = step.constant(self.bias, "beta")
        step.run("mean_magnitude", sums, above, step.of_all(y.rows), found, bias, self._half, magnitude)
        return magnitude

    def _recomputes(self, step: Step, x: Value) -> bool:
        """Whether sums that the backward pass needs are formed again there.

        Not float gradients: in how many pieces their sums are added up would show in the last bits.
        """
        wanted = (step.savings.recompute or self.precision.recompute) and self.precision.integer
        return wanted and x.recompute is not None and not self.fixed and not self._keeps_bits

    @property
    def _keeps_bits(self) -> bool:
        """Whether the backward pass needs a bit of each of the sums, or none, and not the sums.

        Of float gradients it is exact after either deviation, unless "l1" is what the policy itself says.
        """
        return self.fixed or (self._l1 and (self.precision.integer or self.precision.norm != "l2"))

    def _kept(self, step: Step, y: Sums, signs: Array, found: Array, moved: Array, sums: Array, bounds: Array) -> Kept:
        """Return what the backward pass needs: the sums, or after a mean deviation in integers one bit per value.

        Nothing but the mask where statistics are fixed; the signs stand in for what the kernels need an array of.
        """
        if self.fixed:
            return Kept(signs, None, found, moved)
        if self._keeps_bits:
            return Kept(signs, self._magnitude(step, y, found, sums, bounds), found, moved)
        return Kept(y.recomputed() if self._recomputes(step, y.x) else y.whole, None, found, moved)

    def _backward(self, step: Step, kept: list[Kept], grad: Gradient, mask: Array) -> Gradient:
        """Record the gradients of the sums and of the bias, from that of normalised values where `mask` passes it."""
        if grad.is_real or step.savings.keeps(math.prod(grad.shape) * grad.dtype.itemsize):
            grad = grad.kept()
        kept = [each._replace(x=each.x.once(grad)) if is_recomputed(each.x) else each for each in kept]
        channels, shares, of_reals = grad.shape[-1], self._shares(step), kept[0].x.dtype == np.float32
        cut = any(is_recomputed(each.x) for each in kept)
        pieces, groups = norm_pieces(grad, shares, cut=cut)
        sums = step.empty("sums", (groups, 2, channels), np.float64 if grad.is_real or of_reals else np.int64)
        normalized: list[Normalized] = []
        for examples, given, found in zip(shares, kept, pieces, strict=True):
            blocks = grad.blocks(examples, step.savings.block, cut=cut)
            for (some, at), (_, part) in zip(found, blocks, strict=True):
                d, passed, values = in_groups(part, mask, given.x, some, at.stop - at.start, examples.start)
                if of_reals:
                    step.run("real_sums", d, values, sums[at])
                else:
                    step.run("gradient_sums", d, passed, values, sums[at])
            if examples is shares[-1]:
                step.over_batch("sum", sums)
            own = sums[found[0][1].start : found[-1][1].stop]
            normalized.append((examples, *self._factors(step, given, own)))
        bias = step.empty("dbeta", (channels,), np.float32)
        step.run("bias_gradient", sums, grad.scale, bias)
        result = norm_gradient(step, grad, mask, normalized, self.precision.gradient_bits)
        moved = kept[-1].moved
        for row, running in enumerate(() if self.fixed else (self.running_mean, self.running_std)):
            step.commit("copy", moved[row : row + 1], step.constant(running).reshape(1, channels))
        step.gradient("bias", ParameterGradient(bias.reshape(*self.bias.shape), whole=True))
        return result

    def _factors(self, step: Step, kept: Kept, sums: Array) -> tuple[Rows, Array]:
        """Record the factors of a batch norm's gradient, from sums of it; return the values they go with, and them."""
        x, magnitude, found, _ = kept
        factors, rows = step.empty("factors", (3, sums.shape[2]), np.float32), step.of_all(len(x))
        if self.fixed:
            step.run(_scale_alone, found, self.spec.unit, factors)
        elif magnitude is not None:
            step.run("l1_factors", sums, magnitude, found, rows, self.spec.unit, factors)
        elif self._l1:
            assert isinstance(x, Array)  # with integers bits are kept
            x = self._exact_signs(step, x, found, sums, factors, rows)
        else:
            step.run("l2_factors", sums, found, rows, self.spec.unit, factors)
        return x, factors

    def _exact_signs(self, step: Step, y: Array, found: Array, sums: Array, factors: Array, rows: int) -> Array:
        """Record the exact factors after a mean deviation; return the signs of the sums less their mean."""
        if y.dtype == np.float32:
            signs, above = centred_signs(step, y, found)
            step.run("l1_exact_factors", sums, above, found, rows, self.spec.unit, factors)
            return signs
        channels, words = y.shape[1], words_for(y.shape[1])
        bounds, finite = step.empty("bounds", (3, channels), np.int32), step.finite()
        step.run("norm_bounds", found, step.constant(np.zeros(channels, np.float32)), 1.0, bounds, finite)
        signs, unused = (step.empty("scratch", (len(y), words), WORD) for _ in range(2))
        step.run("norm_signs", y, bounds, signs, unused)
        above = step.empty("sums", (1, 2, channels), np.int64)
        step.run("channel_sums_above", y.reshape(1, *y.shape), bounds[:1].reshape(-1), above)
        step.over_batch("sum", above)
        step.run("l1_exact_factors", sums, above, found, rows, self.spec.unit, factors)
        return signs

    def _rows(self, step: Step, x: Value, examples: slice, *, kept: bool = True) -> Sums:
        """Return what flows in of some examples, as rows of channels; a single row has no deviation."""
        y = Sums(x, examples, kept)
        if step.of_all(y.rows) < 2 and not self.fixed:
            raise ValueError(f"a batch norm must get at least 2 values per channel in training, got {y.rows}")
        return y

    def operations(self) -> tuple[int, int]:
        """Return the multiply-adds of an example: one per value."""
        return 0, self.spec.size


def _scale_alone(found: np.ndarray, unit: float, factors: np.ndarray) -> None:
    """Write what `norm_gradient` takes where neither mean nor deviation depends on the values: 1 / std."""
    std = found[1] * unit
    factors[:2] = 0
    factors[2] = np.divide(1.0, std, out=np.zeros_like(std), where=std >= np.finfo(np.float32).tiny)


def after(moved: Array) -> tuple[Array, Array]:
    """Return the running mean and deviation that the next micro-batch moves on."""
    return moved[:1].reshape(-1), moved[1:].reshape(-1)


def _nothing(channels: int) -> np.ndarray:
    return np.empty((0, 2, channels), dtype=np.int64)
