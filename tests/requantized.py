"""Integers quantized anew as a recorded step does it, on arrays: what a layer records around its products."""

from __future__ import annotations

import numpy as np

from bitlearn.nn import Step, gradients
from bitlearn.nn.value import Gradient
from bitlearn.ops.quantized import Quantized
from bitlearn.precision import Precision, Quantization
from bitlearn.program import Program


def _found(step: Step, grad: Gradient, key=None) -> tuple[np.ndarray, np.ndarray]:
    values, scale = step.keep(grad.values), step.keep(grad.scale)
    program = Program(step)
    for array, _ in step.keys:
        array.outside()[...] = key.as_words()
    program.run()
    return program[values].copy(), program[scale].copy()


def requantize(sums: np.ndarray, scale, bits: int) -> Quantized:
    """Return exact sums, worth `scale` each, one or one a row, as codes with one scale."""
    step = Step(len(sums))
    worth = step.constant(np.asarray(scale, dtype=np.float64).reshape(-1).copy())
    values, found = _found(step, gradients.requantized(step, step.constant(np.ascontiguousarray(sums)), worth, bits))
    return Quantized(values, found[0], 0, bits)


def narrow(q: Quantized, bits: int, *, axis: int | None = None, key=None) -> Quantized:
    """Return codes with one scale as codes of fewer bits, with a scale in all, one a row or one a channel."""
    own = {None: "tensor", 0: "row"}.get(axis, "channel")
    how = Quantization(bits, own, "nearest" if key is None else "stochastic")
    wide = Quantization(q.bits)
    precision = Precision("narrow", *((how, wide) if own != "channel" else (wide, how)))
    step = Step(len(q.values))
    grad = Gradient(step, step.constant(q.values), step.constant(np.array([q.scale], dtype=np.float64)))
    operand = gradients.weight_operand if own == "channel" else gradients.input_operand
    values, scale = _found(step, operand(grad, precision, 0), key)
    along = [1] * q.values.ndim
    if axis is not None:
        along[axis] = -1
    return Quantized(values, scale.reshape(along) if axis is not None else scale[0], 0, bits)
