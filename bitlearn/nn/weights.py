"""The gradient of binary weights in a policy's form; the straight-through estimator is left to the update."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bitlearn.bits import WORD, words_for
from bitlearn.nn.gradients import sums_type
from bitlearn.nn.step import ParameterGradient, Step
from bitlearn.nn.value import Gradient
from bitlearn.precision import Precision
from bitlearn.program import Array, counted

#: The straight-through estimator passes the gradient of a weight whose magnitude is at most this.
CLIP = 1.0
#: Where only signs are kept, a first layer's sums are formed for so many weights at a time.
SIGN_SUMS = 2**13


def binary_weight_gradient(
    step: Step,
    operand: Gradient,
    shape: tuple[int, ...],
    precision: Precision,
    values: Callable[[Array], None],
    signs: Callable[[Array, Array, Array], None],
    *,
    summed: bool = False,
) -> ParameterGradient:
    """Return the gradient of latent weights: the signs alone, or sums and what one is worth, or float32.

    ``values(out)`` records the product with `operand`; ``signs(thresholds, mask, out)`` records its packed signs. Where
    `summed`, signs are those of the whole sums: `operand` is not whole then.
    """
    fan_in = math.prod(shape[1:])
    if step.partial or not precision.sign_weight_gradient:  # the sign of a part of a sum is none of the sum
        sums, scale = step.empty("dW", shape, sums_type(operand.dtype)), None if operand.is_real else operand.scale
        values(sums)
        return ParameterGradient(sums, scale, CLIP, fan_in, to_sign=precision.sign_weight_gradient)
    words = step.empty("dW", (*shape[:-1], words_for(shape[-1])), WORD)
    if summed:
        sums = step.empty("dW sums", shape, sums_type(operand.dtype))
        values(sums)
        step.run("pack", sums.pixels(), step.constant(np.zeros(1, dtype=sums.dtype)), words.pixels())
        return ParameterGradient(words, None, CLIP, fan_in)
    zeros = np.zeros(shape[0], dtype=np.float32 if operand.is_real else np.int64)
    mask = step.ones(math.prod(shape[:-1]), shape[-1]).reshape(*words.shape)
    signs(step.constant(zeros), mask, words)
    return ParameterGradient(words, None, CLIP, fan_in)


def code_weight_gradient(
    step: Step,
    operand: Gradient,
    shape: tuple[int, ...],
    precision: Precision,
    unit: float,
    product: Callable[[int, Array], None],
) -> ParameterGradient:
    """Return a first layer's weight gradient, in the form that `binary_weight_gradient` has.

    ``product(first, out)`` records the products of the gradient's channels, from the first on, with the input codes:
    out (outputs, fan_in).
    """
    outputs, fan_in = shape[0], math.prod(shape[1:])
    kind = sums_type(operand.dtype)
    rows = step.of_all(math.prod(operand.shape[:-1]))
    if kind == np.int32 and rows >= _INT32_ROWS:
        kind = np.dtype(np.int64)
    if step.partial or not precision.sign_weight_gradient:
        sums = step.empty("dW", (outputs, fan_in), kind)
        product(0, sums)
        if operand.is_real:
            step.run(_times, sums, unit)
            return ParameterGradient(sums.reshape(*shape), None, CLIP, fan_in)
        scale = step.empty("scales", operand.scale.shape, np.float64)
        step.run("multiply_scales", operand.scale, step.constant(np.array([unit])), scale)
        return ParameterGradient(sums.reshape(*shape), scale, CLIP, fan_in, to_sign=precision.sign_weight_gradient)
    # A few outputs at a time, so that the sums are never whole.
    words = step.empty("dW", (*shape[:-1], words_for(shape[-1])), WORD)
    count = max(1, SIGN_SUMS // max(fan_in, 1))
    room = step.empty("dW sums", (min(count, outputs), fan_in), kind)
    zero = step.constant(np.zeros(1, dtype=kind))
    for start in range(0, outputs, count):
        some = slice(start, min(start + count, outputs))
        part = room[: some.stop - start]
        product(start, part)
        step.run("pack", part.reshape(-1, shape[-1]), zero, words[some].pixels())
    return ParameterGradient(words, None, CLIP, fan_in)


#: Sums of products of int8 with int8 over fewer rows than this fit int32.
_INT32_ROWS = 2**17


@counted(lambda values, factor: {"multiply float32": values.size})
def _times(values: np.ndarray, factor: float) -> None:
    values *= np.float32(factor)
