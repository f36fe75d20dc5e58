"""Gradients between the layers in a policy's form: quantized, narrowed for a product, and made of its exact sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bitlearn.nn.step import Step
from bitlearn.nn.value import FormedGradient, Gradient
from bitlearn.precision import Precision, Quantization
from bitlearn.program import Array
from bitlearn.threads import get_num_threads

#: Into how many parts of a batch at least sums are formed that are quantized row by row.
_PARTS = 4


def code_type(bits: int) -> np.dtype:
    """Return the type of codes of so many bits."""
    return np.dtype(np.int8 if bits <= 8 else np.int16)


def sums_type(values: np.dtype) -> np.dtype:
    """Return the type of the sums of a gradient's values: exact ones of its integers."""
    if values.kind == "f":
        return np.dtype(np.float32)
    return np.dtype(np.int32 if values.itemsize == 1 else np.int64)


def largest_code(bits: int) -> int:
    """Return the largest code of so many bits, of a symmetric scale."""
    return 2 ** (bits - 1) - 1


def quantized(
    step: Step, real: Array, bits: int, what: str = "the gradient", *, name: str = "dX", batch: bool = True
) -> Gradient:
    """Return float32 values as codes with one scale: the largest magnitude gets the largest code.

    Parameters
    ----------
    step : Step
    real : Array of float32, shape (rows, ...)
    bits : int
        8 or fewer give int8 codes, more give int16.
    what : str
        The name of the values in an error if one of them is NaN or infinite.
    name : str
        The name of the codes in a memory table.
    batch : bool
        Whether the rows belong to a batch; those of weights are the same in every part of one.

    Returns
    -------
    Gradient
    """
    peaks, scale, finite = step.empty("scales", (len(real),), np.float64), scale_of(step), step.finite()
    codes = step.empty(name, real.shape, code_type(bits))
    step.run("peaks", real.rows(), peaks)
    if batch:
        step.over_batch("largest", peaks)
    step.run("quantize_step", peaks, largest_code(bits), scale, finite, check=finite, what=what)
    step.run("quantize", real.rows(), scale, largest_code(bits), codes.rows())
    return Gradient(step, codes, scale)


def scale_of(step: Step, count: int = 1) -> Array:
    """Return room for scales."""
    return step.empty("scales", (count,), np.float64)


def weight_operand(grad: Gradient, precision: Precision, stream: int) -> Gradient:
    """Return a gradient (..., channels) as the product that gives the weight's gradient takes it."""
    return _narrowed(grad, precision, precision.weight_gradient, "channel", stream)


def input_operand(grad: Gradient, precision: Precision, stream: int) -> Gradient:
    """Return a gradient (rows, ...) as the product that gives the input's gradient takes it."""
    return _narrowed(grad, precision, precision.input_gradient, "row", stream + 1)


def _narrowed(grad: Gradient, precision: Precision, how: Quantization | None, own: str, stream: int) -> Gradient:
    """Narrow a gradient as a product needs it; one that is no wider stays."""
    if how is None or precision.gradient_bits is None or how.bits >= precision.gradient_bits:
        return grad
    step, limit = grad.step, largest_code(how.bits)
    if how.is_power:  # in its place: what is a power of two stays so in the second product
        return grad.changed(lambda _, values: step.run("powers_of_two", values.rows()))
    x = grad.values
    source = x.pixels() if own == "channel" else x.rows()
    rows, columns = source.shape
    if how.scale == "tensor":
        axis, count, peaks = -1, 1, step.empty("scales", (rows, 1), np.float64)
        step.run("peaks", source, peaks.reshape(rows))
        step.over_batch("largest", peaks)
    elif own == "row":
        if step.partial:
            raise ValueError("a gradient must have one scale if a step has a part of a batch, got one per example")
        axis, count, peaks = 0, rows, step.empty("scales", (1, rows), np.float64)
        step.run("peaks", source, peaks.reshape(rows))
    else:
        groups = groups_of(rows)
        axis, count, peaks = 1, columns, step.empty("scales", (groups, columns), np.float64)
        step.run("channel_peaks", source.reshape(groups, rows // groups, columns), peaks)
        step.over_batch("largest", peaks)
    steps, scale = scale_of(step, count), scale_of(step, count)
    step.run("narrow_step", peaks, limit, grad.scale, steps, scale)
    codes = step.empty("dX", x.shape, code_type(how.bits))
    key = step.key(stream) if how.rounding == "stochastic" else step.constant(_NO_KEY)
    first = rows // max(step.batch, 1) * step.first
    step.run("narrow", source, steps, axis, limit, key, first, step.of_all(rows), codes.reshape(rows, columns))
    return Gradient(step, codes, scale)


_NO_KEY = np.empty(0, dtype=np.uint32)
#: Sums over rows are exact, so into how many groups they are cut cannot show; each thread takes some of them.
_GROUPS = (16, 10, 8, 6, 5, 4, 3, 2)
_ROWS_IN_GROUPS = 1024


def groups_of(rows: int) -> int:
    """Return into how many groups of equally many so many rows are cut."""
    return 1 if rows < _ROWS_IN_GROUPS else next((each for each in _GROUPS if rows % each == 0), 1)


def requantized(step: Step, sums: Array, scale: Array, bits: int) -> Gradient:
    """Return exact integer sums as codes with one scale.

    Parameters
    ----------
    step : Step
    sums : Array of int32 or int64, shape (rows, ...)
    scale : Array of float64, shape (1,) or (rows,)
        The unit of the sums: one for all, or one per row.
    bits : int
        Of the codes.

    Returns
    -------
    Gradient
    """
    limit, rows = largest_code(bits), len(sums)
    peaks, steps, new = scale_of(step, rows), scale_of(step, rows), scale_of(step)
    codes = step.empty("dX", sums.shape, code_type(bits))
    step.run("peaks", sums.rows(), peaks)
    step.over_batch("largest", peaks)
    step.run("requantize_step", peaks, limit, scale, steps, new)
    step.run("requantize", sums.rows(), steps, limit, codes.rows())
    return Gradient(step, codes, new)


def requantized_in_parts(
    step: Step,
    form: Callable[[slice], Array],
    parts: Sequence[slice],
    shape: tuple[int, ...],
    scale: Array,
    bits: int,
) -> Gradient:
    """Return what `requantized` gives of sums of a shape that are never whole: ``form(rows)`` makes some, twice."""
    limit, rows = largest_code(bits), shape[0]
    peaks, steps, new = scale_of(step, rows), scale_of(step, rows), scale_of(step)
    codes = step.empty("dX", shape, code_type(bits))
    for some in parts:
        step.run("peaks", form(some).rows(), peaks[some])
    step.over_batch("largest", peaks)
    step.run("requantize_step", peaks, limit, scale, steps, new)
    for some in parts:
        step.run("requantize", form(some).rows(), steps[some], limit, codes[some].rows())
    return Gradient(step, codes, new)


def input_gradient(
    operand: Gradient, shape: tuple[int, ...], precision: Precision, product: Callable[[slice, Array], None]
) -> Gradient:
    """Return the gradient that flows on from a product with `operand`; ``product(rows, out)`` writes some rows' sums.

    Where the policy has them a row at a time, the sums are never whole: a row gets codes with a step of its own, and
    then all rows the scale of the largest, so that a code is rounded twice.
    """
    step, rows = operand.step, shape[0]
    kind = sums_type(operand.dtype)
    if operand.is_real or not precision.row_by_row:
        sums = step.empty("dX sums", shape, kind)
        product(slice(0, rows), sums)
        if operand.is_real:
            return Gradient(step, sums, None)
        return requantized(step, sums, operand.scale, precision.code_bits)
    bits, dtype = precision.code_bits, code_type(precision.code_bits)
    limit, single = largest_code(bits), operand.scale.shape[0] == 1
    # Each thread has a row at least.
    least, some_rows = min(get_num_threads(), rows), step.savings.sums // max(int(np.prod(shape[1:])), 1)
    count = max(1, least, min(-(-rows // _PARTS), some_rows))
    row_scale, scale = scale_of(step, rows), scale_of(step)

    def form(some: slice, out: Array) -> None:
        """Record codes of some rows, each with a scale of its own, a few at a time."""
        room = step.empty("dX sums", (min(count, some.stop - some.start), *shape[1:]), kind)
        for start in range(some.start, some.stop, count):
            few = slice(start, min(start + count, some.stop))
            part, here = room[: few.stop - start], out[start - some.start : few.stop - some.start]
            product(few, part)
            scales = operand.scale if single else operand.scale[few]
            step.run("requantize_rows", part.rows(), scales, limit, row_scale[few], here.rows())

    held = step.savings.held(rows, int(np.prod(shape)) * dtype.itemsize)
    codes = step.empty("dX", (held, *shape[1:]), dtype)
    if held:
        form(slice(0, held), codes)
    room = step.empty("dX", (min(count, rows - held), *shape[1:]), dtype)
    for start in range(held, rows, count):
        few = slice(start, min(start + count, rows))
        form(few, room[: few.stop - start])
    step.run("largest_scale", row_scale, scale)
    step.over_batch("largest", scale)

    def write(some: slice, out: Array) -> None:
        form(some, out)
        step.run("equalize_rows", row_scale[some], scale, limit, out.rows())

    if held:
        step.run("equalize_rows", row_scale[:held], scale, limit, codes.rows())
    if held == rows:
        return Gradient(step, codes, scale)
    return FormedGradient(step, shape, dtype, scale, write, codes if held else None)
