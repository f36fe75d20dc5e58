"""Values in a recorded step: arrays that are formed at once, and those that are formed only if they are needed in full.

A product's sums may be too large to form at once, or never be wanted: a pool needs them a few images at a time, a sign
only their bits. So a product is a value that knows how it is written, and whoever takes it says in which form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from bitlearn.bits import WORD, words_for
from bitlearn.nn.spec import Spec
from bitlearn.program import Array

if TYPE_CHECKING:
    from bitlearn.nn.step import Step

#: Values of a product, or of a gradient, that are formed at a time for a few examples: half of a second-level cache.
BLOCK_VALUES = 2**18

#: ``write(examples, out)`` records the calls that write some examples of a value.
Write = Callable[[slice, Array], None]
T = TypeVar("T")


def in_spans(examples: slice, most: int, each: int) -> list[slice]:
    """Return a range of examples as ranges of at most so many values, of which an example has `each`."""
    count = max(1, min(examples.stop - examples.start, most // max(each, 1)))
    return [slice(start, min(start + count, examples.stop)) for start in range(examples.start, examples.stop, count)]


class Value:
    """A value in the forward pass: the array of a batch, and its type.

    Parameters
    ----------
    step : Step
    spec : Spec
    array : Array
        Of shape ``spec.array_shape(batch)``.
    recompute : callable, optional
        As `Product` takes it.
    """

    #: Returns another `write` for the backward pass.
    recompute: Callable[[], Write] | None = None

    def __init__(self, step: Step, spec: Spec, array: Array, recompute: Callable[[], Write] | None = None):
        self.step, self.spec, self._array = step, spec, array
        self.recompute = _recompute_here(step, recompute)

    @property
    def array(self) -> Array:
        """The whole array."""
        return self._array

    def part(self, examples: slice) -> Array:
        """Return some examples, formed now if they are formed where they are wanted."""
        return self.array[examples]

    def blocks(self, most: int, *, wide: bool = False) -> Iterator[tuple[slice, Array]]:
        """Yield ranges of examples, each with its part of the array.

        `most` limits the values of a block that is formed; `wide` allows int32 for sums that are only compared.
        """
        yield slice(0, self.step.batch), self.array

    def spans(self, most: int) -> list[slice]:
        """Return the ranges of examples that `blocks` yields."""
        return [slice(0, self.step.batch)]

    def signs(self, thresholds: Array) -> Value:
        """Return packed bits ``sums >= thresholds``, in an inference; thresholds (channels,) int32, constant."""
        step, spec = self.step, Spec.bits(self.spec.shape)
        limits = [np.full(spec.channels, limit, dtype=np.int32) for limit in _INT32]
        memory = cast(np.ndarray, thresholds.buffer.memory)
        bounds = step.derived("thresholds", lambda: np.stack([thresholds.outside(), *limits]), memory)
        out = step.empty("X", spec.array_shape(step.batch), WORD)
        for examples, part in self.blocks(BLOCK_VALUES, wide=True):
            rows = part.pixels()
            unused = step.empty("scratch", (rows.shape[0], words_for(spec.channels)), WORD)
            step.run("norm_signs", rows, bounds, out[examples].pixels(), unused)
        return Value(step, spec, out)


def _here(step: Step, write: Callable[..., T]) -> Callable[..., T]:
    """Return `write` so that its calls count to the layer that is being recorded now, whoever asks for them later."""
    path = step.path

    def later(*arguments: Any) -> T:
        with step.at(path):
            return write(*arguments)

    return later


def _recompute_here(step: Step, recompute: Callable[[], Write] | None) -> Callable[[], Write] | None:
    """Return `recompute` so that its calls, and those of what it returns, count to the layer that is recorded now."""
    return recompute and _here(step, lambda: _here(step, recompute()))


class Product(Value):
    """Sums that are formed where they are wanted.

    Parameters
    ----------
    step : Step
    spec : Spec
    write : callable
        ``write(examples, out)`` records what writes the sums of some examples.
    write_signs : callable, optional
        ``write_signs(thresholds, out)`` records what writes ``sums >= thresholds`` of all examples in one call.
    most : int
        Values of a block at most, whoever asks for more: where the sums are more than all else in a step.
    recompute : callable, optional
        Returns another `write` for the backward pass, where what the product takes is still as it was: its input, and
        the packed weights.
    """

    def __init__(
        self,
        step: Step,
        spec: Spec,
        write: Write,
        write_signs: Callable[[Array, Array], None] | None = None,
        most: int = BLOCK_VALUES,
        recompute: Callable[[], Write] | None = None,
    ):
        self.step, self.spec, self._write, self._most = step, spec, _here(step, write), most
        self.recompute = _recompute_here(step, recompute)
        self._write_signs = None if write_signs is None else _here(step, write_signs)
        self._whole: Array | None = None

    @property
    def array(self) -> Array:
        """The whole array, formed now."""
        if self._whole is None:
            self._whole = self.step.empty("Y", self.spec.array_shape(self.step.batch), self.spec.dtype)
            self._write(slice(0, self.step.batch), self._whole)
        return self._whole

    def part(self, examples: slice) -> Array:
        """Return some examples, formed now."""
        out = self.step.empty("Y", self.spec.array_shape(examples.stop - examples.start), self.spec.dtype)
        self._write(examples, out)
        return out

    def blocks(self, most: int, *, wide: bool = False) -> Iterator[tuple[slice, Array]]:
        """Yield ranges of examples, formed one after the other in the same memory."""
        spans = self.spans(most)
        # What products form is int32: to make it narrower is a pass of its own.
        room = self.step.empty("Y", self.spec.array_shape(spans[0].stop), np.int32 if wide else self.spec.dtype)
        for examples in spans:
            part = room[: examples.stop - examples.start]
            self._write(examples, part)
            yield examples, part

    def spans(self, most: int) -> list[slice]:
        """Return the ranges of examples that `blocks` yields."""
        every = slice(0, self.step.batch)
        return in_spans(every, min(most, self._most), self.spec.size) or [every]

    def signs(self, thresholds: Array) -> Value:
        """Return packed bits ``sums >= thresholds``, with no sums in between where a kernel does that."""
        if self._write_signs is None:
            return super().signs(thresholds)
        spec = Spec.bits(self.spec.shape)
        out = self.step.empty("X", spec.array_shape(self.step.batch), WORD)
        self._write_signs(thresholds, out)
        return Value(self.step, spec, out)


class Gradient:
    """A gradient in the backward pass: integer codes and their unit, or float32.

    Parameters
    ----------
    step : Step
    values : Array
        int8, int16 or float32, of the shape of the values that it is the gradient of.
    scale : Array or None
        float64, one (1,) or one per index of `axis`; None for float32.
    """

    def __init__(self, step: Step, values: Array, scale: Array | None):
        self.step, self._values, self._scale = step, values, scale
        self.shape, self.dtype = values.shape, values.dtype

    @property
    def values(self) -> Array:
        """The whole array."""
        return self._values

    @property
    def scale(self) -> Array:
        """The unit of the values; 1 for float32."""
        return self.step.constant(_ONE) if self._scale is None else self._scale

    @property
    def is_real(self) -> bool:
        """Whether it is float32."""
        return self._scale is None

    def blocks(self, examples: slice, most: int, *, cut: bool = False) -> Iterator[tuple[slice, Array]]:
        """Yield ranges of some examples, each with its part.

        `most` limits the values of a block that is formed, and with `cut` those of any.
        """
        for some in self.spans(examples, most, cut=cut):
            yield some, self.values[some]

    @property
    def formed(self) -> bool:
        """Whether it is formed where it is wanted, and not kept."""
        return False

    def spans(self, examples: slice, most: int, *, cut: bool = False) -> list[slice]:
        """Return the ranges of examples that `blocks` yields."""
        return in_spans(examples, most, int(np.prod(self.shape[1:]))) if cut else [examples]

    def changed(self, change: Write, scale: Array | None = None) -> Gradient:
        """Return it with its values changed in place, which ``change(examples, values)`` records."""
        values = self.values
        change(slice(0, self.shape[0]), values)
        return self.with_values(values, scale)

    def kept(self) -> Gradient:
        """Return it whole, in memory."""
        return self

    def reshaped(self, *shape: int) -> Gradient:
        """Return it in another shape."""
        return Gradient(self.step, self.values.reshape(*shape), self._scale)

    def with_values(self, values: Array, scale: Array | None = None) -> Gradient:
        """Return another gradient of the same kind."""
        return Gradient(self.step, values, None if self.is_real else scale or self._scale)


class FormedGradient(Gradient):
    """A gradient that is formed where it is wanted, whole or a few examples: it is large, and need not be kept.

    Parameters
    ----------
    step : Step
    shape : tuple of int
        Of the values that it is the gradient of.
    dtype : dtype
    scale : Array or None
        What one of the values is worth; None for float32.
    write : callable
        ``write(examples, out)`` records what writes some examples, each time the same.
    held : Array, optional
        The first examples, where these are kept: `write` is for the others.
    """

    def __init__(
        self,
        step: Step,
        shape: tuple[int, ...],
        dtype: np.dtype,
        scale: Array | None,
        write: Write,
        held: Array | None = None,
    ):
        self.step, self.shape, self.dtype, self._scale, self._held = step, shape, dtype, scale, held
        self._form = _here(step, write)

    def _cut(self, examples: slice) -> tuple[slice, slice]:
        """Return which of some examples are kept, and which are not."""
        count = 0 if self._held is None else len(self._held)
        at = min(max(count, examples.start), examples.stop)
        return slice(examples.start, at), slice(at, examples.stop)

    def write(self, examples: slice, out: Array) -> None:
        """Record what writes some examples."""
        kept, rest = self._cut(examples)
        at = kept.stop - kept.start
        if self._held is not None and at:
            self.step.run("copy", self._held[kept].rows(), out[:at].rows())
        if rest.stop > rest.start:
            self._form(rest, out[at:])

    @property
    def values(self) -> Array:
        """The whole array, formed at each look: it is not to live from one product to the next."""
        out = self.step.empty("dX", self.shape, self.dtype)
        self.write(slice(0, self.shape[0]), out)
        return out

    @property
    def formed(self) -> bool:
        """Whether it is formed where it is wanted, and not kept."""
        return True

    def _formed(self, examples: slice, most: int) -> list[slice]:
        return in_spans(examples, most, int(np.prod(self.shape[1:])))

    def _kept(self, examples: slice, most: int, cut: bool) -> list[slice]:
        if examples.start == examples.stop:
            return []
        return self._formed(examples, most) if cut else [examples]

    def spans(self, examples: slice, most: int, *, cut: bool = False) -> list[slice]:
        """Return the ranges of examples that `blocks` yields."""
        kept, rest = self._cut(examples)
        return self._kept(kept, most, cut) + self._formed(rest, most)

    def blocks(self, examples: slice, most: int, *, cut: bool = False) -> Iterator[tuple[slice, Array]]:
        """Yield ranges of some examples: those that are kept, and others formed one after the other in one memory."""
        kept, rest = self._cut(examples)
        for some in self._kept(kept, most, cut):
            assert self._held is not None
            yield some, self._held[some]
        spans = self._formed(rest, most)
        room = self.step.empty("dX", (spans[0].stop - spans[0].start if spans else 1, *self.shape[1:]), self.dtype)
        for some in spans:
            part = room[: some.stop - some.start]
            self._form(some, part)
            yield some, part

    def changed(self, change: Write, scale: Array | None = None) -> Gradient:
        """Return it with its values changed: in place what is kept, and the others wherever they are formed."""
        change = _here(self.step, change)
        if self._held is not None:
            change(slice(0, len(self._held)), self._held)

        def write(some: slice, out: Array) -> None:
            self._form(some, out)
            change(some, out)

        return FormedGradient(self.step, self.shape, self.dtype, scale or self._scale, write, self._held)

    def kept(self) -> Gradient:
        """Return it whole, in memory."""
        return Gradient(self.step, self.values, self._scale)


_ONE = np.ones(1)
#: Bounds that every sum keeps to.
_INT32 = (np.iinfo(np.int32).min, np.iinfo(np.int32).max)
