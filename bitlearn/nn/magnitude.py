"""The scale of binary weights: for each output the mean magnitude of its latent weights.

As in XNOR-Net (arXiv 1603.05279) and Bi-Real Net (arXiv 1808.00278): ``W^ = s sgn(W)`` with ``s = mean |W|`` of a row
or kernel. The gradient is that of arXiv 1808.00278, ``dL/dW = s dL/dW^ 1[|W| <= 1]``: the scale is a constant to it.
"""

from __future__ import annotations

import math

import numpy as np

from bitlearn.nn.norm_gradients import norm_gradient
from bitlearn.nn.spec import Spec
from bitlearn.nn.step import Step
from bitlearn.nn.value import BLOCK_VALUES, Gradient, Value
from bitlearn.ops.dispatch import run
from bitlearn.precision import Precision
from bitlearn.program import Array
from bitlearn.safetensors import Types


def scale_factors(step: Step, weight: np.ndarray) -> Array:
    """Record the scales of latent weights (k, ...) as the last row of (3, k); the others are 0."""
    k = len(weight)
    factors = step.empty("factors", (3, k), np.float32)
    step.run("copy", step.constant(np.zeros((2, k), dtype=np.float32)), factors[:2])
    step.run("mean_magnitudes", step.constant(weight, "W").rows(), factors[2:].reshape(k))
    return factors


def scales(weight: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scales of latent weights (k, ...), float32 (k,), under their name in an inference form."""
    found = np.empty(len(weight), dtype=np.float32)
    run("mean_magnitudes", (weight.reshape(len(weight), -1), found), threads=1)
    return {"scale": found}


def scale_types(k: int) -> Types:
    """Return the type of `scales`."""
    return {"scale": ((k,), np.dtype(np.float32))}


def predicted(step: Step, sums: Value, output: Spec, arrays: dict[str, np.ndarray]) -> Value:
    """Record sums times the scales of an inference form."""
    scale = arrays["scale"]
    return scaled(step, sums, output, step.derived("factors", lambda: np.stack([0 * scale, 0 * scale, scale]), scale))


def scaled(step: Step, sums: Value, output: Spec, factors: Array) -> Value:
    """Record sums times their scales, as real values; the sums are formed a few examples at a time."""
    y, k = step.empty("Y", output.array_shape(step.batch), np.float32), output.channels
    bias = step.constant(np.zeros(k, dtype=np.float32))
    for examples, part in sums.blocks(BLOCK_VALUES):
        step.run("norm_values", part.pixels(), sums.spec.unit, factors[1:], bias, y[examples].pixels())
    return Value(step, output, y)


def gradient_of_sums(step: Step, grad: Gradient, factors: Array, precision: Precision) -> Gradient:
    """Record the gradient of the sums from that of what `scaled` made of them; codes get a scale again."""
    *pixels, channels = grad.shape
    # In the place of a batch norm's sums: its factors of them are 0.
    anything, mask = step.ones(math.prod(pixels), channels), step.constant(np.empty((0, 1), dtype=np.uint64))
    whole = (slice(0, pixels[0]), anything, factors)
    return norm_gradient(step, grad.kept(), mask, [whole], precision.gradient_bits)
